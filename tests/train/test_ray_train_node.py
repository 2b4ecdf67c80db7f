"""Ray Train on two nodes, one of which loses its power: the training ends as an undisturbed one."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from node_world import Cluster, Process, a_cluster, cut_power, joined, wait_for
from trainee import RECIPE, changed, publish_even_shards

from opendet.faults.toy_training import HashTower
from opendet.train.distributed import Ranks
from opendet.train.recipe import Recipe
from opendet.train.run import train

pytest.importorskip("ray.train", reason='needs pip install ".[ray-train]"', exc_type=ImportError)

from opendet.train.ray_train import train_on_ray

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class StoppedJob:
    """A job whose rank on the node that is to die stops after some checkpoints, once."""

    recipe: Recipe
    shards: Path
    work_folder: Path
    stops: bool = False

    @property
    def stopped(self) -> Path:
        return self.work_folder / "stopped"

    def run(self, ranks: Ranks) -> Path:
        if self.stops and os.environ.get("NODE") == "doomed":
            threading.Thread(target=self._stop, daemon=True).start()
        return train(self.recipe, self.shards, self.work_folder, clip=HashTower(), ranks=ranks)

    def _stop(self) -> None:
        while not (self.work_folder / "checkpoints" / "step-00000004.json").exists():
            time.sleep(0.005)
        self.stopped.touch()
        os.kill(os.getpid(), signal.SIGSTOP)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head of one CPU. Its workers import this module, and what it imports, by name."""
    folders = (HERE, HERE.parent, ROOT)
    with a_cluster(cpus=1, told={"PYTHONPATH": os.pathsep.join(map(str, folders))}) as begun:
        yield begun


def test_a_node_that_dies_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    publish_even_shards(tmp_path / "shards")
    loader = RECIPE.loader.model_copy(update={"batch_size": 2})
    recipe = replace(changed(workers=2, steps=24), loader=loader)
    with ExitStack() as nodes:
        doomed = nodes.enter_context(joined(cluster, "doomed"))
        job = StoppedJob(recipe, tmp_path / "shards", tmp_path / "undisturbed")
        wanted = train_on_ray(job, cluster.head).parent
        job = StoppedJob(recipe, tmp_path / "shards", tmp_path / "broken", stops=True)
        replacing = threading.Thread(target=_replace, args=(job, cluster, doomed, nodes))
        replacing.start()
        made = train_on_ray(job, cluster.head).parent
        replacing.join()
    assert doomed.returncode == -signal.SIGKILL
    for name in ("model/model.safetensors", "series.csv"):
        assert (made / name).read_bytes() == (wanted / name).read_bytes()


def _replace(job: StoppedJob, cluster: Cluster, doomed: Process, nodes: ExitStack) -> None:
    """Cut the power of the node whose rank has stopped, and let another one join."""
    wait_for(job.stopped.exists, "stop of a rank", doomed)
    cut_power(doomed)
    nodes.enter_context(joined(cluster, "spare"))
