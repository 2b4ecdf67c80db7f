"""Export, mend, give back, build anew: the records say it, and nothing else is touched."""

import json
import shutil
from pathlib import Path

import pytest

from opendet.corrections.applying import CORRECTED_AWAY
from tests.cli_world import hashes, run_cli
from tests.corrections.correction_world import (
    box_of,
    corrected_project,
    counts,
    edited,
    exported_coco,
    packed,
    rebuild,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corrected_project(tmp_path_factory.mktemp("corrected") / "project")


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """A copy for each test to correct."""
    return Path(shutil.copytree(built, tmp_path / "project", symlinks=True))


def correct(root: Path, name: str, *more: str) -> str:
    ended = run_cli(root, "data", "correct", name, *more)
    assert ended.code == 0, ended.err
    return ended.out


def test_what_people_say_is_the_last_word(project: Path) -> None:
    world = exported_coco(project, "out")
    box_of(world, "train-p0")["bbox"][0] += 3  # a cat, moved
    box_of(world, "train-p1")["category_id"] = 1  # a dog that is a cat
    world["annotations"].remove(box_of(world, "train-p3"))  # no cat at all
    car = {"id": 99, "image_id": 3, "category_id": 2, "bbox": [1, 2, 30, 40]}
    world["annotations"].append(car)  # a dog where the filter had refused a red car
    said = correct(project, edited(project, world), "--by", "Ada")
    assert said.splitlines()[0] == (
        "edited.json is batch-1 of tiny: 4 images corrected: 1 moved, 1 renamed, 1 added, "
        "1 deleted; 1 unchanged; 0 unknown images"
    )
    rebuild(project)
    records = packed(project)
    cat = records["train-p0"].regions[0]
    assert (cat.box_xyxy, cat.box_from.model, cat.box_from.revision) == (
        (7, 4, 37, 34), "correction", "batch-1"
    )  # fmt: skip
    assert (cat.names, cat.label, cat.description, cat.kept) == (("cat",), "cat", "a cat", True)
    assert (cat.agreement, cat.rival, cat.mask, cat.box_checked) == (None, "", None, None)
    renamed = records["train-p1"].regions[0]
    assert (renamed.names, renamed.label, renamed.description) == (("cat",), "cat", "")
    assert renamed.names_from == cat.box_from
    assert renamed.box_from.model == "source"
    assert records["train-p1"].phrases[0].regions == (1,)
    away = records["train-p3"].regions[0]
    assert (away.refusal, away.label) == (CORRECTED_AWAY, None)
    assert away.box_checked is not None
    assert (away.box_checked.revision, away.box_checked.score) == ("batch-1", 0)
    car, _, added = records["train-p2"].regions
    assert car.refusal == "disagrees"
    assert (added.box_xyxy, added.names, added.label) == ((1, 2, 31, 42), ("dog",), "dog")
    numbers = counts(project)
    assert (numbers["corrected"], numbers["refused.corrected_away"]) == (4, 1)
    assert numbers["kept"] == 4
    assert run_cli(project, "data", "verify").code == 0
    assert "by correction batch-1" in run_cli(project, "data", "why", "train-p0").out


def test_only_the_touched_shard_is_made_anew(project: Path) -> None:
    before = hashes(project / "datasets/tiny/filter", project / "datasets/tiny/shards")
    world = exported_coco(project, "out")
    box_of(world, "train-p1")["category_id"] = 1
    correct(project, edited(project, world))
    rebuild(project)
    assert (counts(project)["shards_made"], counts(project, "shards")["shards_made"]) == (1, 1)
    after = hashes(project / "datasets/tiny/filter", project / "datasets/tiny/shards")
    changed = {Path(path).stem for path in before if before[path] != after[path]}
    assert changed == {"train-000000", "manifest", "index"}
    rebuild(project)
    assert counts(project)["shards_made"] == 0
    shutil.rmtree(project / "datasets/corrections")  # the older parts are still there
    rebuild(project)
    assert hashes(project / "datasets/tiny/filter", project / "datasets/tiny/shards") == before
    assert counts(project)["shards_made"] == 0


def test_the_same_corrections_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    world = exported_coco(project, "out")
    box_of(world, "train-p0")["bbox"][2] += 5
    name = edited(project, world)
    other = Path(shutil.copytree(project, tmp_path / "other", symlinks=True))
    made = []
    for root in (project, other):
        correct(root, name)
        rebuild(root)
        folders = [root / "datasets/tiny" / stage for stage in ("filter", "shards")]
        lines = (root / "datasets/corrections/tiny/batch-1.jsonl").read_bytes()
        made.append(([*hashes(*folders).values()], lines))
    assert made[0] == made[1]


def test_two_people_mend_one_export(project: Path) -> None:
    """The second file does not know of the first, and has the last word where both speak."""
    world = exported_coco(project, "out")
    first, second = json.loads(json.dumps(world)), json.loads(json.dumps(world))
    box_of(first, "train-p0")["bbox"] = [5, 5, 30, 30]
    first["annotations"].remove(box_of(first, "train-p3"))
    box_of(first, "train-p4")["category_id"] = 1
    box_of(second, "train-p0")["bbox"] = [6, 6, 30, 30]
    box_of(second, "train-p3")["category_id"] = 2
    correct(project, edited(project, first, "first.json"), "--by", "Ada")
    said = correct(project, edited(project, second, "second.json"), "--by", "Bob")
    assert "batch-2 of tiny: 2 images corrected: 1 moved, 1 renamed" in said
    assert "2 corrected before, the later wins" in said
    rebuild(project)
    records = packed(project)
    assert records["train-p0"].regions[0].box_xyxy == (6, 6, 36, 36)
    assert records["train-p0"].regions[0].box_from.revision == "batch-2"
    assert (records["train-p3"].regions[0].names, records["train-p3"].regions[0].kept) == (
        ("dog",), True
    )  # fmt: skip
    assert records["train-p3"].regions[0].label == "dog"
    assert records["train-p4"].regions[0].names == ("cat",)


def test_an_export_of_before_a_correction_takes_nothing_back(project: Path) -> None:
    world = exported_coco(project, "old")
    old = edited(project, world, "old.json")
    box_of(world, "train-p0")["bbox"][0] += 3
    correct(project, edited(project, world))
    rebuild(project)
    ended = run_cli(project, "data", "correct", old)
    assert ended.code == 1
    assert "corrects nothing" in ended.line
    assert "1 image (changed since the export)" in ended.line
    again = exported_coco(project, "new")
    box_of(again, "train-p0")["bbox"][0] += 3
    assert "1 moved" in correct(project, edited(project, again, "again.json"))
    rebuild(project)
    assert packed(project)["train-p0"].regions[0].box_xyxy == (10, 4, 40, 34)


def test_a_spreadsheet_comes_back(project: Path) -> None:
    assert run_cli(project, "data", "export", "csv", "sheet").code == 0
    rows = (project / "sheet/objects.csv").read_text("utf-8").splitlines()
    assert rows[1].startswith("train-p0,train,p0.jpg,64,48,4.0,4.0,34.0,34.0,cat,,s")
    rows[1] = rows[1].replace(",cat,", ",a black cat,")
    assert rows[3].startswith("train-p2,train,p2.jpg,64,48,,,,,,,s")  # its car is refused
    (project / "mended.csv").write_text("\ufeff" + "\r\n".join(rows).replace(",", ";"), "utf-8")
    assert "1 renamed, 0 added, 0 deleted; 3 unchanged" in correct(project, "mended.csv")
    rebuild(project)
    assert packed(project)["train-p0"].regions[0].names == ("a black cat",)


def test_refused_boxes_may_be_mended_too(project: Path) -> None:
    """Those that stay as they were stay refused."""
    world = exported_coco(project, "all", "--refused")
    cars = [one for one in world["annotations"] if one["category_id"] == 3]
    big = max(cars, key=lambda one: one["bbox"][2])
    big["category_id"] = 2
    assert "1 renamed, 0 added, 0 deleted; 11 unchanged" in correct(project, edited(project, world))
    rebuild(project)
    kept = [one for one in packed(project)["train-p5"].regions if one.kept]
    assert [one.names for one in kept] == [("dog",)]
    assert counts(project)["kept"] == 5


def test_a_filter_that_does_not_listen(project: Path) -> None:
    world = exported_coco(project, "out")
    world["annotations"].clear()
    correct(project, edited(project, world))
    config = project / "configs/tiny.yaml"
    config.write_text(config.read_text().replace("filter:\n", "filter:\n  corrections: false\n"))
    rebuild(project)
    assert counts(project)["kept"] == 4
    ended = run_cli(project, "data", "correct", "edited.json")
    assert "filter.corrections is false" in ended.line


def test_the_batch_says_who_gave_it_and_from_what(project: Path) -> None:
    world = exported_coco(project, "out")
    world["annotations"].clear()
    correct(project, edited(project, world), "--by", "Ada")
    folder = project / "datasets/corrections/tiny"
    given = json.loads((folder / "batch-1.json").read_text())["given"]
    assert (given["by"], given["file"], given["edits"]) == ("Ada", "edited.json", {"deleted": 4})
    assert given["at"].endswith("+00:00")
    again = run_cli(project, "data", "correct", "edited.json")
    assert (again.code, again.line) == (1, "edited.json is batch-1 already: edit it further first")


def test_killed_before_its_commit_record_a_batch_is_not_there(project: Path) -> None:
    world = exported_coco(project, "out")
    world["annotations"].clear()
    correct(project, edited(project, world))
    folder = project / "datasets/corrections/tiny"
    (folder / "batch-1.json").unlink()
    rebuild(project)
    assert counts(project)["kept"] == 4
    assert "is batch-1 of tiny" in correct(project, "edited.json")
    rebuild(project)
    assert "kept" not in counts(project)
