"""Ray Train with two workers on loopback: as one run, though a worker dies."""

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from trainee import RECIPE, HashTower, changed, publish_even_shards

from opendet.data.config import LoaderConfig
from opendet.ray_session import one_ray, ray_session
from opendet.train.config import WarmupConfig
from opendet.train.distributed import Ranks
from opendet.train.recipe import Recipe
from opendet.train.run import train

pytest.importorskip("ray.train", reason='needs pip install ".[ray-train]"', exc_type=ImportError)

from opendet.train.ray_train import train_on_ray

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LOADER = RECIPE.loader.model_copy(update={"batch_size": 2})


@dataclass(frozen=True)
class SmallJob:
    """A job whose rank 1 can kill itself once, after some checkpoints."""

    recipe: Recipe
    shards: Path
    work_folder: Path
    dies: bool = False
    nan: bool = False

    def run(self, ranks: Ranks) -> Path:
        died = self.work_folder / "died"
        if self.dies and ranks.rank == 1 and not died.exists():
            _die_later(self.work_folder / "checkpoints" / "step-00000004.json", died)
        scale = float("nan") if self.nan else 1.0
        return train(self.recipe, self.shards, self.work_folder, clip=Scaled(scale), ranks=ranks)


class Scaled(HashTower):
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def encode_texts(self, texts):  # type: ignore[no-untyped-def]
        return super().encode_texts(texts) * self.scale


def _die_later(seen: Path, died: Path) -> None:
    """Kill this process as soon as the checkpoint is there."""
    import threading
    import time

    def watch() -> None:
        while not seen.exists():
            time.sleep(0.005)
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@pytest.fixture(scope="module")
def _one_ray() -> Iterator[None]:
    """Its workers import this module, and what it imports, by name."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (Path(__file__).parent, ROOT):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        with one_ray(), ray_session(2):
            yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shards"
    publish_even_shards(folder)
    return folder


def _recipe(loader: LoaderConfig = LOADER, **values: object) -> Recipe:
    return replace(changed(workers=2, **values), loader=loader)


@pytest.mark.usefixtures("_one_ray")
def test_a_worker_that_dies_changes_nothing(shards: Path, tmp_path: Path) -> None:
    undisturbed = train_on_ray(SmallJob(_recipe(steps=24), shards, tmp_path / "undisturbed"))
    model = train_on_ray(SmallJob(_recipe(steps=24), shards, tmp_path / "broken", dies=True))
    assert (tmp_path / "broken" / "died").exists()
    for name in ("model/model.safetensors", "series.csv"):
        wanted = (undisturbed.parent / name).read_bytes()
        assert (model.parent / name).read_bytes() == wanted


@pytest.mark.usefixtures("_one_ray")
def test_what_a_person_must_mend_comes_back_in_its_line(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = _recipe(warmup=WarmupConfig(steps=0))
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ValueError, match=r"^step 0: \w+ is nan on the images a-") as error,
    ):
        train_on_ray(SmallJob(recipe, shards, tmp_path, nan=True))
    assert "\n" not in str(error.value)
