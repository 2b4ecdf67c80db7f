"""The suite's own tries: each must be able to tell a system that breaks from one that does not."""

import io
import os
import random
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from opendet.faults import commit_kills, damaged, failed_calls, killed, trained
from opendet.faults.bombs import BOMBS, MEGABYTES, write_bomb
from opendet.faults.evaluated import random_sets
from opendet.faults.killed import bytes_of, leftovers
from opendet.faults.poisoned import raising_samples
from opendet.faults.rows import Effort
from opendet.faults.syscalls import (
    CALLS,
    WITHOUT,
    Ended,
    failing,
    killed_at,
    missing,
    steps_of,
)
from opendet.faults.toy_build import ONCE, SHARD_SAMPLES, Settings, build
from opendet.faults.toy_shards import toy_sample, write_toy_shards
from opendet.faults.toy_training import STEPS
from opendet.sources.images import BadImageError, inspect_image
from opendet.train import checkpoint

needs_strace = pytest.mark.skipif(bool(missing()), reason=WITHOUT)
WRITES = "open({!r}, 'wb').write(b'x'); import os; os.rename({!r}, {!r})"


@pytest.mark.parametrize("kind", damaged.KINDS)
def test_damage_of_each_kind_is_noticed_and_wholeness_is_not(tmp_path: Path, kind: str) -> None:
    names = write_toy_shards(tmp_path / "shards", shards=2, each=3)
    assert not damaged.reader_notices(tmp_path / "shards")
    assert not damaged.webdataset_notices(tmp_path / "shards", names)
    before = bytes_of(tmp_path / "shards")
    damaged.damage(tmp_path / "shards", kind, random.Random(1))
    assert bytes_of(tmp_path / "shards") != before
    assert damaged.reader_notices(tmp_path / "shards")


def test_a_reader_that_names_no_file_has_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise ValueError("a shard is broken")

    monkeypatch.setattr("opendet.faults.damaged.ShardSet.open", refuse)
    assert not damaged.reader_notices(tmp_path)


def test_short_rows_hold(tmp_path: Path) -> None:
    for number, show in enumerate((damaged.damaged_shards, raising_samples, random_sets)):
        folder = tmp_path / str(number)
        folder.mkdir()
        shown = show(Effort(folder, share=0.01))
        assert shown.holds, shown.problems


def test_a_toy_build_ends_whole_and_counts_what_it_looked_at(tmp_path: Path) -> None:
    build(tmp_path, Settings())
    assert len((tmp_path / "calls").read_text().splitlines()) == ONCE
    assert leftovers(tmp_path) == []
    (tmp_path / "work" / "attempts" / "b-1").mkdir(parents=True)
    (tmp_path / ".out.aside").mkdir()
    assert [path.name for path in leftovers(tmp_path)] == ["b-1", ".out.aside"]


@pytest.mark.parametrize(
    ("call", "ended", "whole", "problem"),
    [
        (
            "write",
            Ended(1, "caption: 2 of 2 shards to do\n[Errno 28] No space: '/a/b'\n"),
            False,
            "",
        ),
        ("write", Ended(1, "[Errno 28] No space\n"), False, "said no path: [Errno 28] No space"),
        ("fsync", Ended(0, ""), True, "ended well, and nobody was told"),
        ("link", Ended(0, ""), True, ""),
        ("link", Ended(0, ""), False, "ended well without its output"),
        ("write", Ended(-6, ""), False, "ended by signal 6"),
        ("write", Ended(1, "Traceback\nOSError: x\n"), False, "said 2 lines: ['OSError: x']"),
    ],
)
def test_how_a_run_may_end(call: str, ended: Ended, whole: bool, problem: str) -> None:
    assert failed_calls._of_end(call, ended, Path("/a"), whole=whole) == problem


def test_every_call_of_a_commit_fails_but_those_that_clear_up() -> None:
    assert {*CALLS} - {*failed_calls.ERRORS} == {"unlink", "unlinkat", "rmdir"}
    assert {*failed_calls.ERRORS} > failed_calls.MAY_END_WELL


