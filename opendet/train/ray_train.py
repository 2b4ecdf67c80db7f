"""Ray Train, all of it: workers that train together, begun again from the last checkpoint.

What lasts is in the run's own folder, as it is without Ray: a worker group that comes after a death
finds the checkpoints there, so Ray Train has none to keep. A line for a person (a ValueError) is
carried to the driver by a file, for restarting mends nothing that a person must.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from opendet.files import BusyError, write_durably
from opendet.progress import Advance, progress
from opendet.ray_session import ray_session
from opendet.train.config import TrainConfig
from opendet.train.distributed import PATIENCE, Ranks, backend_of
from opendet.train.recipe import Recipe

REFUSAL = "refused.txt"
LOCK_SECONDS = 60.0
"""So long may the rank 0 of a group that died still hold the run's lock."""
LOOK_EVERY_SECONDS = 5.0

log = logging.getLogger(__name__)


class RankJob(Protocol):
    """What a worker is given: `opendet.train.launch.Job`."""

    @property
    def recipe(self) -> Recipe: ...

    @property
    def work_folder(self) -> Path: ...

    def run(self, ranks: Ranks) -> Path: ...


def train_on_ray(job: RankJob, address: str = "") -> Path:
    """Train on `train.workers` workers of Ray Train; the model's folder.

    `address` is that of a cluster, whose nodes see the job's folders; empty for a private Ray on
    loopback. Raises ValueError for what a person must mend, ChildProcessError where workers died
    more often than `train.restarts` allows.
    """
    config = job.recipe.train
    try:
        import ray.train
    except ImportError as error:
        raise ValueError(
            'train.workers needs Ray Train: pip install "opendet[ray-train]", or use torchrun'
        ) from error
    refusal = job.work_folder / REFUSAL
    refusal.unlink(missing_ok=True)
    cpus = config.workers * config.threads
    with ray_session(cpus, address), _watched(job):
        _require_gpus(config, alone=not address)
        for tries_left in reversed(range(config.restarts + 1)):
            try:
                _trainer(job).fit()
                break
            except ray.train.TrainingFailedError as error:
                # A worker that dies while its group is formed counts as the controller's failure,
                # which Ray Train does not try again.
                again = isinstance(error, ray.train.ControllerError) and tries_left
                if not refusal.exists() and not again:
                    raise ChildProcessError(
                        f"the workers died more than {config.restarts} times; run again to go on "
                        f"from the last checkpoint: {' '.join(str(error).split())[:300]}"
                    ) from error
                log.warning("a worker died; beginning again from the last checkpoint")
            if refusal.exists():
                break
    if refusal.exists():
        raise ValueError(refusal.read_text("utf-8"))
    return job.work_folder / "model"


def _trainer(job: RankJob) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    config = job.recipe.train
    on_gpu = config.gpus_per_worker > 0
    return TorchTrainer(
        _work,
        train_loop_config={"job": job},
        torch_config=TorchConfig(
            backend=backend_of(torch.device("cuda" if on_gpu else "cpu")),
            timeout_s=int(PATIENCE.total_seconds()),
        ),
        scaling_config=ScalingConfig(
            num_workers=config.workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": config.threads}
            | ({"GPU": config.gpus_per_worker} if on_gpu else {}),
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(job.work_folder.absolute() / "ray"),
            failure_config=FailureConfig(max_failures=config.restarts),
        ),
    )


def _require_gpus(config: TrainConfig, *, alone: bool) -> None:
    """This machine gets no more GPUs than it has; a cluster may, and Ray Train waits for them."""
    import ray

    wanted = config.workers * config.gpus_per_worker
    there = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
    if wanted <= there:
        return
    line = f"train.workers x gpus_per_worker asks for {wanted:g} GPUs, Ray has {there:g}"
    if alone:
        raise ValueError(f"{line}: lower one of them, or name a cluster by --address")
    log.warning("%s: waiting for nodes that bring them", line)


def _work(told: dict[str, Any]) -> None:
    """What each worker does: train as its rank; Ray has formed the process group."""
    from ray.train import get_context
    from ray.train.torch import get_device

    job: RankJob = told["job"]
    refusal = job.work_folder / REFUSAL
    if refusal.exists():
        return
    context, device = get_context(), get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = Ranks(device, context.get_world_rank(), context.get_world_size())
    try:
        _run_when_free(job, ranks)
    except ValueError as error:
        write_durably(refusal, str(error).encode())
        raise


def _run_when_free(job: RankJob, ranks: Ranks) -> None:
    """Rank 0 asks for the lock before it talks to the others, so it may ask again."""
    patient_until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            job.run(ranks)
            return
        except BusyError:
            if time.monotonic() > patient_until:
                raise
            time.sleep(0.5)


@contextmanager
def _watched(job: RankJob) -> Iterator[None]:
    """Show how far the workers are, as their series tells."""
    ended = threading.Event()

    def watch(advance: Advance) -> None:
        while not ended.wait(LOOK_EVERY_SECONDS):
            rows = _rows(job.work_folder / "series.csv")
            if len(rows) > 1:
                step, loss = rows[-1].split(",")[:2]
                advance(int(step), f"loss {loss}")

    with progress("train", job.recipe.train.steps) as advance:
        watcher = threading.Thread(target=watch, args=(advance,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _rows(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.is_file() else []
