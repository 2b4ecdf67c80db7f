"""`opendet data export`: whole or not at all, and it tells what it left out."""

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.corrections.applying import CORRECTED_AWAY
from opendet.exports.command import account_of
from opendet.exports.formats import PICTURED, WRITERS
from opendet.exports.shard_records import ShardRecords, without_refusals
from opendet.exports.voc import write_voc
from opendet.exports.whole_folder import whole_folder
from opendet.shard_set import ShardSet
from opendet.sources.yolo import read_yolo
from tests.cli_world import SCENES, Ended, hashes, make_project, run_cli, start_cli
from tests.shard_world import painted, publish, region, samples

HEAVY = ("torch", "transformers", "ray", "pyarrow", "numpy", "PIL", "nltk", "yaml", "pydantic")


def run_export(project: Path, *arguments: str) -> Ended:
    return run_cli(project, "data", "export", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 images of train, 6 of val; three quarters have a kept and a refused box."""
    root = make_project(tmp_path_factory.mktemp("export") / "project", SCENES)
    train, val = samples(10), samples(6, batch="b", split="val")
    parts = {"a-000000": train[:5], "a-000001": train[5:], "b-000000": val}
    publish(root / "datasets/tiny/shards", parts)
    return root


def test_what_was_written_and_left_out_is_one_line(project: Path) -> None:
    ended = run_export(project, "coco", "whole", "--build", "tiny")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "whole: 16 images, 11 objects written; coco has no place for: 11 other labels, "
        "16 phrases; dropped: 11 refused boxes\n"
    )
    assert {path.name for path in (project / "whole").iterdir()} == {
        f"{kind}_{split}.json" for kind in ("instances", "captions") for split in ("train", "val")
    }
    train = json.loads((project / "whole/instances_train.json").read_text("utf-8"))
    assert (len(train["images"]), len(train["annotations"])) == (10, 7)
    assert train["images"][1]["file_name"] == "a-0001.png"
    assert train["categories"] == [{"id": 1, "name": "thing"}]
    assert (project / "whole").stat().st_mode & 0o777 == 0o755


def test_refused_boxes_are_kept_where_they_are_asked_for(project: Path) -> None:
    ended = run_export(project, "coco", "refused", "--refused", "--split", "val")
    assert ended.out == (
        "refused: 6 images, 8 objects written; coco has no place for: 8 other labels, 6 phrases\n"
    )
    val = json.loads((project / "refused/instances_val.json").read_text("utf-8"))
    assert {one["name"] for one in val["categories"]} == {"spot", "thing"}
    assert not (project / "refused/instances_train.json").exists()


@pytest.mark.parametrize("name", [*WRITERS, *PICTURED])
def test_every_format_writes_the_same_bytes_again(project: Path, name: str) -> None:
    first, second = (run_export(project, name, f"{name}/{n}", "--split", "train") for n in "12")
    assert (first.code, first.err) == (0, "")
    images = 7 if name == "odvg-opengdino" else 10  # its loader takes none without boxes
    assert first.out.split(";")[0] == f"{name}/1: {images} images, 7 objects written"
    assert second.out == first.out.replace("/1", "/2")
    one, two = (hashes(project / name / n) for n in "12")
    assert [*one.values()] == [*two.values()]
    assert len(one) > 0


def test_yolo_labels_are_those_of_the_records(project: Path) -> None:
    assert run_export(project, "yolo", "labels", "--split", "val").code == 0
    (box,) = read_yolo(project / "labels/labels/b-0001.txt", (56, 46), {0: "thing"})
    assert box.box_xyxy == (4, 3, 24, 17)


def test_groundingcaps_own_rules_are_options(project: Path) -> None:
    rules = ("--min-boxes", "1", "--max-iou", "0.9")
    ended = run_export(project, "groundingcap", "ruled", "--split", "train", *rules)
    assert ended.out.startswith("ruled: 7 images, 7 objects written; ")
    assert "; dropped: 3 images (fewer than 1 boxes), " in ended.out
    none = run_export(project, "groundingcap", "none", "--split", "train", "--min-boxes", "3")
    assert none.out.startswith("none: 0 images, 0 objects written; dropped: 7 boxes without image")


def test_an_empty_folder_is_taken(project: Path) -> None:
    (project / "empty").mkdir()
    assert run_export(project, "lvis", "empty").code == 0
    assert (project / "empty/lvis_train.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cocoa", "x"), "no format is called 'cocoa'; there are coco, lvis, voc, yolo, csv"),
        (("coco", "x", "--split", "tain"), "no split is called 'tain'; there are train, val, test"),
        (("coco", "x", "--images", "all"), "--images is none, copy or link, not 'all'"),
        (("grit", "x", "--images", "copy"), "--images is for coco, lvis, voc, yolo: leave it out"),
        (("yolo", "x", "--images", "link"), "drawn scenes are no files that could be linked"),
        (("coco", "x", "--min-boxes", "3"), "rules of groundingcap: leave them out for coco"),
        (("groundingcap", "x", "--max-iou", "1.5"), "an IoU in (0, 1] makes boxes double, not 1.5"),
        (("coco", "x", "--split", "test"), "shards has no shard of the split 'test'"),
        (("coco", "x", "--build", "other"), "configs"),
        (("coco", "configs"), "configs is not empty: empty it, or name a folder"),
        (("coco", "params.yaml"), "params.yaml cannot be a folder"),
        (("coco", "params.yaml/x"), "params.yaml/x cannot be a folder, params.yaml is none"),
    ],
)
def test_what_the_user_must_mend_is_one_line(
    project: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = {path.name for path in project.iterdir()}
    ended = run_export(project, *arguments)
    assert ended.code == 1
    assert said in ended.line
    assert {path.name for path in project.iterdir()} == before


def test_a_build_without_shards_is_one_line(tmp_path: Path) -> None:
    empty = make_project(tmp_path / "project", SCENES)
    ended = run_export(empty, "coco", "deep/out")
    assert ended.code == 1
    assert "shards/manifest.json is missing: build the stage first" in ended.line
    assert not (empty / "deep").exists()


def test_the_folder_is_looked_at_before_the_shards(tmp_path: Path) -> None:
    empty = make_project(tmp_path / "project", SCENES)
    assert "configs is not empty" in run_export(empty, "coco", "configs").line


def test_the_account_tells_what_was_written(tmp_path: Path) -> None:
    crowd = replace(region((4, 4, 30, 30), "herd"), crowd=True)
    made = [*samples(3), painted("a-9998", regions=[crowd]), painted("a-9999", regions=[crowd])]
    made[-1] = replace(made[-1], record=replace(made[-1].record, file="a-9998.png"))
    publish(tmp_path / "shards", {"a-000000": made})
    records = ShardRecords(ShardSet.open(tmp_path / "shards"), refused=False)
    left_out = write_voc(records, tmp_path / "voc")
    assert account_of(records, left_out, form="voc") == (
        "4 images, 2 objects written; voc has no place for: 4 captions, 1 crowd, 4 licences, "
        "2 other labels, 4 phrases; dropped: 1 box without image, "
        "1 image (same file as another), 2 refused boxes; "
        "--images copy tells images of one file name apart"
    )
    assert "--images" not in account_of(records, left_out, form="grit")
    nothing = "5 images, 4 objects written; nothing is left out"
    assert account_of(records, Counter(), form="voc") == nothing
    rest = Counter({"comma in a name": 2, "box doubled": 2, "near duplicate": 1, "absent": 3})
    assert account_of(records, rest, form="lvis").split("; ", 1)[1] == (
        "lvis has no place for: 3 names known to be absent, 2 commas in a name, "
        "1 near duplicate; dropped: 2 boxes doubled"
    )


def test_what_people_deleted_is_no_refused_box() -> None:
    regions = [region((4, 4, 30, 30), "cat", why) for why in ("", "too small", CORRECTED_AWAY)]
    shown = without_refusals(painted("a-0", regions=regions).record)
    assert [one.refusal for one in shown.regions] == ["", "", CORRECTED_AWAY]


def test_a_damaged_shard_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    broken = make_project(tmp_path / "project", SCENES)
    publish(broken / "datasets/tiny/shards", {"a-000000": samples(3)})
    shard = broken / "datasets/tiny/shards/a-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    ended = run_export(broken, "coco", "out")
    assert ended.code == 1
    assert "a-000000.tar is damaged" in ended.line
    assert not (broken / "out").exists()


@pytest.mark.parametrize("error", [ValueError("damaged"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "out") as half:
            (half / "a.txt").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_names_the_folder(tmp_path: Path) -> None:
    def fill() -> None:
        with whole_folder(tmp_path / "out"), Path("/dev/full").open("w") as file:
            file.write("a")

    with pytest.raises(OSError, match=r"make room and run again: '.*/out'"):
        fill()


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_export_leaves_nothing_under_its_name(project: Path, name: str) -> None:
    first = (
        "import os, signal\n"
        "from opendet.exports import formats\n"
        "def die(records, folder):\n"
        "    (folder / 'half.json').write_text('half')\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "formats.WRITERS['coco'] = die\n"
    )
    home = project / f"killed by {name}"
    home.mkdir()
    for part in ("params.yaml", "configs", "datasets"):
        (home / part).symlink_to(project / part)
    program = start_cli(home, "data", "export", "coco", "out", first=first)
    _, said = program.communicate(timeout=60)
    assert program.returncode == (130 if name == "SIGTERM" else -signal.SIGKILL), said
    left = {path.name for path in home.iterdir()} - {"params.yaml", "configs", "datasets"}
    assert "out" not in left
    assert bool(left) == (name == "SIGKILL"), "only what nobody can catch leaves its hidden folder"
    again = run_export(home, "coco", "out")
    assert (again.code, again.err) == (0, "")
    assert (home / "out/instances_train.json").is_file()


def test_the_help_names_every_format(project: Path) -> None:
    words = run_export(project, "--help").out.replace("│", " ").replace(",", " ").replace(".", " ")
    assert set(WRITERS) <= set(words.split())


def test_the_command_is_light_to_import() -> None:
    code = (
        "import sys, opendet.exports.command\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "[]\n", ended.stderr
