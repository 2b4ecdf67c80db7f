"""What the quarantine says, and which errors are the machine's."""

import errno
from collections.abc import Sequence
from pathlib import Path

import flow_world as world
import pytest

from opendet.sample import Sample
from opendet.shard_run import run_shard


def raising(error: Exception) -> world.Captioner:
    def worker(samples: Sequence[Sample]) -> list[world.Record]:
        raise error

    return worker  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/srv/a b/x.jpg"), "denied: x.jpg"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", b"/srv/\xff.jpg"),
            "No such file: \\udcff",
        ),
        (ValueError("/srv/data/x.parquet is damaged"), "ValueError: x.parquet is damaged"),
        (ValueError("cannot reach https://hub.org/a/b"), "reach https://hub.org/a/b"),
        (ValueError("4/5 of a/b\nand more"), "ValueError: 4/5 of a/b"),
    ],
)
def test_the_quarantine_names_no_folder_of_this_machine(error: Exception, said: str) -> None:
    stage, task = world.stage(), world.tasks(1)[0]
    outcome = run_shard(stage, raising(error), task, only=["k0003"])
    [sick] = outcome.quarantined
    assert said in sick.error
    assert "/srv" not in sick.error
    assert "\n" not in sick.error
    sick.error.encode()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EMFILE, errno.ENOMEM])
def test_an_error_of_the_machine_is_raised_wherever_it_comes_from(
    tmp_path: Path, code: int
) -> None:
    with pytest.raises(OSError, match="no room"):
        run_shard(world.stage(), raising(OSError(code, "no room")), world.tasks(1)[0])
