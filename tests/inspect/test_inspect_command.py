"""`opendet inspect` as a user types it: what it shows, what it says is wrong, and how it ends."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from opendet.inspect.elapsed import process_age
from opendet.pages import make
from tests.cli_world import ROOT, run_cli, start_cli
from tests.shard_world import painted, publish, region, samples, small_build


def test_a_build_in_numbers(finished: Path) -> None:
    ended = run_cli(finished, "inspect", "datasets/tiny")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("tiny: 6 samples, as the stage shards has them; 12 regions, 6 kept")
    assert "too small" in ended.out
    assert "\x1b" not in ended.out


def test_json_holds_the_same(finished: Path) -> None:
    ended = run_cli(finished, "inspect", "datasets/tiny", "--json")
    told = json.loads(ended.out)
    assert told["regions"] == {"all": 12, "kept": 6, "masks": 0}
    assert told["refused"] == {"too small": 6}
    assert told["troubles"] == []


def test_one_sample_of_a_build_and_of_a_bare_shard(finished: Path) -> None:
    of_build = run_cli(finished, "inspect", "datasets/tiny", "train-p1")
    why = run_cli(finished, "data", "why", "train-p1")
    assert of_build.code == 0
    assert of_build.out == why.out
    [shard, *_] = sorted((finished / "datasets" / "tiny" / "shards").glob("*.tar"))
    alone = run_cli(finished, "inspect", str(shard), "train-p1")
    assert alone.out == why.out.partition("\nstages")[0] + "\n"
    first = run_cli(finished, "inspect", str(shard), "--at", "0", "--json")
    told = json.loads(first.out)
    assert (told["key"], told["stages"]) == ("train-p0", [])
    assert told["record"]["licence"] == "MIT"


def test_no_such_sample(finished: Path) -> None:
    ended = run_cli(finished, "inspect", "datasets/tiny", "train-q1")
    assert ended.code == 1
    assert ended.line.startswith("tiny has no sample 'train-q1'; the nearest: train-p1")
    ended = run_cli(finished, "inspect", "datasets/tiny", "--at", "6")
    assert ended.line == "tiny has no sample 6: it has 6, counted from 0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere is not there: name a build's folder"),
        (("datasets",), "it is a folder of builds: name one, such as datasets/tiny"),
        (("datasets/tiny/clip",), "is the stage clip's, which holds no samples"),
        (("datasets/tiny/source.yaml",), "neither a shard (.tar) nor a file of records"),
        (("datasets/tiny", "--against", "nowhere"), "nowhere is not there"),
    ],
)
def test_what_cannot_be_looked_into_is_one_line(
    finished: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = run_cli(finished, "inspect", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.line


@pytest.mark.parametrize(
    "arguments",
    [
        ("train-p1", "--at", "0"),
        ("train-p1", "--html", "x"),
        ("--at", "0", "--against", "datasets/tiny"),
        ("--open",),
        ("--html", "x", "--json"),
        ("--serve", "--verify"),
    ],
)
def test_what_has_no_use_for_each_other(finished: Path, arguments: tuple[str, ...]) -> None:
    ended = run_cli(finished, "inspect", "datasets/tiny", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert not (finished / "x").exists()


def test_a_damaged_shard_shows_the_rest_and_ends_with_1(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    path = tmp_path / "shards" / "a-000001.tar"
    path.write_bytes(path.read_bytes()[:-12_000])
    ended = run_cli(tmp_path, "inspect", "shards")
    assert ended.code == 1
    assert "samples, as the stage shards has them" in ended.out
    lines = ended.err.splitlines()
    assert any("a-000001.tar is damaged" in line for line in lines)
    assert all(" " in line and len(line) < 300 for line in lines)
    assert run_cli(tmp_path, "inspect", "shards", made[0].key).code == 0


def test_a_damaged_picture_still_has_its_story(tmp_path: Path) -> None:
    made = samples(3)
    publish(tmp_path / "shards", {"a-000000": made})
    path = tmp_path / "shards" / "a-000000.tar"
    content = bytearray(path.read_bytes())
    content[content.index(made[1].content) + 40] ^= 1
    path.write_bytes(content)
    ended = run_cli(tmp_path, "inspect", "shards", made[1].key)
    assert ended.code == 1
    assert "a white thing" in ended.out
    assert f"the image of {made[1].key} is not the one that its record names" in ended.line


def test_a_build_of_no_samples_says_so(tmp_path: Path) -> None:
    publish(tmp_path / "shards", {"a-000000": []})
    ended = run_cli(tmp_path, "inspect", "shards")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("shards: no samples")


def test_texts_of_the_data_steer_no_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m<script>alert(1)</script>[bold]\u202e"
    publish(
        tmp_path / "shards", {"a-000000": [painted("a-0", regions=[region((0, 0, 9, 9), evil)])]}
    )
    for arguments in (("shards",), ("shards", "a-0"), ("shards", "a-0", "--json")):
        ended = run_cli(tmp_path, "inspect", *arguments)
        assert ended.code == 0
        assert not set(ended.out) & set("\x1b\x07\u202e")
    assert "<script>alert(1)</script>[bold]" in run_cli(tmp_path, "inspect", "shards", "a-0").out


def test_two_builds_side_by_side(tmp_path: Path) -> None:
    made = samples(6)
    publish(tmp_path / "new", {"a-000000": made})
    publish(tmp_path / "old", {"a-000000": made[:4]})
    ended = run_cli(tmp_path, "inspect", "new", "--against", "old")
    assert ended.code == 0
    assert ended.out.startswith(
        "new against old: 4 samples in both, 2 only in the first, 0 only in the second"
    )
    told = json.loads(run_cli(tmp_path, "inspect", "new", "--against", "old", "--json").out)
    assert told["totals"]["samples"] == [6, 4]


def test_pages_are_written_once(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    ended = run_cli(tmp_path, "inspect", "shards", "--html", "pages")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("pages/index.html: 15 samples")
    assert (tmp_path / "pages" / "index.html").is_file()
    again = run_cli(tmp_path, "inspect", "shards", "--html", "pages")
    assert again.code == 1
    assert "pages" in again.line


def test_serving_ends_with_ctrl_c(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    served = start_cli(tmp_path, "inspect", "shards", "--serve", "--port", "0")
    try:
        assert served.stdout is not None
        line = served.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) shows shards; Ctrl-C ends it\n", line)
        assert found, line
        with urllib.request.urlopen(found[1], timeout=20) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGINT)
        assert served.communicate(timeout=20) == ("", "")
        assert served.returncode == 0
    finally:
        served.kill()
        served.communicate()


def test_no_further_process_where_none_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("processes were begun")

    monkeypatch.setattr(make, "in_processes", fail)
    monkeypatch.setattr(make, "_WORTH_A_PROCESS", 1)
    small_build(tmp_path / "shards")
    alone = run_cli(tmp_path, "inspect", "shards", "--html", "pages", "--processes", "0")
    assert (alone.code, alone.err) == (0, "")
    with pytest.raises(AssertionError, match="begun"):
        run_cli(tmp_path, "inspect", "shards", "--html", "others", "--processes", "2")


# --- on a terminal, and in no time


def test_a_terminal_that_can_shows_the_picture(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    for extra, there in (((), True), (("--no-picture",), False)):
        shown = in_terminal(tmp_path, "inspect", "shards", "--at", "1", *extra)
        assert ("▀" in shown) is there
        assert "a-0001" in shown


def test_the_time_is_told_when_asked(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    ended = run_cli(tmp_path, "inspect", "shards", "--at", "0", "--time")
    first, last = ended.err.splitlines()
    assert re.fullmatch(r"the sample was read \d+\.\d\d s after the process began, .*", first)
    assert last.startswith("all was shown")
    assert 0 < process_age() < 24 * 3600


def test_one_sample_loads_nothing_heavy(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    watched = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    ended = start_cli(tmp_path, "inspect", "shards", "--at", "0", first=watched)
    out, err = ended.communicate(timeout=60)
    assert ended.returncode == 0
    assert out.startswith("a-0000")
    loaded = set(err.split())
    assert "opendet.inspect.collection" in loaded
    heavy = {"torch", "ray", "transformers", "dvc", "scipy", "opendet.build", "opendet.config"}
    assert not loaded & heavy


def in_terminal(folder: Path, *arguments: str) -> str:
    """What the command line shows in a terminal of true colours."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for name in ("NO_COLOR", "TMUX", "STY", "TERM_PROGRAM", "KITTY_WINDOW_ID"):
        environment.pop(name, None)
    program = subprocess.Popen(
        [sys.executable, "-c", "from opendet.cli import main; main()", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=its,
        stderr=its,
        stdin=its,
    )
    os.close(its)
    seen = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            seen += os.read(ours, 65536)
    except OSError:  # Linux's way to say that the other side is closed
        pass
    finally:
        program.wait(60)
        os.close(ours)
    return seen.decode(errors="replace")
