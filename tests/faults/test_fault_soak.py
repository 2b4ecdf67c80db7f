"""The soak: a leak of any kind is seen, and a flat line is not called one."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.faults import soak as program
from opendet.faults.soak import Look, left_in_shared_memory, slope_of, verdict
from opendet.faults.toy_build import Settings, build

FLAT = [Look(float(n), n, 500.0 + 0.01 * (n % 2), 20, 5, 0, 0, 0) for n in range(20)]


def test_what_stays_as_it_is_is_flat() -> None:
    flat, told = verdict(FLAT)
    assert flat
    assert "descriptors 20; threads 5; children 0; temporary 0; shared 0" in told


def test_what_grows_at_first_and_then_stays_is_flat() -> None:
    warm = [
        replace(look, megabytes=300.0 + 40 * n, descriptors=10 + n) for n, look in enumerate(FLAT)
    ]
    assert verdict([*warm[:10], *(replace(one, descriptors=19) for one in FLAT[10:])])[0]


@pytest.mark.parametrize("what", ["descriptors", "threads", "children", "temporary", "shared"])
def test_one_more_in_the_second_half_is_a_leak(what: str) -> None:
    leaking = [*FLAT[:-1], replace(FLAT[-1], **{what: getattr(FLAT[-1], what) + 1})]
    flat, told = verdict(leaking)
    assert not flat
    assert f"{what} {getattr(FLAT[0], what)} to" in told


def test_memory_that_goes_on_growing_is_a_leak() -> None:
    growing = [replace(look, megabytes=500 + look.minutes) for look in FLAT]  # 60 MB an hour
    flat, told = verdict(growing)
    assert not flat
    assert "memory +60.0 MB an hour" in told


def test_too_few_looks_tell_nothing() -> None:
    assert verdict(FLAT[:3]) == (False, "3 looks are too few to tell")
    assert slope_of([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope_of([(1, 1), (1, 3)]) == 0


def test_shared_memory_is_known_by_the_process_that_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "SHARED_MEMORY", tmp_path)
    for name in ("torch_4711_1_0", "sem.x", "psm_4712"):
        (tmp_path / name).touch()
    assert left_in_shared_memory({4711}) == ["torch_4711_1_0"]
    monkeypatch.setattr(program, "SHARED_MEMORY", tmp_path / "none")
    assert left_in_shared_memory({4711}) == []


def test_a_soak_of_a_round_writes_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program.Soak, "_train", lambda soak, place: None)  # seconds of torch
    before = os.environ.get("TMPDIR")
    code = program.main(["--minutes", "0.0005", "--every", "0", "--docs", str(tmp_path)])
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["done"]["builds"] >= 2
    assert told["done"]["samples read"] >= 12
    assert told["looks"][-1]["rounds"] >= 1
    assert told["looks"][-1]["temporary"] == 0
    assert code == (0 if told["flat"] else 1)
    assert told["verdict"] in capsys.readouterr().out
    longer = (tmp_path / "soak.json").read_bytes()
    program.main(["--minutes", "0", "--docs", str(tmp_path)])
    assert (tmp_path / "soak.json").read_bytes() == longer
    assert os.environ.get("TMPDIR") == before


def test_a_build_is_killed_once_it_has_begun_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = program.Soak(tmp_path)
    monkeypatch.setattr(program, "LONGEST", 0.7)
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        one._build_killed(folder)
    assert one.done["kills"] == 2
    assert one.done["kills after a commit"] >= 1

    def leaving(folder: Path, settings: Settings) -> None:
        build(folder, settings)
        (folder / "work" / "attempts" / "b-1").mkdir(parents=True)

    monkeypatch.setattr(program, "build", leaving)
    (tmp_path / "left").mkdir()
    with pytest.raises(AssertionError, match="a rebuild leaves work/attempts/b-1 behind"):
        one._build_killed(tmp_path / "left")
