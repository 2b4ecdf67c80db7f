"""What a reader may find while a set replaces another, and the calls at which that is tried."""

import shutil
from pathlib import Path

import pytest

from opendet.faults.commit_cases import CASES, EXCHANGE, Sets
from opendet.faults.commit_kills import _one
from opendet.faults.killed import bytes_of
from opendet.faults.syscalls import WITHOUT, Step, missing

FIRST, REPLACING, IN_THREE = CASES
needs_strace = pytest.mark.skipif(bool(missing()), reason=WITHOUT)


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return REPLACING.may_be_seen(tmp_path / "whole")


def test_the_set_that_replaces_another_has_other_bytes_and_other_names(sets: Sets) -> None:
    assert sets.old.keys() > sets.new.keys()
    assert not {name for name in sets.new if sets.old[name] == sets.new[name]}
    assert FIRST.before is None


def test_the_old_set_or_the_new_one(tmp_path: Path, sets: Sets) -> None:
    out = tmp_path / "out"
    for whole in (sets.old, sets.new):
        _lay(whole, out)
        assert sets.wrong_of(out, may_be_missing=False) == ""
    (out / "b-000000.parquet").write_bytes(sets.old["b-000000.parquet"])
    assert sets.wrong_of(out, may_be_missing=True) == "a reader sees a mix"
    _lay({**sets.old, **sets.new}, out)
    assert sets.wrong_of(out, may_be_missing=True) == "a reader sees a mix"


def test_a_set_that_is_missing(tmp_path: Path, sets: Sets) -> None:
    out = tmp_path / "out"
    assert sets.wrong_of(out, may_be_missing=True) == ""
    assert sets.wrong_of(out, may_be_missing=False) == "it is missing"
    assert Sets({}, sets.new).wrong_of(out, may_be_missing=False) == ""


def test_the_next_run_ends_with_the_new_set_and_leaves_nothing(tmp_path: Path, sets: Sets) -> None:
    folder = tmp_path / "next"
    _lay(sets.new, folder / "out")
    assert sets.wrong_of_next(folder) == ""
    (folder / "work" / "publish-1.aside").mkdir(parents=True)
    assert sets.wrong_of_next(folder) == "left behind: work/publish-1.aside"
    _lay(sets.old, folder / "out")
    assert sets.wrong_of_next(folder) == "the next run ended with other bytes"


@pytest.mark.slow
@needs_strace
def test_a_set_is_replaced_by_one_step_or_by_three_renames(tmp_path: Path, sets: Sets) -> None:
    for case, wanted in ((REPLACING, [EXCHANGE]), (IN_THREE, 3 * ["rename"])):
        folder = tmp_path / case.name
        moves = [step.call for step in case.steps(folder) if step.call.startswith("rename")]
        assert moves == ["rename", *wanted]  # the first is that of the manifest
        assert bytes_of(folder / "out") == sets.new


@pytest.mark.slow
@needs_strace
def test_a_kill_between_the_renames_is_said_and_mended(tmp_path: Path, sets: Sets) -> None:
    steps = [step for step in IN_THREE.steps(tmp_path / "steps") if step.call == "rename"]
    seen = [_one(IN_THREE, tmp_path / str(step.number), step, sets) for step in steps]
    assert seen == [("", False), ("", False), ("", True), ("", False)]
    never = Step("rename", 99, "")
    assert _one(IN_THREE, tmp_path / "never", never, sets) == ("was not killed", False)


def _lay(files: dict[str, bytes], out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