@needs_strace
def test_a_chosen_call_fails_or_kills(tmp_path: Path) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    one, two = str(folder / "one"), str(folder / "two")
    command = [sys.executable, "-c", WRITES.format(one, one, two)]
    steps = steps_of(command, folder, {})
    assert [step.call for step in steps] == ["openat", "write", "close", "rename"]
    shutil.rmtree(folder)
    folder.mkdir()
    ended = failing(command, steps[-1], "ENOSPC", {})
    assert ended.code == 1
    assert "No space left" in ended.said
    assert [path.name for path in folder.iterdir()] == ["one"]
    assert killed_at(command, steps[1], {}).code != 0
    assert (folder / "one").read_bytes() == b""


def test_without_strace_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, show in (
        (commit_kills, commit_kills.commit_kills),
        (failed_calls, failed_calls.failed_calls),
    ):
        monkeypatch.setattr(module, "missing", lambda: WITHOUT)
        shown = show(Effort(tmp_path))
        assert not shown.holds
        assert shown.unmeasured == WITHOUT


def test_a_checkpoint_that_was_lost_or_mixed_is_a_problem(tmp_path: Path) -> None:
    import torch

    assert trained.wrong_of_latest(tmp_path / "none", 0) == ""
    assert trained.wrong_of_latest(tmp_path / "none", 2) == "step 2 was saved and nothing loads"
    tensors = {"model.a": torch.full((3,), 4.0), "model.b": torch.full((3,), 4.0)}
    checkpoint.save(tmp_path, checkpoint.Checkpoint(4, tensors, {}), keep=2)
    assert trained.wrong_of_latest(tmp_path, 4) == ""
    assert trained.wrong_of_latest(tmp_path, 5) == "step 4 loads and step 5 was saved"
    tensors["model.b"][1] = 3.0
    checkpoint.save(tmp_path, checkpoint.Checkpoint(4, tensors, {}), keep=2)
    assert trained.wrong_of_latest(tmp_path, 4) == "a mix of two steps loads"


def test_an_image_that_an_epoch_saw_twice_or_not_is_a_problem(tmp_path: Path) -> None:
    keys = [toy_sample(number).key for number in range(trained.IMAGES)]
    steps = [step for step in range(STEPS) for _ in range(trained.BATCH)]
    part = tmp_path / "signals" / "rank-0" / "step-00000012.parquet"
    part.parent.mkdir(parents=True)

    def write(seen: list[str]) -> None:
        pq.write_table(pa.table({"step": steps, "key": seen}), part)

    once = keys * (STEPS * trained.BATCH // trained.IMAGES)
    write(once)
    assert trained.wrong_of_epochs(tmp_path) == ""
    once[15], once[30] = once[30], once[15]  # as often as before, in other epochs
    write(once)
    assert trained.wrong_of_epochs(tmp_path).startswith("images of epoch 1: ")


@pytest.mark.parametrize("bomb", sorted({one[1:] for one in BOMBS if one[2] < 9_000}))
def test_a_bomb_is_small_as_a_file_and_large_as_pixels(
    tmp_path: Path, bomb: tuple[str, int]
) -> None:
    """So large that a refusal after decoding would be seen."""
    content = write_bomb(tmp_path / "bomb", *bomb).read_bytes()
    assert len(content) < 2_000_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB"
        assert 4 * image.width * image.height > 3 * MEGABYTES * 2**20
    with pytest.raises(BadImageError, match="too many pixels"):
        inspect_image(content)


def test_a_build_has_begun_when_its_lock_names_it(tmp_path: Path) -> None:
    assert not killed.has_begun(tmp_path, os.getpid())
    build(tmp_path, Settings(shards=1))
    assert killed.has_begun(tmp_path, os.getpid())
    assert not killed.has_begun(tmp_path, os.getpid() + 1)


@pytest.mark.slow
def test_a_killed_build_is_rebuilt_and_its_kills_are_counted(tmp_path: Path) -> None:
    wanted = killed.undisturbed(tmp_path, Settings())
    one = killed._killed_build(tmp_path, wanted, 3)
    assert one.problem == ""
    assert one.again <= one.in_flight == one.kills * SHARD_SAMPLES
    assert killed._killed_build(tmp_path, {"x": b""}, 3).problem == "try 3: other bytes"
