"""Runs a stage over the plan's shards: on Ray Core actors, or in this process with the same bytes.

What is committed is never made again. The driver alone commits, as the parts come in.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from opendet.actors import make_whole_on_ray, run_on_ray
from opendet.manifest import Manifest, PartCommit
from opendet.poison import POISON
from opendet.progress import progress
from opendet.shard_run import WHOLE, make_part, make_whole, merge_retry, run_shard
from opendet.stage import In, Out, Stage, Task, Worker
from opendet.work import WorkFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did: the manifest, and how many of its parts it had to make."""

    manifest: Manifest
    parts_made: int


def run(
    stage: Stage[In, Out],
    tasks: Sequence[Task],
    work: WorkFolder,
    *,
    actors: int,
) -> Ran:
    """Make every part of the stage that is not committed yet.

    `actors` is the number of Ray actors; 0 runs in this process. Committed parts whose inputs are
    the same are kept as they are. Raises what the machine raised (a full disk) or what loading the
    worker raised; what is committed by then stays, and the next run goes on from it.
    """
    work.sweep()
    commits = {task.shard.name: work.committed(task) for task in tasks}
    missing = [task for task in tasks if commits[task.shard.name] is None]
    log.info("%s: %d of %d shards to do", stage.name, len(missing), len(tasks))
    done = len(tasks) - len(missing)
    quarantined = sum(len(commit.quarantined) for commit in commits.values() if commit)
    with progress(stage.name, len(tasks)) as advance:
        made = (
            _run_here(stage, missing, work)
            if actors == 0
            else run_on_ray(stage, missing, work, min(actors, max(len(missing), 1)))
        )
        for commit in made:
            work.commit(commit)
            commits[commit.shard.name] = commit
            done, quarantined = done + 1, quarantined + len(commit.quarantined)
            advance(done, f"{quarantined} samples quarantined" if quarantined else "")
    work.sweep()  # a worker that was killed while it wrote has left its attempt
    parts = tuple(commit for commit in commits.values() if commit is not None)
    assert len(parts) == len(tasks), f"{stage.name}: {len(tasks)} shards planned, {len(parts)} made"
    return Ran(Manifest(stage.name, stage.fingerprint, parts), len(missing))


def retry(stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder) -> Ran:
    """Try the quarantined samples of a finished stage again, in this process.

    Where the stage can read its parts back, the worker sees those samples only; else their shards
    are run whole. One that killed its process has to survive in another one first. Raises
    ValueError where a part is not built yet.
    """
    parts: list[PartCommit] = []
    made = 0
    worker: Worker[In, Out] | None = None
    for task in tasks:
        commit = work.committed(task)
        if commit is None:
            raise ValueError(f"{stage.name}: {task.shard.name} is not built yet: build it first")
        if commit.quarantined:
            worker = worker or stage.load()
            commit = _retry_part(stage, worker, task, commit, work)
            work.commit(commit)
            made += 1
        parts.append(commit)
    return Ran(Manifest(stage.name, stage.fingerprint, tuple(parts)), made)


def run_whole(
    stage: str,
    fingerprint: str,
    make: Callable[[Path], Mapping[str, Any]],
    inputs: dict[str, str],
    work: WorkFolder,
    *,
    cpus: int = 0,
) -> Ran:
    """Run a stage that makes one thing of all shards (a model, a pool), by the same protocol.

    `make` fills a folder of its own and returns metrics, which are kept beside what it made. With
    the same inputs nothing is made again. `cpus` is what it books on Ray; 0 runs in this process.
    """
    work.sweep()
    task = Task(WHOLE, inputs)
    commit = work.committed(task)
    made = 0 if commit else 1
    if commit is None:
        files = make_whole_on_ray(stage, make, work, cpus) if cpus else make_whole(make, work)
        commit = PartCommit(WHOLE, 0, 0, (), (), {}, files, inputs)
        work.commit(commit)
    return Ran(Manifest(stage, fingerprint, (commit,)), made)


def _retry_part(
    stage: Stage[In, Out],
    worker: Worker[In, Out],
    task: Task,
    commit: PartCommit,
    work: WorkFolder,
) -> PartCommit:
    attempt = 1 + max(entry.attempt for entry in commit.quarantined)
    suspects = (entry.key for entry in commit.quarantined if entry.error == POISON)
    poison = {key: POISON for key in suspects if _kills(stage, task, key)}
    if stage.reread is None:
        outcome = run_shard(stage, worker, task, poison=poison, attempt=attempt)
        return make_part(stage, task, outcome, work)
    keys = {entry.key for entry in commit.quarantined}
    again = run_shard(stage, worker, task, poison=poison, only=keys, attempt=attempt)
    before = stage.reread(work.part_folder(task.shard.name, commit.files), task.shard.name)
    return make_part(stage, task, merge_retry(stage, task, before, commit, again), work)


def _kills(stage: Stage[In, Out], task: Task, key: str) -> bool:
    """Whether a process of its own dies of a sample."""
    # Spawned, not forked: this process has threads, whose locks a fork would copy as they are.
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        try:
            apart.submit(_survive, stage, task, key).result()
        except BrokenProcessPool:
            return True
    return False


def _survive(stage: Stage[In, Out], task: Task, key: str) -> None:
    run_shard(stage, stage.load(), task, only={key})


def _run_here(
    stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder
) -> Iterator[PartCommit]:
    worker = stage.load() if tasks else None
    for task in tasks:
        assert worker is not None
        yield make_part(stage, task, run_shard(stage, worker, task), work)
