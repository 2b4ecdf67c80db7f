"""The flow keeps its promises: the same bytes whoever runs it, and every sample accounted for."""

import errno
import fcntl
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import flow_world as world
import pytest

from opendet.files import BusyError, exclusive_lock
from opendet.flow import Ran, retry, run
from opendet.poison import POISON
from opendet.ray_session import ray_session
from opendet.shard_run import make_part, run_shard
from opendet.work import WorkFolder

MAIN = """
import sys
from pathlib import Path
import flow_world as world
from opendet.files import exclusive_lock
from opendet.ray_session import ray_session
from opendet.flow import run
from opendet.work import WorkFolder

folder, actors, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
work = WorkFolder(folder / "work")
stage = world.stage(world.Captioner(seconds=seconds, calls_to=str(folder / "calls")))
with exclusive_lock(folder / "lock", what="toy"):
    if actors:
        with ray_session(cpus=actors):
            ran = run(stage, world.tasks(), work, actors=actors)
    else:
        ran = run(stage, world.tasks(), work, actors=0)
    work.publish(folder / "out", ran.manifest)
"""


@pytest.fixture(scope="module")
def ray_of_two() -> Iterator[None]:
    with ray_session(cpus=2):
        yield


def published(tmp_path: Path, ran: Ran, work: WorkFolder, name: str = "out") -> dict[str, bytes]:
    work.publish(tmp_path / name, ran.manifest)
    return world.bytes_of(tmp_path / name)


def undisturbed(tmp_path: Path, captioner: world.Captioner | None = None) -> dict[str, bytes]:
    work = WorkFolder(tmp_path / "undisturbed-work")
    ran = run(world.stage(captioner), world.tasks(), work, actors=0)
    return published(tmp_path, ran, work, "undisturbed")


def test_actors_and_the_local_runner_give_equal_bytes(tmp_path: Path, ray_of_two: None) -> None:
    expected = undisturbed(tmp_path)
    for actors in (1, 2):
        work = WorkFolder(tmp_path / f"work-{actors}")
        ran = run(world.stage(), world.tasks(), work, actors=actors)
        assert ran.parts_made == world.SHARDS
        assert published(tmp_path, ran, work, f"out-{actors}") == expected


