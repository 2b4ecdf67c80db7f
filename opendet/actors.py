"""Shards on Ray: actors that take shard after shard, and what happens when they die.

Actors schedule shards at least once; the commit protocol (`opendet.work`) makes it exactly once. An
actor loads its worker once. One that dies is replaced, and the samples of the shard it died on are
halved (`opendet.poison`) until the one that kills its process stands alone; it is quarantined, the
others go on. A kill from outside finds no guilty sample, and the shard is simply run again; so is
one that was lost with its node, which asks for no hunt.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from opendet.manifest import FileStamp, PartCommit
from opendet.poison import MAX_UNEXPLAINED_DEATHS, Job
from opendet.ray_session import answer, deaths, rest, take_rested
from opendet.shard_run import make_part, make_whole, run_shard
from opendet.stage import In, Out, Stage, Task, Worker
from opendet.work import WorkFolder

# Seconds that actors may wait for a place before a line says so.
PLACE_SECONDS = 60.0

log = logging.getLogger(__name__)


class ShardActor(Generic[In, Out]):
    """Lives in a process of its own: one worker, shard after shard."""

    def __init__(self, stage: Stage[In, Out], work: WorkFolder) -> None:
        self._stage = stage
        self._work = work
        self._worker: Worker[In, Out] | None = None

    def ready(self) -> str:
        """Its node; answers once the actor has a place and a process."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def turn_to(self, stage: Stage[In, Out], work: WorkFolder) -> str:
        """Leave its worker for that of another stage; its node."""
        self._stage, self._work, self._worker = stage, work, None
        return self.ready()

    def make(self, task: Task, poison: dict[str, str]) -> PartCommit:
        """Run the shard and write its part; the driver commits it."""
        outcome = run_shard(self._stage, self._loaded(), task, poison=poison)
        return make_part(self._stage, task, outcome, self._work)

    def probe(self, task: Task, keys: list[str]) -> None:
        """Run some samples for nothing but to see whether this process survives them."""
        run_shard(self._stage, self._loaded(), task, only=keys)

    def _loaded(self) -> Worker[In, Out]:
        if self._worker is None:
            _cap_gpu_memory(self._stage.gpus)
            self._worker = self._stage.load()
        return self._worker


def _cap_gpu_memory(share: float) -> None:
    """Hold this process to its share of a GPU: Ray's share is book-keeping and stops nobody.

    Ray shows the process the GPUs that it booked and no other: one for a share up to 1.
    """
    if 0 < share < 1:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(share, device=0)


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
        self._node_of: dict[Any, str] = {}
        self._lost_in_a_row = 0
        self.strays = 0
        """Deaths of what no sample did, as far as that is known."""
        self._warn_at: float | None = None
        rested = take_rested(size if stage.gpus == 0 else 0)
        # What each will answer, and the actor.
        self._coming = {actor.turn_to.remote(*self._arguments): actor for actor in rested}
        for _ in range(size - len(self._coming)):
            self.hire()

    def hire(self) -> None:
        actor = self._remote.remote(*self._arguments)
        self._coming[actor.ready.remote()] = actor
        self._warn_at = time.monotonic() + PLACE_SECONDS

    def rest(self) -> None:
        """Let the idle ones wait for the next stage. One with a share of a GPU goes: its memory of
        it is free again only with its process."""
        if self._stage.gpus == 0:
            rest(self.idle)

    def replace(self, actor: Any, error: Exception) -> bool:
        """Hire another one; whether a dead actor's node is gone too, as far as that is known yet.

        A node that loses its power is first an actor that cannot be reached, and is counted as
        dead some seconds later. Results too large to travel at once are lost with it.
        """
        import ray
        from ray.exceptions import ActorUnavailableError, ObjectLostError

        node = self._node_of.pop(actor)  # who holds a handle keeps an actor alive
        self.hire()
        if isinstance(error, ActorUnavailableError | ObjectLostError):
            return True
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return node not in {one["NodeID"] for one in nodes if one["Alive"]}

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

        actor = self._coming.pop(answer)
        try:
            self._node_of[actor] = ray.get(answer)
        except deaths() as error:
            self.strays += 1
            self._lost_in_a_row += 1
            if getattr(error, "actor_init_failed", False):
                raise
            if self._lost_in_a_row > MAX_UNEXPLAINED_DEATHS:
                raise ChildProcessError(
                    f"{self._stage.name}: {self._lost_in_a_row} workers in a row died before they "
                    "took a shard: look at the machine's memory"
                ) from error
            self.hire()
        else:
            self._lost_in_a_row = 0
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


def run_on_ray(
    stage: Stage[In, Out], tasks: Sequence[Task], work: WorkFolder, actors: int
) -> Iterator[PartCommit]:
    """Yield the parts as they are made, by `actors` actors, whatever dies meanwhile."""
    if not tasks:
        return
    import ray
    from ray.exceptions import RayTaskError

    crew = _Crew(stage, work, actors)
    waiting = deque(Job(task) for task in tasks)
    running: dict[Any, tuple[Job, Any]] = {}
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
        except deaths() as error:
            with_its_node = crew.replace(actor, error)
            if with_its_node and job.deaths == 0:
                log.warning("%s: lost the node of a worker; the build goes on", stage.name)
                job.deaths = 1  # so that a sample that takes its node along is still hunted
            else:
                keys = [sample.key for sample in stage.read(job.task)]
                job.died(keys, among_others=crew.strays > 0)
            if job.is_hopeless(crew.strays):
                raise ChildProcessError(job.blame_machine(stage.name)) from error
            waiting.appendleft(job)
            continue
        crew.idle.append(actor)
        if commit is None:
            crew.strays += job.survived()
            waiting.appendleft(job)
        else:
            yield commit
    crew.rest()


def _start(actor: Any, job: Job) -> Any:
    if job.suspects:
        return actor.probe.remote(job.task, job.probed())
    return actor.make.remote(job.task, job.poison)


def make_whole_on_ray(
    stage: str, make: Callable[[Path], Mapping[str, Any]], work: WorkFolder, cpus: int
) -> dict[str, FileStamp]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((node["Resources"].get("CPU", 0.0) for node in nodes), default=0.0)
    if cpus > largest:
        log.warning("%s waits for a node of %d CPUs; the largest has %g", stage, cpus, largest)
    made = ray.remote(num_cpus=cpus)(make_whole).remote(make, work)
    files: dict[str, FileStamp] = answer(made, f"{stage}: its process died")
    return files
