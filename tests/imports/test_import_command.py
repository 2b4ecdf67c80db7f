"""`opendet data import`: one truth in many formats becomes builds with equal regions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from opendet.config import Config, load_config
from opendet.exports.formats import WRITERS
from opendet.imports.writing import write_together
from opendet.record import Provenance, Record, Region
from opendet.schema import read_records
from opendet.shard_set import ShardSet
from opendet.sources.card import read_card
from tests.cli_world import Ended, make_project, picture, run_cli

SOURCE = Provenance("source")
WIDTH, HEIGHT = 64, 48
LABELS = ("mug", "red star", "dog")
ARGUMENTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "voc": ("voc", "Annotations", ()),
    "yolo": ("yolo", "data.yaml", ("--list", "train.txt")),
    "coco": ("coco", "instances_train.json", ()),
    "groundingcap": ("odvg", "odvg_train.jsonl", ()),
    "grit": ("grit", "grit_train.parquet", ()),
}
"""Format of an export -> format of the import, its annotations, and further arguments."""


def truth() -> list[Record]:
    """Four images with two to five boxes each, whose caption is none."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(4):
        corners = rng.integers(0, [WIDTH - 24, HEIGHT - 24], size=(number + 2, 2)).astype(float)
        sides = rng.integers(8, 24, size=(number + 2, 2)).astype(float)
        regions = tuple(
            Region((x, y, x + w, y + h), SOURCE, label=LABELS[place % 3])
            for place, ((x, y), (w, h)) in enumerate(zip(corners, sides, strict=True))
        )
        file = f"{number:09d}.jpg"
        records.append(
            Record(
                f"train-{number:09d}", "toy", "train", "train", "MIT", file, "jpg", 1, "0" * 64,
                WIDTH, HEIGHT, regions=regions,
            )
        )  # fmt: skip
    return records


