"""The stage `train`: shards in, a model folder out. Killed and started again, it goes on."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opendet.data.batch import Batch
from opendet.data.dataset import ExampleSet
from opendet.data.loader import Loader
from opendet.files import exclusive_lock, sha256_of, write_json_durably
from opendet.model.detector import OpenDetector
from opendet.model.namer import T5Namer
from opendet.shard_set import ShardSet
from opendet.train import checkpoint
from opendet.train.ema import Ema
from opendet.train.export import Resize, export_model, read_card
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import LossReport, Objective
from opendet.train.optimizer import build_optimizer
from opendet.train.randomness import reproducible
from opendet.train.recipe import Identity, Recipe, require_same_identity
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextTower, names_of, vectors_of
from opendet.train.warmup import warm_namer

log = logging.getLogger(__name__)

Vectors = Mapping[str, Tensor]
"""Name -> unit vector (D_t,) on the run's device."""


@dataclass(frozen=True, slots=True)
class _Workplace:
    """Where a run works, on what, and what it is."""

    folder: Path
    device: torch.device
    identity: Identity

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model"


def train(
    recipe: Recipe,
    shards_folder: Path,
    work_folder: Path,
    *,
    clip: TextTower | None,
    template: str = "{name}",
) -> Path:
    """Train, or go on training, in `work_folder`; returns its model folder.

    The work folder gets `checkpoints/`, `series.csv`, `metrics.json` and `model/`. `clip` gives the
    vectors of the names, asked for as `template`; without one nothing is distilled and the namer
    is not warmed. A whole model of this recipe and these shards means that there is nothing to do.
    Raises ValueError, in one line, for what a person must mend, such as a work folder of another
    recipe, and BusyError if another process trains there.
    """
    identity = {
        **recipe.identity(),
        "shards": _manifest_hash(shards_folder),
        "clip": f"{clip.revision} {template}" if clip else "none",
    }
    place = _Workplace(work_folder, _device(recipe.train.device), identity)
    with (
        exclusive_lock(work_folder / "lock", what=f"the model in {work_folder}"),
        reproducible(place.device, threads=recipe.train.threads),
    ):
        if not _finished(place):
            shards = ShardSet.open(shards_folder, split=recipe.loader.split)
            _require_objects(shards, recipe.loader.split)
            names = names_of(shards)
            vectors = _vectors(names, clip, template, place)
            state = _state(recipe, place, shards, _namer(recipe, names, vectors), vectors)
            _train(recipe, place, state, vectors)
            _export(recipe, place, state)
    return place.model


def _state(
    recipe: Recipe, place: _Workplace, shards: ShardSet, namer: T5Namer, vectors: Vectors
) -> TrainingState:
    """Where training stands: at the last checkpoint, else at step 0 with a warmed namer."""
    namer = namer.to(place.device)
    last = checkpoint.load_latest(place.checkpoints)
    lesson = None
    if last:
        require_same_identity(last.state["identity"], place.identity, what=str(place.checkpoints))
    else:
        lesson = warm_namer(namer, vectors, recipe.train.warmup, seed=recipe.train.seed)
    torch.manual_seed(recipe.train.seed)
    detector = OpenDetector(recipe.detector, namer).to(place.device)
    state = TrainingState(
        detector,
        build_optimizer(detector, recipe.train),
        Ema(detector, recipe.train.ema_decay),
        Loader(ExampleSet(shards, recipe.loader), recipe.loader),
        place.identity,
        warmup=asdict(lesson) if lesson else {},
    )
    if last:
        state.restore(last)
        log.info("going on after step %d of %d", state.step, recipe.train.steps)
    else:
        checkpoint.save(place.checkpoints, state.checkpoint(), keep=recipe.train.keep)
    return state


def _train(recipe: Recipe, place: _Workplace, state: TrainingState, vectors: Vectors) -> None:
    objective = Objective(recipe.objective)

    def batch_loss(detector: OpenDetector, batch: Batch, generator: torch.Generator) -> LossReport:
        output = detector(batch.images, batch.sizes_hw)
        return objective(detector, output, batch.targets, vectors or None, generator)

    series = Series(place.folder / "series.csv", start=state.step, config=recipe.train)
    train_steps(
        state,
        batch_loss,
        recipe.train,
        device=place.device,
        series=series,
        checkpoints=place.checkpoints,
    )
    series.close()
    metrics = _metrics(state, series.rows[-1], images=state.step * recipe.loader.batch_size)
    write_json_durably(place.folder / "metrics.json", {"train": metrics})


def _export(recipe: Recipe, place: _Workplace, state: TrainingState) -> None:
    assert isinstance(state.detector, OpenDetector)
    resize = Resize(
        shortest=recipe.loader.evaluation_edge,
        longest=recipe.loader.longest_edge,
        multiple=recipe.loader.multiple,
    )
    export_model(
        place.model, state.detector, state.ema.tensors, resize=resize, training=place.identity
    )


def _require_objects(shards: ShardSet, split: str) -> None:
    records = (shards.record(index) for index in range(len(shards)))
    if not any(region.has_object for record in records for region in record.regions):
        raise ValueError(
            f"no image of the split {split} has an object to learn from: take a source with boxes "
            "(format coco or voc), or see what the stage filter refused"
        )


def _vectors(names: list[str], clip: TextTower | None, template: str, place: _Workplace) -> Vectors:
    kept_in = place.folder / "text_vectors.safetensors"
    vectors = vectors_of(names, clip, template=template, kept_in=kept_in)
    return {name: vector.to(place.device) for name, vector in vectors.items()}


def _namer(recipe: Recipe, names: list[str], vectors: Vectors) -> T5Namer:
    config = recipe.namer
    if config.t5 == "tiny":
        namer = T5Namer.tiny(names, config, seed=recipe.train.seed)
    else:
        torch.manual_seed(recipe.train.seed)  # of the projection, where there is one
        namer = T5Namer.from_pretrained(config.t5, config)
    widths = {len(vector) for vector in vectors.values()}
    if widths - {namer.prompt_width}:
        raise ValueError(
            f"namer.prompt_width is {namer.prompt_width}, but the CLIP's text vectors have "
            f"{widths.pop()}: set it to that"
        )
    return namer


def _metrics(state: TrainingState, last: dict[str, float], *, images: int) -> dict[str, Any]:
    return {
        "loss": last["loss"],
        "last": {name: last[name] for name in last if name not in ("loss", "step")},
        "steps": state.step,
        "images": images,
        "seconds": round(state.seconds, 1),
        "images_per_second": round(images / max(state.seconds, 1e-9), 2),
        "parameters": sum(parameter.numel() for parameter in state.detector.parameters()),
        "warmup": state.warmup,
    }


def _finished(place: _Workplace) -> bool:
    if not place.model.exists():
        return False
    try:
        card = read_card(place.model)
    except ValueError as error:
        log.warning("%s; exporting it again", error)
        shutil.rmtree(place.model)
        return False
    require_same_identity(card.training, place.identity, what=str(place.model))
    return True


def _manifest_hash(shards_folder: Path) -> str:
    path = shards_folder / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: build the stage shards first")
    return sha256_of(path)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
