"""`opendet annotate`: a folder of photographs becomes a project that all commands work in."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx_world import write_constant

from opendet.config import load_config
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import Ended, hashes, picture, run_cli, start_cli
from tests.model.worlds import build_detector

STAGES = "source caption regions describe clip embed verify filter prototypes shards".split()  # noqa: SIM905


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """photos/ with five photographs and a note, and yolo.onnx, which sees a cat and a dog."""
    below = tmp_path / "photos" / "below"
    below.mkdir(parents=True)
    for number in range(5):
        (below / f"{number}.jpg").write_bytes(picture(number))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    said = {
        "boxes": np.array([[2, 2, 20, 20], [20, 10, 30, 31]], np.float32),
        "scores": np.array([0.9, 0.6], np.float32),
        "labels": np.array([0, 1], np.int64),
    }
    names = {"names": str({0: "cat", 1: "dog"})}
    write_constant(tmp_path / "yolo.onnx", said, metadata=names)
    return tmp_path


def annotate(home: Path, *more: str, detector: str = "yolo.onnx") -> Ended:
    told = ("--out", "mine", "--detector", detector, "--no-open")
    return run_cli(home, "annotate", "photos", *told, *more)


def quicken(home: Path) -> None:
    """Begin the data set, then let its CLIP learn for two steps alone, as somebody may do."""
    from opendet.annotate.annotate_command import _wish
    from opendet.annotate.project import begin

    wish = _wish(home / "photos", str(home / "yolo.onnx"), "", "", "", "")
    begin(wish, home / "mine")
    path = home / "mine" / "configs" / "mine.yaml"
    config = yaml.safe_load(path.read_text())
    config["clip"] |= {"steps": 2, "batch": 8, "texts": 8, "width": 32}
    config["prototypes"] = {"coarse": 2}
    path.write_text(yaml.safe_dump(config))


def test_a_folder_becomes_a_project(home: Path) -> None:
    quicken(home)
    ended = annotate(home)
    assert ended.code == 0, ended.err
    assert "pages: mine/pages/index.html" in ended.out
    mine = home / "mine"
    assert {path.name for path in mine.iterdir()} == {
        *("annotate.json", "params.yaml", "configs", "datasets", "pages", ".gitignore", ".opendet"),
    }
    ledger = json.loads(run_cli(mine, "data", "stats", "--json").out)["stages"]
    assert [(one["stage"], one["samples_in"]) for one in ledger if one["stage"] == "source"] == [
        ("source", 6)
    ]
    assert run_cli(mine, "data", "verify").code == 0
    assert run_cli(mine, "data", "export", "coco", "coco").code == 0
    [file] = (mine / "coco").rglob("*.json")
    told = json.loads(file.read_text())
    assert {one["name"] for one in told["categories"]} == {"cat", "dog"}
    assert len(told["annotations"]) == 10
    assert "Boxes by: " in (mine / "datasets" / "mine" / "README.md").read_text()
    save_model(mine / "datasets" / "mine" / "train" / "model")
    assert names_found(mine, "--names", "cat, red star") == {"cat", "red star"}
    assert not names_found(mine) & {"cat", "red star"}, "a T5 of chance does not write so"


def test_the_next_step_can_be_pasted_whatever_the_folder_is_called() -> None:
    from opendet.annotate.annotate_command import _next_steps

    assert _next_steps(Path("my data"), "my-data")[0].endswith(": cd 'my data'")
    assert _next_steps(Path("mine"), "mine")[0].endswith(": cd mine")


def save_model(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    detector, resize = build_detector(), Resize(shortest=64, longest=96, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


def names_found(mine: Path, *more: str) -> set[str]:
    """The first names of what the build's detector finds, whatever its score."""
    ended = run_cli(mine, "detect", "../photos", "--json", "--min-score", "0", *more)
    assert ended.code == 0, ended.err
    seen = [json.loads(line) for line in ended.out.splitlines()]
    return {name for one in seen for found in one["objects"] for name in found["names"]}


def test_the_same_call_goes_on_and_changes_nothing(home: Path) -> None:
    quicken(home)
    assert annotate(home).code == 0
    before = hashes(home / "mine")
    ended = annotate(home)
    assert ended.code == 0, ended.err
    after = hashes(home / "mine")
    stages = {path for path in before if "/metrics/" not in path and "/.opendet/" not in path}
    assert {path: after[path] for path in stages} == {path: before[path] for path in stages}


def test_a_call_with_other_options_says_where_it_differs(home: Path) -> None:
    quicken(home)
    (home / "other.onnx").write_bytes((home / "yolo.onnx").read_bytes())
    before = hashes(home / "mine")
    ended = annotate(home, "--licence", "MIT", detector="other.onnx")
    assert ended.code == 1
    assert f"--detector was {home}/yolo.onnx, is {home}/other.onnx; --licence was" in ended.line
    assert hashes(home / "mine") == before


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(home: Path) -> None:
    quicken(home)
    told = ("photos", "--out", "mine", "--detector", "yolo.onnx", "--no-open")
    running = start_cli(home, "annotate", *told)
    begun = time.monotonic()
    while not (home / "mine" / "datasets" / "mine" / "regions").is_dir():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() - begun < 300
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert annotate(home).code == 0
    shards = hashes(home / "mine" / "datasets" / "mine" / "shards")
    (home / "mine").rename(home / "first")
    quicken(home)
    assert annotate(home).code == 0
    again = hashes(home / "mine" / "datasets" / "mine" / "shards")
    assert shards == again


