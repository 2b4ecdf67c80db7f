"""Runs a stage over the plan's shards: on Ray Core actors, or in this process with the same bytes.

Actors schedule shards at least once; the commit protocol (`opendet.work`) makes it exactly once.
An actor loads its worker once and then takes shard after shard. A worker that dies is replaced, and
the samples of the shard it died on are halved until the one that kills its process stands alone;
that one is quarantined, the others go on. A kill from outside finds no guilty sample, and the shard
is simply run again.
"""

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from opendet.files import write_json_durably
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName
from opendet.progress import Advance, progress
from opendet.shard_run import make_part, merge_retry, run_shard
from opendet.stage import In, Out, Stage, Task, Worker
from opendet.work import WorkFolder

# Deaths of workers on one shard, without a guilty sample, before the machine is to blame.
MAX_UNEXPLAINED_DEATHS = 25
# An actor without a place for so long is worth a line in the log.
PLACE_SECONDS = 60.0
POISON = "the process died on this sample alone, twice"

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
    with progress(stage.name, len(tasks)) as advance:
        made = (
            _run_here(stage, missing, work)
            if actors == 0
            else _run_on_ray(stage, missing, work, min(actors, max(len(missing), 1)))
        )
        for commit in made:
            work.commit(commit)
            commits[commit.shard.name] = commit
            _report(advance, commits)
    parts = tuple(commit for commit in commits.values() if commit is not None)
    assert len(parts) == len(tasks), f"{stage.name}: {len(tasks)} shards planned, {len(parts)} made"
    return Ran(Manifest(stage.name, stage.fingerprint, parts), len(missing))


def retry(stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder) -> Ran:
    """Try the quarantined samples of a finished stage again, in this process.

    Where the stage can read its parts back, the worker sees those samples only; else their shards
    are run whole. Raises ValueError where a part is not built yet.
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


WHOLE = ShardName("whole", "", "")
WHOLE_METRICS = "metrics.json"


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
        files = _make_whole_on_ray(stage, make, work, cpus) if cpus else _make_whole(make, work)
        commit = PartCommit(WHOLE, 0, 0, (), (), {}, files, inputs)
        work.commit(commit)
    return Ran(Manifest(stage, fingerprint, (commit,)), made)


def _make_whole(
    make: Callable[[Path], Mapping[str, Any]], work: WorkFolder
) -> dict[str, FileStamp]:
    def fill(folder: Path) -> None:
        write_json_durably(folder / WHOLE_METRICS, dict(make(folder)))

    return work.write_part(WHOLE.name, fill)


def _retry_part(
    stage: Stage[In, Out],
    worker: Worker[In, Out],
    task: Task,
    commit: PartCommit,
    work: WorkFolder,
) -> PartCommit:
    attempt = 1 + max(entry.attempt for entry in commit.quarantined)
    if stage.reread is None:
        return make_part(stage, task, run_shard(stage, worker, task, attempt=attempt), work)
    keys = {entry.key for entry in commit.quarantined}
    again = run_shard(stage, worker, task, only=keys, attempt=attempt)
    before = stage.reread(work.part_folder(task.shard.name, commit.files), task.shard.name)
    return make_part(stage, task, merge_retry(stage, task, before, commit, again), work)


def _run_here(
    stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder
) -> Iterator[PartCommit]:
    worker = stage.load() if tasks else None
    for task in tasks:
        assert worker is not None
        yield make_part(stage, task, run_shard(stage, worker, task), work)


def _report(advance: Advance, commits: dict[str, PartCommit | None]) -> None:
    done = [commit for commit in commits.values() if commit is not None]
    quarantined = sum(len(commit.quarantined) for commit in done)
    advance(len(done), f"{quarantined} samples quarantined" if quarantined else "")


# ---------------------------------------------------------------------------------------------
# Ray


@contextmanager
def ray_session(cpus: int, address: str = "") -> Iterator[None]:
    """A private local Ray on loopback that ends with the block, or a cluster's own.

    Inside a Ray job `address` is "auto". Ray's logs and bars are silenced: the run's progress is
    ours. Within `one_ray` a session goes on to the next one instead of ending.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        # A private Ray lives as long as this process and needs no token file. With clusters off,
        # it takes 127.0.0.1 for its node's address, and each of its servers binds to that alone.
        os.environ["RAY_AUTH_MODE"] = "disabled"
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    if not ray.is_initialized():
        _start_ray(cpus, address)
    try:
        yield
    finally:
        if not _shared_by_stages:
            ray.shutdown()


