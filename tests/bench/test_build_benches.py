"""The benches of the whole build: they measure rightly, and both arms do the same."""

import math
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from opendet.bench import build_growth, build_resume, build_speed, plain_ray, stub_build
from opendet.bench.build_version import code_of_build
from opendet.bench.process_tree import kill_tree, peak_bytes, reset_peak, watch
from opendet.bench.stub_models import captioned, described, with_regions
from opendet.bench.stub_pictures import write_pictures
from opendet.fingerprint import ENGINE
from opendet.record import Record
from opendet.sources.folder import files_below
from opendet.sources.images import inspect_image

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_a_tree_is_killed_with_what_has_a_session_of_its_own() -> None:
    began = "subprocess.Popen(['sleep', '60'], start_new_session=True)"
    code = f"import subprocess, time; print({began}.pid, flush=True); time.sleep(60)"
    root = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert root.stdout is not None
    child = psutil.Process(int(root.stdout.readline()))
    kill_tree(root.pid)
    assert root.wait(timeout=20) == -signal.SIGKILL
    _, alive = psutil.wait_procs([child], timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    kill_tree(root.pid)  # of a tree that is gone nothing is left to be killed


def test_the_time_of_an_orphan_counts_too(tmp_path: Path) -> None:
    """The shell ends at once; nobody waits for what it began."""
    (tmp_path / "busy.py").write_text(BUSY.format(seconds=1.5))
    watched = watch(["sh", "-c", f"{shlex.quote(sys.executable)} busy.py &"], tmp_path)
    assert watched.code == 0
    assert 1.0 < watched.cpu_seconds(0.0, math.inf) < 3.0


def test_what_came_before_is_not_counted(tmp_path: Path) -> None:
    watched = watch([sys.executable, "-c", BUSY.format(seconds=0.7)], tmp_path)
    assert watched.cpu_seconds(0.0, math.inf) > 0.4
    assert watched.cpu_seconds(watched.ended, math.inf) < 0.3


def test_a_command_is_killed_when_told(tmp_path: Path) -> None:
    begin = time.monotonic()
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    watched = watch(sleeping, tmp_path, kill_when=lambda: time.monotonic() > begin + 0.3)
    assert watched.code == -9
    assert watched.ended < begin + 30


def test_the_peak_of_memory_begins_anew() -> None:
    held = bytearray(200 << 20)
    high = peak_bytes()
    del held
    reset_peak()
    assert peak_bytes() < high - (100 << 20)


def test_stub_models_look_and_tell() -> None:
    record = Record("k", "s", "b", "train", "CC0-1.0", "k.png", "png", 1, "0", 32, 24)
    pixels = Image.new("RGB", (32, 24), (0, 9, 0))
    pixels.paste((200, 0, 0), (0, 0, 16, 24))
    told = described(with_regions(captioned(record, pixels), pixels), pixels)
    assert told.caption.startswith("a picture in red")
    assert [region.names for region in told.regions] == [("red thing",), ("red thing",)]
    pixels.paste((0, 0, 250), (8, 6, 24, 18))
    again = described(told, pixels)
    assert again.regions[1].description == "a thing that is mainly blue"


def test_pictures_are_the_same_each_time_and_none_like_another(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / name, 40, (48, 40))
    once, again = (
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.jpg"))] for name in "ab"
    )
    assert once == again
    looks = [int(inspect_image(content).phash, 16) for content in once]
    assert min((a ^ b).bit_count() for a in looks for b in looks if a != b) > 4
    assert len(set(looks)) == 40


def test_an_edit_of_the_engine_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a kept result would speak of an engine that is no more."""
    before = code_of_build("opendet.bench.build_speed")
    assert code_of_build("opendet.bench.build_speed") == before
    monkeypatch.setattr("opendet.bench.build_version.ENGINE", ENGINE - {"opendet.flow"})
    assert code_of_build("opendet.bench.build_speed") != before


def test_the_driver_that_is_measured_imports_no_torch() -> None:
    """It would be half of its memory, and a second of each start."""
    imports = "import sys, opendet.bench.stub_build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imports], check=False).returncode == 0


def _cost(cpu: float, wall: float) -> build_speed.Cost:
    return {"cpu": cpu, "wall": wall, "start": 1.0, "samples": 10.0}


def test_speed_is_the_median_of_the_rounds_ratios() -> None:
    told = {
        "ours": [_cost(1, 2), _cost(1, 2), _cost(10, 2)],
        "theirs": [_cost(2, 1), _cost(3, 1), _cost(1, 1)],
        "handing_on": [_cost(1, 2), _cost(1, 2), _cost(10, 2)],
    }
    rows = list(build_speed.rows_of(told))
    assert [row.value for row in rows[:4]] == [2, 0.5, 1, 1]
    assert [row.holds for row in rows[:4]] == [True, False, True, True]


def test_resume_tells_what_the_kill_cost() -> None:
    one = {
        "undisturbed": {"cpu": 10.0, "wall": 20.0},
        "killed": {"cpu": 6.0, "wall": 10.0},
        "again": {"cpu": 4.5, "wall": 14.0},
        "idle": {"cpu": 0.5, "wall": 4.0},
        "parts": 8,
        "kept": 4,
        "until_new": 1.0,
        "same": True,
    }
    rows = {row.metric: row for row in build_resume.rows_of([one])}
    assert rows["killed and run again, extra cpu"].value == pytest.approx(0.05)
    assert rows["killed and run again, extra wall"].value == pytest.approx(0.2)
    assert [row.holds for row in rows.values()] == [True, True, False, False, True, True]


def test_growth_is_told_of_what_was_measured() -> None:
    told = {
        count: {"cpu": cpu, "wall": cpu, "driver_cpu": 1.0, "driver_peak": peak << 20}
        for count, cpu, peak in ((1000, 5.0, 200), (10_000, 14.0, 220), (100_000, 131.0, 400))
    }
    rows = {row.metric: row for row in build_growth.rows_of(told)}
    assert rows["a further thousand from 1000 to 10000, cpu s"].value == pytest.approx(1.0)
    assert rows["the later of them over the earlier, cpu"].value == pytest.approx(1.3)
    assert rows["the later of them over the earlier, cpu"].holds is False
    assert rows["driver's memory, 100000 over 10000 images"].holds is False
    assert not [row for row in build_growth.rows_of({1000: told[1000]}) if row.goal]


@pytest.mark.slow
@pytest.mark.parametrize("handing_on", [False, True])
def test_the_peer_decodes_no_picture_in_vain(
    handing_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path, 3, (64, 48))
    decoded: list[bytes] = []
    decode = plain_ray.decode_upright

    def counted(content: bytes) -> Image.Image:
        decoded.append(content)
        return decode(content)

    monkeypatch.setattr(plain_ray, "decode_upright", counted)
    names = np.array(sorted(files_below(tmp_path)))
    plain_ray._check(tmp_path, handing_on, {"file": names})
    assert len(decoded) == (3 if handing_on else 0)


def test_plain_ray_data_packs_the_same_members(tmp_path: Path) -> None:
    drawn = tmp_path / "pictures"
    write_pictures(drawn, 20, (64, 48))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    stub_build.make_project(ours, drawn, shard_samples=8)
    theirs.mkdir()
    assert watch(stub_build.command(actors=0), ours).code == 0
    assert watch(plain_ray.command(drawn, shard_samples=8, handing_on=True), theirs).code == 0
    wanted = _members(ours / "datasets" / stub_build.NAME / "shards")
    assert _members(theirs / "out") == wanted
    assert len(wanted) == 40


@pytest.mark.slow
def test_a_killed_build_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    (told,) = build_resume.costs(tmp_path / "made", 60, (64, 48), shard_samples=6, rounds=1)
    assert told["same"]
    assert 0 < told["kept"] < told["parts"]
    assert not (tmp_path / "made").exists()


def _members(folder: Path) -> dict[str, bytes]:
    members = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file
                members[member.name] = file.read()
    return members