def write_truth(folder: Path, export: str) -> list[Record]:
    records = truth()
    WRITERS[export](records, folder)
    (folder / "images").mkdir()
    for number, record in enumerate(records):
        (folder / "images" / record.file).write_bytes(picture(number, (WIDTH, HEIGHT)))
    return records


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One without a build, but with a place for it."""
    return make_project(tmp_path / "project", {})


def run_import(project: Path, name: str, *arguments: str) -> Ended:
    return run_cli(project, "data", "import", name, *arguments)


def imported(
    project: Path, name: str, folder: Path, export: str, *more: str
) -> tuple[Ended, list[Record]]:
    records = write_truth(folder, export)
    form, annotations, further = ARGUMENTS[export]
    further = tuple(one if one.startswith("--") else str(folder / one) for one in further)
    ended = run_import(
        project, name, "--format", form, "--images", str(folder / "images"),
        "--annotations", str(folder / annotations), *further, *more,
    )  # fmt: skip
    return ended, records


def source_records(project: Path, name: str) -> list[Record]:
    folder = project / "datasets" / name / "source"
    return [one for path in sorted(folder.glob("*.parquet")) for one in read_records(path)]


@pytest.mark.parametrize("export", ARGUMENTS)
def test_an_imported_build_has_the_regions_of_the_truth(
    project: Path, tmp_path: Path, export: str
) -> None:
    ended, wanted = imported(project, "toy", tmp_path / export, export, "--licence", "MIT")
    assert (ended.code, ended.err) == (0, "")
    assert "4 images, 14 boxes of 3 names, " in ended.out
    assert ended.out.splitlines()[-1] == "next: opendet data build --build toy"
    built = run_cli(project, "data", "build", "source", "--build", "toy", "--actors", "0")
    assert (built.code, built.err) == (0, "")
    read = source_records(project, "toy")
    assert [one.key for one in read] == [one.key for one in wanted]
    assert {one.licence for one in read} == {"MIT"}
    for one, told in zip(read, wanted, strict=True):
        found, due = (sorted((r.label, r.box_xyxy) for r in it.regions) for it in (one, told))
        assert [label for label, _ in found] == [label for label, _ in due]
        np.testing.assert_allclose([box for _, box in found], [box for _, box in due], atol=1e-3)


@pytest.mark.slow
def test_an_imported_build_goes_on_to_its_shards(project: Path, tmp_path: Path) -> None:
    ended, _ = imported(project, "toy", tmp_path / "voc", "voc")
    assert ended.code == 0, ended.err
    path = project / "configs" / "toy.yaml"
    load_config(path)
    path.write_text(path.read_text().replace("steps: 200", "steps: 2\n  width: 16\n  batch: 4"))
    built = run_cli(project, "data", "build", "--build", "toy", "--actors", "0")
    assert built.code == 0, built.err
    assert len(ShardSet.open(project / "datasets" / "toy" / "shards")) == 4


def test_card_page_and_configuration(project: Path, tmp_path: Path) -> None:
    ended, _ = imported(project, "toy", project / "data" / "voc", "voc", "--title", "Four pictures")
    assert ended.code == 0, ended.err
    folder = project / "datasets" / "toy"
    assert (folder / "source.yaml").read_text() == (
        "name: toy\ntitle: Four pictures\nlicence: unknown\nformat: voc\nroot: data/voc\n"
        "batches:\n  - name: train\n    split: train\n    images: images\n"
        "    annotations: Annotations\n"
    )
    page = (folder / "README.md").read_text()
    assert "# toy: Four pictures" in page
    assert "\n| train | train | voc | 4 | 14 | 3 | 0 | 0 | 0 |\n" in page
    assert "- voc: difficult, truncated" in page
    sections = yaml.safe_load((project / "configs" / "toy.yaml").read_text())
    assert sections.keys() == Config.model_fields.keys()  # DVC asks for each of them


def test_a_place_outside_the_project_is_absolute(project: Path, tmp_path: Path) -> None:
    imported(project, "toy", tmp_path / "voc", "voc")
    assert read_card(project / "datasets/toy/source.yaml").root == str(tmp_path / "voc")


def test_what_cannot_be_taken_is_told(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voc"
    write_truth(folder, "voc")
    (folder / "images" / "000000000.jpg").unlink()
    (folder / "list.txt").write_text("000000000\n000000001\n000000002.jpg\n000000003\n")
    text = (folder / "Annotations" / "000000001.xml").read_text()
    (folder / "Annotations" / "000000001.xml").write_text(text[:-20])
    path = folder / "Annotations" / "000000003.xml"
    wide = path.read_text().replace("<xmax>", "<xmax>9", 1)
    path.write_text(wide)
    ended = run_import(
        project, "toy", "--format", "voc", "--images", str(folder / "images"),
        "--annotations", str(folder / "Annotations"), "--list", str(folder / "list.txt"),
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert "refused: 1 broken annotation (000000001.xml: " in ended.out
    assert "1 missing file (images/000000000.jpg)" in ended.out
    assert "left out of the images that can be taken: 1 box.clipped" in ended.out
    assert "voc says, and a record cannot keep: difficult, truncated" in ended.out


def test_nothing_is_overwritten_and_a_batch_is_added(project: Path, tmp_path: Path) -> None:
    assert imported(project, "toy", tmp_path / "voc", "voc")[0].code == 0
    card = project / "datasets" / "toy" / "source.yaml"
    ours = card.read_text().replace("unknown", "MIT")
    card.write_text(f"# mine\n{ours}\n# what scenes are like\nscenes: {{}}\n")
    before = card.read_text()
    again, _ = imported(project, "toy", tmp_path / "coco", "coco")
    assert again.code == 1
    assert "datasets/toy/source.yaml is there already" in again.line
    assert "--add-batch" in again.line
    assert card.read_text() == before
    arguments = (
        "--format", "coco", "--images", str(tmp_path / "coco" / "images"),
        "--annotations", str(tmp_path / "coco" / "instances_train.json"), "--add-batch",
    )  # fmt: skip
    twice = run_import(project, "toy", *arguments)
    assert twice.code == 1
    assert "two batches are called train" in twice.line
    ended = run_import(project, "toy", *arguments, "--batch", "more", "--split", "val")
    assert (ended.code, ended.err) == (0, "")
    assert card.read_text() == before.replace(
        "    annotations: Annotations\n",
        "    annotations: Annotations\n  - name: more\n    split: val\n    format: coco\n"
        f"    root: {tmp_path}/coco\n    images: images\n    annotations: instances_train.json\n",
    )
    page = (project / "datasets" / "toy" / "README.md").read_text()
    assert "| train | train | voc | 4 | 14 |" in page
    assert "|\n| more | val | coco | 4 | 14 |" in page
    assert "\n- train: nothing.\n- more: nothing.\n" in page


def test_a_card_with_line_ends_of_its_own_gets_a_batch(project: Path, tmp_path: Path) -> None:
    """A separator of lines in a title, and the line ends of another system."""
    assert imported(project, "toy", tmp_path / "voc", "voc")[0].code == 0
    card = project / "datasets" / "toy" / "source.yaml"
    text = card.read_text().rstrip() + '\ntitle: "one\u2028two"\nscenes: {}'
    card.write_bytes(text.replace("\n", "\r\n").encode())
    ended, _ = imported(project, "toy", tmp_path / "coco", "coco", "--add-batch", "--batch", "more")
    assert (ended.code, ended.err) == (0, "")
    before, after = yaml.safe_load(text), yaml.safe_load(card.read_bytes())
    assert [batch["name"] for batch in after.pop("batches")] == ["train", "more"]
    del before["batches"]
    assert after == before


def test_a_card_in_brackets_is_for_a_person(project: Path, tmp_path: Path) -> None:
    folder = project / "datasets" / "flat"
    folder.mkdir()
    batch = f"{{name: a, split: train, annotations: a.json, root: {tmp_path}}}"
    (folder / "source.yaml").write_text(
        f"name: flat\nlicence: MIT\nformat: coco\nbatches: [{batch}]\n"
    )
    ended, _ = imported(project, "flat", tmp_path / "coco", "coco", "--add-batch")
    assert ended.code == 1
    assert "batches are in brackets: write them below each other" in ended.line


def test_each_of_several_files_is_a_batch(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odvg"
    write_truth(folder, "groundingcap")
    lines = (folder / "odvg_train.jsonl").read_text().splitlines()
    (folder / "first_half.jsonl").write_text("\n".join(lines[:2]))
    (folder / "second_half.jsonl").write_text("\n".join(lines[2:]))
    ended = run_import(
        project, "toy", "--format", "odvg", "--images", str(folder / "images"),
        "--annotations", str(folder / "first_half.jsonl"),
        "--annotations", str(folder / "second_half.jsonl"),
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    card = read_card(project / "datasets/toy/source.yaml")
    assert [batch.name for batch in card.batches] == ["first-half", "second-half"]
    assert "batch second-half (train, odvg): 2 images, 9 boxes" in ended.out


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no folder": ({"--images": "nowhere"}, "--images nowhere is no folder"),
    "no file": ({"--annotations": "none.json"}, "--annotations none.json is not there"),
    "another format": (
        {"--format": "cocco"},
        "no format is called 'cocco' (did you mean coco?); there are folder",
    ),
    "scenes": ({"--format": "scenes"}, "no format is called 'scenes'"),
    "another split": (
        {"--split": "tain"},
        "no split is called 'tain' (did you mean train?); there are train,",
    ),
    "a file of no use": ({"--refs": "coco/data.txt"}, "format coco has no use for --refs"),
    "not what it says": ({"--annotations": "coco/data.txt"}, "data.txt: its root: Invalid JSON"),
    "what to mend": ({"--annotations": "coco/data.txt"}, ": mend --annotations"),
    "a list of nothing": (
        {"--format": "yolo", "--annotations": "coco/names.txt", "--list": "coco/empty.txt"},
        "lists no image: mend --list",
    ),
    "no labels": ({"--format": "yolo", "--annotations": "coco/names.txt"}, ": mend --images"),
    "a file for a folder": (
        {"--format": "voc", "--annotations": "coco/data.txt"},
        "(it is a file): mend --annotations",
    ),
    "images elsewhere": (
        {"--images": "configs"},
        "no image of it can be taken (4 missing file): mend --images",
    ),
    "no annotations": ({"--annotations": None}, "a batch of format coco needs --annotations"),
    "a name": ({"NAME": "../toy"}, "is no build's name"),
    "a batch's name": ({"--batch": "a_b"}, "--batch: String should match"),
    "nothing to add to": ({"--add-batch": ""}, "needs a source card"),
}


@pytest.mark.parametrize(("changed", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    project: Path, changed: dict[str, Any], said: str
) -> None:
    write_truth(project / "coco", "coco")
    (project / "coco" / "data.txt").write_text("no JSON")
    (project / "coco" / "names.txt").write_text("mug\n")
    (project / "coco" / "empty.txt").write_text("")
    options: dict[str, Any] = {
        "--format": "coco",
        "--images": "coco/images",
        "--annotations": "coco/instances_train.json",
        **changed,
    }
    name = options.pop("NAME", "toy")
    given = [part for key, one in options.items() if one is not None for part in (key, one) if part]
    ended = run_import(project, name, *given)
    assert ended.code == 1
    assert said in ended.line
    if "--add-batch" not in options:
        assert "source.yaml" not in ended.line, "nobody has written one"
    assert not (project / "datasets" / "toy").exists()
    assert not (project / "configs" / "toy.yaml").exists()


def test_a_write_that_fails_leaves_nothing_and_can_be_tried_again(
    project: Path, tmp_path: Path
) -> None:
    blocked = project / "configs"
    (blocked / "tiny.yaml").rename(project / "tiny.yaml")
    blocked.rmdir()
    blocked.write_text("no folder")
    ended, _ = imported(project, "toy", tmp_path / "voc", "voc")
    assert ended.code == 1
    assert not (project / "datasets" / "toy").exists()
    blocked.unlink()
    again, _ = imported(project, "toy", tmp_path / "coco", "coco")
    assert (again.code, again.err) == (0, "")


def test_files_are_put_back_where_a_later_one_fails(tmp_path: Path) -> None:
    old, new, blocked = tmp_path / "old", tmp_path / "folder" / "new", tmp_path / "blocked"
    old.write_text("before")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_together({old: "after", new: "after", tmp_path / "file" / "x": "after"})
    assert old.read_text() == "before"
    assert not new.parent.exists()
    write_together({old: "after", blocked: "after"})
    assert (old.read_text(), blocked.read_text()) == ("after", "after")


def test_images_without_names_need_somebody_who_describes_them(project: Path) -> None:
    (project / "mine").mkdir()
    (project / "mine" / "a.jpg").write_bytes(picture())
    ended = run_import(project, "toy", "--format", "folder", "--images", "mine")
    assert ended.code == 0, ended.err
    assert "say in configs/toy.yaml who captions and describes, then opendet data" in ended.out
    assert "see vision_language and served" in (project / "configs" / "toy.yaml").read_text()


def test_labels_of_yolo_are_found_beside_the_images(project: Path) -> None:
    for place in ("set/images/train", "set/labels/train"):
        (project / place).mkdir(parents=True)
    (project / "set/images/train/a.jpg").write_bytes(picture())
    (project / "set/labels/train/a.txt").write_text("0 .5 .5 .5 .5\n1 .1 .1 .5 .1 .5 .4 .2 .3\n")
    (project / "set/images/train/names.txt").write_text("dog\ncat\n")
    arguments = ("--format", "yolo", "--images", "set/images/train")
    names = ("--annotations", "set/images/train/names.txt")
    assert ", 0 captions, 0 phrases\n" in run_import(project, "toy", *arguments, *names).out
    card = read_card(project / "datasets/toy/source.yaml")
    assert (card.root, card.batches[0].images) == ("set", "images/train")
    assert ", 1 masks\n" in run_import(project, "two", *arguments, *names, "--masks").out


def test_outside_a_project(tmp_path: Path) -> None:
    write_truth(tmp_path / "coco", "coco")
    ended = run_import(
        tmp_path, "toy", "--format", "coco", "--images", "coco/images",
        "--annotations", "coco/instances_train.json",
    )  # fmt: skip
    assert ended.code == 1
    assert "no project here" in ended.line