def test_a_second_run_makes_nothing(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    first = run(world.stage(), world.tasks(), work, actors=0)
    second = run(world.stage(), world.tasks(), work, actors=0)
    assert (first.parts_made, second.parts_made) == (world.SHARDS, 0)
    assert second.manifest == first.manifest


def test_new_shards_redo_none_of_the_old(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    calls = tmp_path / "calls"
    stage = world.stage(world.Captioner(calls_to=str(calls)))
    run(stage, world.tasks(4), work, actors=0)
    calls.unlink()
    ran = run(stage, world.tasks(6), work, actors=0)
    assert ran.parts_made == 2
    assert len(calls.read_text().splitlines()) == 2 * world.SHARD_SAMPLES


def test_an_exception_quarantines_its_sample_alone(tmp_path: Path) -> None:
    captioner = world.Captioner(raises_on=("k0005", "k0017"), drops=("k0006",))
    work = WorkFolder(tmp_path / "work")
    ran = run(world.stage(captioner), world.tasks(2), work, actors=0)
    first, second = ran.manifest.parts
    assert (first.samples_in, first.samples_out) == (16, 14)
    assert [(entry.key, entry.reason) for entry in first.dropped] == [("k0006", "unwanted")]
    [sick] = first.quarantined
    assert (sick.key, sick.stage, sick.attempt) == ("k0005", "caption", 0)
    assert sick.error == "ValueError: cannot read k0005"
    assert [entry.key for entry in second.quarantined] == ["k0017"]
    assert ran.manifest.tally() == {"captions": 29}


def test_a_poison_sample_is_found_and_quarantined_alone(tmp_path: Path, ray_of_two: None) -> None:
    calls = tmp_path / "calls"
    captioner = world.Captioner(dies_on=("k0007", "k0037"), calls_to=str(calls))
    work = WorkFolder(tmp_path / "work")
    ran = run(world.stage(captioner), world.tasks(3), work, actors=2)
    sick = [entry for part in ran.manifest.parts for entry in part.quarantined]
    assert [(entry.key, entry.error) for entry in sick] == [("k0007", POISON), ("k0037", POISON)]
    deaths = calls.read_text().splitlines().count("k0007")
    assert deaths <= math.log2(world.SHARD_SAMPLES) + 2
    kept = [r.key for part in ran.manifest.parts for r in _records(work, part)]
    assert kept == [f"k{n:04d}" for n in range(48) if n not in (7, 37)]


def _records(work: WorkFolder, part: object) -> list[world.Record]:
    return world.reread(work.part_folder(part.shard.name, part.files), part.shard.name)  # type: ignore[attr-defined]


def test_workers_killed_from_outside_lose_nothing(tmp_path: Path, ray_of_two: None) -> None:
    expected = undisturbed(tmp_path)
    work = WorkFolder(tmp_path / "work")
    stage = world.stage(world.Captioner(seconds=0.15))
    killer = subprocess.Popen([sys.executable, "-c", _KILLER, str(os.getpid()), "6"])
    ran = run(stage, world.tasks(), work, actors=2)
    assert killer.wait() == 0
    assert published(tmp_path, ran, work) == expected
    assert not list((tmp_path / "work").glob("attempts/*"))


_KILLER = """
import sys, time, psutil
parent, kills = psutil.Process(int(sys.argv[1])), int(sys.argv[2])
for _ in range(kills):
    time.sleep(0.4)
    mine = [p for p in parent.children(recursive=True) if p.name().startswith("ray::Shard")]
    if mine:
        mine[0].kill()
"""


def test_retry_asks_for_the_quarantined_only(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    run(world.stage(world.Captioner(raises_on=("k0005", "k0009"))), world.tasks(2), work, actors=0)
    calls = tmp_path / "calls"
    better = world.Captioner(raises_on=("k0009",), calls_to=str(calls))
    ran = retry(world.stage(better), world.tasks(2), work)
    assert set(calls.read_text().split()) == {"k0005", "k0009"}
    assert ran.parts_made == 1
    part = ran.manifest.parts[0]
    assert part.samples_out == 15
    assert [(entry.key, entry.attempt) for entry in part.quarantined] == [("k0009", 1)]
    assert [r.key for r in _records(work, part)] == [f"k{n:04d}" for n in range(16) if n != 9]


def test_retry_survives_a_sample_that_kills(tmp_path: Path, ray_of_two: None) -> None:
    """One that was mended is made; one that kills again stays out, and costs no shard behind it."""
    work = WorkFolder(tmp_path / "work")
    sick = world.Captioner(dies_on=("k0003", "k0007"), raises_on=("k0020",))
    run(world.stage(sick), world.tasks(2), work, actors=1)
    ran = retry(world.stage(world.Captioner(dies_on=("k0003",))), world.tasks(2), work)
    first, second = ran.manifest.parts
    assert [(entry.key, entry.error, entry.attempt) for entry in first.quarantined] == [
        ("k0003", POISON, 1)
    ]
    assert [r.key for r in _records(work, first)] == [f"k{n:04d}" for n in range(16) if n != 3]
    assert (second.samples_out, second.quarantined) == (16, ())


def test_a_full_disk_stops_the_run_and_harms_nothing(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    run(world.stage(), world.tasks(2), work, actors=0)
    before = world.bytes_of(tmp_path / "work")

    def full(samples: object) -> list[world.Record]:
        raise OSError(errno.ENOSPC, "No space left on device", "parts")

    stage = world.stage()
    object.__setattr__(stage, "load", lambda: full)
    with pytest.raises(OSError, match="No space left"):
        run(stage, world.tasks(3), work, actors=0)
    assert world.bytes_of(tmp_path / "work") == before
    assert run(world.stage(), world.tasks(3), work, actors=0).parts_made == 1


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "commit"])
def test_a_kill_at_any_step_of_the_commit_is_the_old_or_the_new(tmp_path: Path, step: str) -> None:
    """The process dies just before the step; the next run ends with the undisturbed bytes."""
    script = tmp_path / "dies.py"
    script.write_text(_DIES_AT + MAIN)
    arguments = [sys.executable, str(script), str(tmp_path), "0", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "DIE_AT": step}
    assert subprocess.run(arguments, env=environment).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert subprocess.run(arguments, env=environment | {"DIE_AT": ""}).returncode == 0
    assert world.bytes_of(tmp_path / "out") == undisturbed(tmp_path)


_DIES_AT = """
import os, signal
from pathlib import Path
import opendet.files, opendet.work, opendet.shard_run

def dying(function, step, after):
    count = 0
    def wrapped(*arguments, **named):
        nonlocal count
        count += 1
        if os.environ["DIE_AT"] == step and count == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapped

import flow_world
flow_world.write = dying(flow_world.write, "write", 3)
opendet.work.fsync_path = dying(opendet.work.fsync_path, "fsync", 5)
Path.rename = dying(Path.rename, "rename", 3)
opendet.work.write_durably = dying(opendet.work.write_durably, "commit", 3)
"""


def _build(
    folder: Path, actors: int, seconds: float, **environment: str
) -> "subprocess.Popen[bytes]":
    script = folder / "main.py"
    script.write_text(MAIN)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(actors), str(seconds)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        start_new_session=True,
    )


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_driver_killed_at_random_then_run_again_gives_equal_bytes(
    tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    for round_ in range(kills):
        folder = tmp_path / str(round_)
        folder.mkdir()
        process = _build(folder, actors=2, seconds=0.2)
        time.sleep(chance.uniform(2.5, 7.0))
        process.kill()
        process.wait()
        assert _build(folder, actors=2, seconds=0.0).wait() == 0
        assert world.bytes_of(folder / "out") == undisturbed(folder)


def test_hash_seed_time_zone_and_locale_change_no_byte(tmp_path: Path) -> None:
    results = []
    for number, zone in enumerate(["UTC", "Asia/Tokyo", "America/Lima"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = _build(folder, 0, 0.0, PYTHONHASHSEED=str(number), TZ=zone, LC_ALL="C.UTF-8")
        assert process.wait() == 0
        results.append(world.bytes_of(folder / "out"))
    assert results[0] == results[1] == results[2] == undisturbed(tmp_path)


def test_two_builds_of_one_folder_one_leaves_with_the_owners_pid(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = f"""
import sys, time
from pathlib import Path
from opendet.files import exclusive_lock
with exclusive_lock(Path({str(path)!r}), what="toy"):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(BusyError, match=f"process {process.pid}"), exclusive_lock(path, what="toy"):
        pass
    process.kill()
    process.wait()
    with exclusive_lock(path, what="toy"):
        assert path.read_text() == str(os.getpid())


def test_a_holder_that_has_yet_to_say_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        told = threading.Timer(0.1, path.write_text, args=(f"{os.getppid()}",))
        with pytest.raises(BusyError, match="toy is being built, by another process: wait"):
            exclusive_lock(path, what="toy").__enter__()
        told.start()
        with pytest.raises(BusyError, match=f"toy is being built by process {os.getppid()}: wait"):
            exclusive_lock(path, what="toy").__enter__()


def test_a_part_made_twice_is_one_part(tmp_path: Path) -> None:
    work, stage, [task] = WorkFolder(tmp_path), world.stage(), world.tasks(1)
    worker = stage.load()
    first = make_part(stage, task, run_shard(stage, worker, task), work)
    second = make_part(stage, task, run_shard(stage, worker, task), work)
    assert first == second
    assert len(list((tmp_path / "parts").iterdir())) == 1


def test_a_published_file_that_was_damaged_is_made_again(tmp_path: Path) -> None:
    """Published files are hard links into the work folder: damage to one is damage to both."""
    expected = undisturbed(tmp_path)
    work = WorkFolder(tmp_path / "work")
    run(world.stage(), world.tasks(), work, actors=0)
    first = run(world.stage(), world.tasks(), work, actors=0)
    assert published(tmp_path, first, work) == expected
    victim = tmp_path / "out" / "b-000002.parquet"
    content = bytearray(victim.read_bytes())
    content[40] ^= 1
    victim.write_bytes(content)
    again = run(world.stage(), world.tasks(), work, actors=0)
    assert again.parts_made == 1
    assert published(tmp_path, again, work) == expected


def test_local_ray_listens_on_loopback_only(ray_of_two: None) -> None:
    import psutil

    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    sockets = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert sockets
    assert {address.removeprefix("::ffff:") for address in sockets} <= {"127.0.0.1", "::1"}


def test_sigterm_ends_a_run_on_ray_as_ctrl_c_does(tmp_path: Path) -> None:
    """Ray installs a handler of its own; ours must be the one that answers."""
    script = tmp_path / "main.py"
    script.write_text(
        "from opendet.console import exit_code_of, interrupt_on_sigterm\n"
        f"interrupt_on_sigterm()\ndef work():\n    exec({MAIN!r}, globals())\n    return 0\n"
        "raise SystemExit(exit_code_of(work))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), "1", "0.5"], stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "calls").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said == "stopped; what is committed stays, run again to go on\n"
