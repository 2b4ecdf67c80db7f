"""The command line: light to import, one line for what a user must mend, codes that mean things."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opendet import __version__
from opendet.predict_files import drawing_paths
from opendet.stage_order import DATA_STAGES, STAGES, choose_stages
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import (
    CONFIG,
    SCENES,
    hashes,
    make_project,
    picture,
    run_cli,
    start_cli,
    stats_of,
)
from tests.model.worlds import build_detector

HEAVY = ("torch", "transformers", "ray", "pyarrow", "numpy", "PIL", "nltk", "yaml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", SCENES)


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys, opendet.cli as cli\n"
        "try: cli.main(sys.argv[1:])\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules])"
    )
    for arguments in (["--help"], ["data", "build", "--help"], ["detect", "--help"]):
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1] == "[]"


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    assert run_cli(tmp_path, "--version").out.strip() == __version__
    for command in ("build", "verify", "stats", "why", "retry"):
        helped = run_cli(tmp_path, "data", command, "--help")
        assert helped.code == 0
        assert f"opendet data {command}" in helped.out.split("Usage:")[1].split("\n", 1)[1]
    for command in ("train", "evaluate", "report", "detect", "doctor"):
        helped = run_cli(tmp_path, command, "--help")
        assert helped.code == 0
        assert f"opendet {command}" in helped.out.split("Usage:")[1].split("\n", 1)[1]


def test_stages_run_in_their_order() -> None:
    assert choose_stages(()) == DATA_STAGES
    assert choose_stages(("shards", "caption")) == ("caption", "shards")
    assert choose_stages((), "report") == STAGES
    assert choose_stages((), "source") == ("source",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "build", "capton"), "did you mean caption?"),
        (("data", "build", "--until", "flter"), "did you mean filter?"),
        (("data", "build", "caption", "--until", "filter"), "not both"),
        (("data", "build", "--build", "coco"), "the configurations here: tiny"),
        (("data", "stats", "--build", "../tiny"), "is no build's name"),
        (("data", "build", "caption"), "source/manifest.json is missing: build the stage first"),
        (("data", "retry", "clip"), "quarantines no sample"),
        (("data", "retry", "source"), "is not built yet"),
        (("data", "stats"), "nothing of tiny is built"),
        (("data", "verify"), "nothing of tiny is built"),
        (("data", "why", "train-000000"), "nothing of tiny is built"),
        (("train",), "shards/manifest.json is missing"),
        (("detect", "x.jpg"), "opendet data build --until train"),
        (("detect", "x.jpg", "--model", "configs"), "holds no model"),
    ],
)
def test_what_the_user_must_mend_is_one_line(
    project: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = run_cli(project, *arguments)
    assert ended.code == 1
    assert said in ended.line


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("data", "build", "--actors", "-1"), ("detect",)]
)
def test_a_wrong_command_line_ends_with_2(project: Path, arguments: tuple[str, ...]) -> None:
    assert run_cli(project, *arguments).code == 2


@pytest.mark.parametrize(
    "command",
    [
        ("data", "build"),
        ("data", "verify"),
        ("report",),
        ("data", "build", "--build", "tiny"),
        ("data", "stats", "--build", "tiny"),
    ],
)
def test_outside_a_project(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = run_cli(tmp_path, *command)
    assert ended.code == 1
    assert "no project here" in ended.line


def test_a_build_is_made_once(project: Path) -> None:
    first = run_cli(project, "data", "build", "--until", "describe")
    assert first.code == 0, first.err
    assert "describe" in first.out
    before = hashes(project / "datasets", project / ".opendet")
    assert run_cli(project, "data", "build", "describe", "source").code == 0
    metrics = json.loads((project / "datasets/tiny/metrics/source.json").read_text())
    assert metrics["source"]["shards_made"] == 0
    after = hashes(project / "datasets", project / ".opendet")
    assert {k: v for k, v in after.items() if "/metrics/" not in k} == {
        k: v for k, v in before.items() if "/metrics/" not in k
    }
    assert stats_of(project)["describe"]["samples_out"] == 9


def test_sigterm_ends_with_130_and_the_next_run_goes_on(tmp_path: Path) -> None:
    batches = [{"name": "train", "split": "train", "count": 2000}]
    project = make_project(tmp_path / "project", {**SCENES, "batches": batches})
    program = start_cli(project, "data", "build", "source")
    lock = project / ".opendet/tiny/lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130, said
    assert "run again to go on" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert run_cli(project, "data", "build", "caption").code == 1, "nothing was published"


def test_an_unknown_build_of_a_config_that_hides_nothing(project: Path) -> None:
    (project / "configs/tiny.yaml").write_text(json.dumps({**CONFIG, "fliter": {}}))
    ended = run_cli(project, "data", "build")
    assert ended.code == 1
    assert "fliter: no such key (did you mean filter?)" in ended.line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "model"
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


def test_detect_names_the_broken_and_goes_on(model: Path, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(picture())
    (tmp_path / "cut.jpg").write_bytes(picture()[:-300])
    files = ("missing.jpg", "cut.jpg", "good.jpg")
    wanted = ("--model", str(model), "--min-score", "0", "--json", "--out", "drawn")
    ended = run_cli(tmp_path, "detect", *files, *wanted)
    assert ended.code == 1
    assert [line.split(":")[0] for line in ended.err.splitlines()] == ["missing.jpg", "cut.jpg"]
    (line,) = ended.out.splitlines()
    seen = json.loads(line)
    assert (seen["file"], seen["width"], seen["height"]) == ("good.jpg", 64, 48)
    assert len(seen["objects"]) > 0
    for found in seen["objects"]:
        assert found.keys() == {"box_xyxy", "score", "names"}
        x0, y0, x1, y1 = found["box_xyxy"]
        assert 0 <= x0 <= x1 <= 64
        assert 0 <= y0 <= y1 <= 48
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["good.png"]


def test_detect_draws_and_tells(model: Path, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(picture(kind="PNG"))
    before = hashes(tmp_path)
    ended = run_cli(
        tmp_path, "detect", "good.png", "--model", str(model), "--min-score", "1", "--out", "."
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.strip() == "good.png: nothing found -> good-1.png"
    assert before.items() <= hashes(tmp_path).items(), "the picture itself was overwritten"


@pytest.mark.parametrize("out", ["notes", "notes/x/y"])
def test_detect_draws_over_no_file(model: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "good.png").write_bytes(picture(kind="PNG"))
    (tmp_path / "notes").write_text("mine")
    ended = run_cli(tmp_path, "detect", "good.png", "--model", str(model), "--out", out)
    assert ended.code == 1
    assert ended.line == f"{out} cannot be a folder, notes is none: name another place"
    assert (tmp_path / "notes").read_text() == "mine"


def test_detect_names_a_damaged_namer(model: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(model, tmp_path / "damaged"))
    (damaged / "namer" / "tokenizer.json").write_text("{")
    (tmp_path / "good.png").write_bytes(picture(kind="PNG"))
    ended = run_cli(tmp_path, "detect", "good.png", "--model", "damaged")
    assert ended.code == 1
    assert ended.line.startswith("damaged/namer is damaged (")


def test_drawings_take_no_name_twice(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.png", tmp_path / "x.webp"]
    assert [path.name for path in drawing_paths(paths, tmp_path)] == ["x.png", "x-1.png", "x-2.png"]
    again = [path.name for path in drawing_paths([tmp_path / "x.png"] * 5, tmp_path)]
    assert again == ["x-1.png", "x-2.png", "x-3.png", "x-4.png", "x-5.png"]


def test_help_says_nothing_of_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENDET_RAY_ADDRESS", "http://someone:secret@head:8265")
    helped = run_cli(project, "data", "build", "--help")
    assert "secret" not in helped.out + helped.err