@contextmanager
def one_ray() -> Iterator[None]:
    """Let all sessions of the block share one Ray, begun by the first that needs it."""
    global _shared_by_stages
    _shared_by_stages = True
    try:
        yield
    finally:
        _shared_by_stages = False
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


_shared_by_stages = False


def _start_ray(cpus: int, address: str) -> None:
    import ray

    silent: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        ray.init(address=address, **silent)
    else:
        cpus = max(cpus, os.cpu_count() or 1)  # a later stage of the session may book more
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **silent)
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts one in its place that dumps its stack


class ShardActor(Generic[In, Out]):
    """Lives in a process of its own: one worker, shard after shard."""

    def __init__(self, stage: Stage[In, Out], work: WorkFolder) -> None:
        self._stage = stage
        self._work = work
        self._worker: Worker[In, Out] | None = None

    def ready(self) -> None:
        """Answers once the actor has a place and a process."""

    def make(self, task: Task, poison: dict[str, str]) -> PartCommit:
        """Run the shard and write its part; the driver commits it."""
        outcome = run_shard(self._stage, self._loaded(), task, poison=poison)
        return make_part(self._stage, task, outcome, self._work)

    def probe(self, task: Task, keys: list[str]) -> None:
        """Run some samples for nothing but to see whether this process survives them."""
        run_shard(self._stage, self._loaded(), task, only=keys)

    def _loaded(self) -> Worker[In, Out]:
        if self._worker is None:
            self._worker = self._stage.load()
        return self._worker