def test_names_are_asked_for_in_a_file_of_the_project(home: Path) -> None:
    from tiny_detectors import save_tiny_owl

    from opendet.annotate.project import begin
    from opendet.annotate.wish import Wish

    owl = save_tiny_owl(home / "owl", version=2)
    wish = Wish(str(home / "photos"), str(owl), ("cat", "red star"), "a/captioner", "MIT", "")
    build = begin(wish, home / "my data!")
    assert build == "my-data"
    config = load_config(home / "my data!" / "configs" / "my-data.yaml")
    named = home / "my data!" / str(config.regions.queries.vocabulary_file)
    assert named.read_text() == "cat\nred star\n"
    assert config.caption.annotator == "vision_language"
    assert config.caption.vision_language.model == "a/captioner"
    assert not config.filter.require_caption
    source = yaml.safe_load((home / "my data!/datasets/my-data/source.yaml").read_text())
    assert (source["licence"], source["root"]) == ("MIT", str(home / "photos"))


def test_killed_while_it_begins_the_next_call_writes_what_is_missing(home: Path) -> None:
    from opendet.annotate.project import begin
    from opendet.annotate.texts import project_texts
    from opendet.annotate.wish import Wish

    said = {"output": np.zeros((1, 7, 4, 4), np.float32)}
    onnx = write_constant(home / "fastest.onnx", said)
    wish = Wish(str(home / "photos"), str(onnx), ("cat", "dog"), "", "MIT", "")
    begin(wish, home / "mine")
    mine = home / "mine"
    whole = contents(mine)
    written = [str(path.relative_to(mine)) for path in project_texts(wish, mine, "mine", "")]
    for number in range(len(written) + 1):
        place = home / str(number) / "mine"
        for name in ("annotate.json", *written[:number]):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(whole[name])
        begin(wish, place)
        assert contents(place) == whole, f"killed after {number} files"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_model_to_begin_with_decides_the_shape(home: Path) -> None:
    from opendet.annotate.project import begin
    from opendet.annotate.wish import Wish

    detector, start = build_detector(), save_model(home / "start")
    onnx = str(home / "yolo.onnx")
    begin(Wish(str(home / "photos"), onnx, (), "", "MIT", str(start)), home / "mine")
    config = load_config(home / "mine" / "configs" / "mine.yaml")
    assert config.detector == detector.config
    assert config.train.start_from == str(start)
    assert config.clip.width == config.namer.prompt_width == detector.namer.prompt_width
    assert (config.loader.shortest_edges, config.loader.longest_edge) == ((64,), 96)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothere", "--out", "x"), "nothere is no folder: name the folder of your photographs"),
        (("empty", "--out", "x"), "empty: no image and no film there: name some"),
        (("films", "--out", "x"), "films holds films alone: name a folder of photographs"),
        (("photos", "--out", "photos/mine"), "lies among the photographs: name a place beside"),
        (("photos", "--out", "empty/../photos"), "lies among the photographs"),
        (("photos", "--out", "taken"), "taken is there and was not made by `opendet annotate`"),
        (("photos", "--out", "yolo.onnx"), "yolo.onnx cannot be a folder"),
        (("photos", "--out", "x", "--names", "no.txt"), "there is no file no.txt"),
        (("photos", "--out", "x", "--names", "cat"), "names of its own, and cannot be told others"),
        (("photos", "--out", "x", "--start-from", "empty"), "empty holds no model"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    home: Path, words: tuple[str, ...], said: str
) -> None:
    for name in ("empty", "films", "taken"):
        (home / name).mkdir()
    (home / "films" / "a.mp4").write_bytes(b"a film")
    (home / "taken" / "a.txt").write_text("mine")
    before = hashes(home)
    ended = run_cli(home, "annotate", *words, "--detector", "yolo.onnx", "--no-open")
    assert ended.code == 1
    assert said in ended.line
    assert hashes(home) == before


def test_no_hub_is_one_line_that_names_the_option(home: Path) -> None:
    for names in ((), ("--names", "cat")):
        ended = run_cli(home, "annotate", "photos", "--out", "x", "--no-open", *names)
        assert ended.code == 1
        assert "name another one by --detector: an .onnx file, or a model's folder" in ended.line
        assert not (home / "x").exists()


def test_a_mistyped_knob_is_told_before_anything_runs(home: Path) -> None:
    quicken(home)
    path = home / "mine" / "configs" / "mine.yaml"
    path.write_text(path.read_text().replace("min_margin", "min_marign"))
    ended = annotate(home)
    assert ended.code == 1
    assert "did you mean min_margin" in ended.line
    assert not (home / "mine" / "datasets" / "mine" / "source").exists()


def test_what_begun_it_is_damaged(home: Path) -> None:
    quicken(home)
    (home / "mine" / "annotate.json").write_text("{")
    ended = annotate(home)
    assert ended.code == 1
    assert "annotate.json" in ended.line