@dataclass
class _Job:
    """A shard that is not committed yet, and the hunt for the sample that kills its process."""

    task: Task
    poison: dict[str, str] = field(default_factory=dict)
    suspects: list[str] = field(default_factory=list)
    """Keys that hold the guilty one, if there is a guilty one; empty while nobody is suspected."""
    accused: str = ""
    """The one suspect that has already killed a process alone."""
    deaths: int = 0

    def probed(self) -> list[str]:
        """The keys to try next: the first half of the suspects."""
        return self.suspects[: (len(self.suspects) + 1) // 2]

    def survived(self) -> None:
        """The probed keys are innocent: the guilty one is among the others, or nowhere."""
        self.suspects = self.suspects[len(self.probed()) :]
        self.accused = ""

    def died(self, keys: list[str]) -> None:
        """A process died: on the whole shard, or on the probed keys."""
        self.deaths += 1
        if not self.suspects:
            self.suspects = [key for key in keys if key not in self.poison]
            return
        self.suspects = self.probed()
        if len(self.suspects) > 1:
            return
        if self.accused == self.suspects[0]:
            self.poison[self.accused] = POISON
            self.suspects, self.accused, self.deaths = [], "", 0
        else:
            self.accused = self.suspects[0]


class _Crew(Generic[In, Out]):
    """A run's actors: on their way to a place on the cluster, idle, or at work.

    A shard is given only to an actor that has come: one that was promised to an actor for which
    there is no room would wait for ever, since those that came do not leave.
    """

    def __init__(self, stage: Stage[In, Out], work: WorkFolder, size: int) -> None:
        import ray

        self.idle: list[Any] = []
        self._stage = stage
        self._remote: Any = ray.remote(num_cpus=1, num_gpus=stage.gpus, max_restarts=0)(ShardActor)
        self._arguments = (ray.put(stage), work)
        self._coming: dict[Any, Any] = {}  # what each will answer, and the actor
        self._lost = 0
        self._warn_at: float | None = time.monotonic() + PLACE_SECONDS
        for _ in range(size):
            self.hire()

    def hire(self) -> None:
        actor = self._remote.remote(*self._arguments)
        self._coming[actor.ready.remote()] = actor

    def wait(self, running: Iterable[Any]) -> Any | None:
        """The next of the running calls to end; None where something else happened first."""
        import ray

        patience = None
        if self._coming and self._warn_at:
            patience = max(self._warn_at - time.monotonic(), 0.0)
        done, _ = ray.wait([*self._coming, *running], num_returns=1, timeout=patience)
        if not done:
            self._warn()
        elif done[0] in self._coming:
            self._arrive(done[0])
        else:
            return done[0]
        return None

    def _arrive(self, answer: Any) -> None:
        import ray
        from ray.exceptions import RayActorError

        actor = self._coming.pop(answer)
        try:
            ray.get(answer)
        except RayActorError as error:
            self._lost += 1
            if error.actor_init_failed or self._lost > MAX_UNEXPLAINED_DEATHS:
                raise
            self.hire()
        else:
            self.idle.append(actor)

    def _warn(self) -> None:
        self._warn_at = None
        log.warning(
            "%s: %d actors wait for a place: each asks for %s; free on the cluster: %s",
            self._stage.name,
            len(self._coming),
            _in_words({"CPU": 1.0, "GPU": self._stage.gpus}),
            _free_in_words(),
        )


def _free_in_words() -> str:
    import ray

    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return _in_words({kind: free.get(kind, 0.0) for kind in ("CPU", "GPU")})


def _in_words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {kind}" for kind, count in resources.items())


def _run_on_ray(
    stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder, actors: int
) -> Iterator[PartCommit]:
    """Yield the parts as they are made, by `actors` actors, whatever dies meanwhile."""
    if not tasks:
        return
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    crew = _Crew(stage, work, actors)
    waiting = deque(_Job(task) for task in tasks)
    running: dict[Any, tuple[_Job, Any]] = {}
    while waiting or running:
        while waiting and crew.idle:
            job, actor = waiting.popleft(), crew.idle.pop()
            running[_start(actor, job)] = (job, actor)
        done = crew.wait(running)
        if done is None:
            continue
        job, actor = running.pop(done)
        try:
            commit: PartCommit | None = ray.get(done)
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            crew.hire()
            job.died([sample.key for sample in stage.read(job.task)])
            if job.deaths > MAX_UNEXPLAINED_DEATHS:
                raise RuntimeError(_blame_machine(stage.name, job)) from error
            waiting.appendleft(job)
            continue
        crew.idle.append(actor)
        if commit is None:
            job.survived()
            waiting.appendleft(job)
        else:
            yield commit


def _make_whole_on_ray(
    stage: str, make: Callable[[Path], Mapping[str, Any]], work: WorkFolder, cpus: int
) -> dict[str, FileStamp]:
    import ray
    from ray.exceptions import RayTaskError

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((node["Resources"].get("CPU", 0.0) for node in nodes), default=0.0)
    if cpus > largest:
        log.warning("%s waits for a node of %d CPUs; the largest has %g", stage, cpus, largest)
    try:
        files: dict[str, FileStamp] = ray.get(
            ray.remote(num_cpus=cpus)(_make_whole).remote(make, work)
        )
    except RayTaskError as error:
        raise error.cause from None
    return files


def _start(actor: Any, job: _Job) -> Any:
    if job.suspects:
        return actor.probe.remote(job.task, job.probed())
    return actor.make.remote(job.task, job.poison)


def _blame_machine(stage: str, job: _Job) -> str:
    return (
        f"{stage}: workers died {job.deaths} times on {job.task.shard.name} and no sample is "
        "to blame: look at the machine's memory, or lower batch_size"
    )
