"""The stage `train`: shards in, a model folder out. Killed and started again, it goes on."""

import logging
import math
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opendet.data.dataset import ExampleSet
from opendet.data.kinds import teaches
from opendet.data.loader import Loader
from opendet.data.plan import mixture_kind
from opendet.files import exclusive_lock, sha256_of, write_json_durably
from opendet.model.detector import OpenDetector
from opendet.shard_set import ShardSet
from opendet.train import checkpoint
from opendet.train.checkpoint import Checkpoint
from opendet.train.distributed import Ranks, device_of
from opendet.train.export import Resize, export_model, read_card
from opendet.train.finetune import adapt, merge_adapters
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.recipe import Identity, Recipe, require_same_identity
from opendet.train.start import (
    begin_detector,
    begin_namer,
    content_of,
    import_weights,
    is_own,
    warn_of_cut_names,
)
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextTower, TextVectors, names_of, vectors_of
from opendet.train.training_step import TrainingStep
from opendet.train.warmup import warm_namer
from opendet.train.weights import load_tensors, own_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Workplace:
    """Where a run works, with whom, and what it is."""

    folder: Path
    ranks: Ranks
    identity: Identity

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def lock(self) -> AbstractContextManager[None]:
        """Rank 0 holds the folder for all."""
        if not self.ranks.leads:
            return nullcontext()
        return exclusive_lock(self.folder / "lock", what=f"the model in {self.folder}")


def train(
    recipe: Recipe,
    shards_folder: Path,
    work_folder: Path,
    *,
    clip: TextTower | None,
    template: str = "{name}",
    ranks: Ranks | None = None,
    start_content: str = "",
) -> Path:
    """Train, or go on training, in `work_folder`; returns its model folder.

    The work folder gets `checkpoints/`, `series.csv`, `metrics.json` and `model/`, and
    `start_from.json` where weights of another project were taken over. `clip` gives the
    vectors of the names, asked for as `template`; without one nothing is distilled and the namer
    is not warmed. A whole model of this recipe and these shards means that there is nothing to do.
    With `ranks` all of them call this, on the same folders. `start_content` is that of
    `train.start_from` where the caller has read it already. Raises ValueError, in one line, for
    what a person must mend, such as a work folder of another recipe, and BusyError if another
    process trains there.
    """
    ranks = ranks or Ranks(device_of(recipe.train.device))
    _require_agreement(recipe)
    identity = {
        **recipe.identity(),
        "shards": _manifest_hash(shards_folder),
        "clip": f"{clip.revision} {template}" if clip else "none",
        "start_from": start_content or content_of(recipe.train.start_from),
        "ranks": ranks.world,
    }
    place = _Workplace(work_folder, ranks, identity)
    with place.lock(), reproducible(ranks.device, threads=recipe.train.threads):
        if not ranks.led(ranks.leads and _finished(place)):
            shards = ShardSet.open(shards_folder, split=recipe.loader.split)
            _require_lessons(shards, recipe)
            names = names_of(shards, absent=recipe.objective.absent_names)
            with ranks.leader_first():
                last = _last_checkpoint(place)
                vectors = _vectors(names, clip, template, place)
                state = _state(recipe, place, shards, names, vectors, last)
            _train(recipe, place, state, vectors)
            if ranks.leads:
                _export(recipe, place, state)
            ranks.wait()
    return place.model


def _require_agreement(recipe: Recipe) -> None:
    """Raises ValueError for switches that shut each other out."""
    train, namer = recipe.train, recipe.namer
    unfreezes = namer.unfreeze_head_at is not None
    if train.finetune == "lora" and unfreezes:
        raise ValueError("train.finetune: lora freezes the head: leave namer.unfreeze_head_at out")
    if train.finetune == "lora" and not train.start_from:
        raise ValueError("train.finetune: lora keeps the weights as they are: set train.start_from")
    if namer.head == "full" and unfreezes:
        raise ValueError("namer.unfreeze_head_at: a full head is never frozen: leave it out")
    if _unfreeze_step(recipe) == train.steps:
        raise ValueError(
            f"namer.unfreeze_head_at: {namer.unfreeze_head_at} of train.steps, {train.steps}, is "
            f"their end: set at most {train.steps - 1}/{train.steps}, or leave it out"
        )


def _unfreeze_step(recipe: Recipe) -> int | None:
    """The first step that trains the whole head, 0 for the first of all; None for never."""
    share = recipe.namer.unfreeze_head_at
    return None if share is None else math.ceil(share * recipe.train.steps)


def _last_checkpoint(place: _Workplace) -> Checkpoint | None:
    """Raises ValueError if it is of another run, before anything of that run is replaced."""
    last = checkpoint.load_latest(place.checkpoints)
    if last:
        require_same_identity(last.state["identity"], place.identity, what=str(place.checkpoints))
    return last


def _state(
    recipe: Recipe,
    place: _Workplace,
    shards: ShardSet,
    names: list[str],
    vectors: TextVectors | None,
    last: Checkpoint | None,
) -> TrainingState:
    """Where training stands: at the last checkpoint, else at step 0 with a warmed namer."""
    config, ranks = recipe.train, place.ranks
    namer = begin_namer(recipe, names, vectors).to(ranks.device)
    if ranks.leads:
        warn_of_cut_names(namer, names)
    lesson = None
    if not last and not is_own(config.start_from):
        lesson = warm_namer(namer, vectors, config.warmup, seed=config.seed)
    detector = begin_detector(recipe, namer)
    if config.start_from and not is_own(config.start_from) and not last:
        import_weights(detector, config.start_from, place.folder / "start_from.json")
    detector.to(ranks.device)
    if config.finetune == "lora":
        adapt(detector, config.lora, seed=config.seed)
    examples = ExampleSet(shards, recipe.loader)
    state = TrainingState(
        detector,
        Loader(examples, recipe.loader, rank=ranks.rank, world=ranks.world),
        place.identity,
        config,
        warmup=asdict(lesson) if lesson else {},
    )
    if last:
        state.restore(last)
        log.info("going on after step %d of %d", state.step, config.steps)
    elif ranks.leads:
        checkpoint.save(place.checkpoints, state.checkpoint(), keep=config.keep)
    else:
        raise ValueError(
            f"rank {ranks.rank} sees no checkpoint of rank 0 in {place.checkpoints}: "
            "all ranks need one file system"
        )
    return state


def _train(
    recipe: Recipe, place: _Workplace, state: TrainingState, vectors: TextVectors | None
) -> None:
    assert isinstance(state.detector, OpenDetector)
    series = Series(
        place.folder / "series.csv", start=state.step, config=recipe.train, ranks=place.ranks
    )
    train_steps(
        state,
        TrainingStep(state.detector, Objective(recipe.objective, vectors)),
        recipe.train,
        ranks=place.ranks,
        series=series,
        checkpoints=place.checkpoints,
        unfreeze_at=_unfreeze_step(recipe),
    )
    series.close()
    if not series.rows:
        raise ValueError(
            f"{series.path} is missing, and all steps are done: put it back, or remove "
            f"{place.checkpoints}/step-{state.step:08d}.json, so that the last ones are done again"
        )
    if place.ranks.leads:
        metrics = _metrics(
            state, series.rows[-1], images=state.step * _images_a_step(recipe, place)
        )
        write_json_durably(place.folder / "metrics.json", {"train": metrics})


def _export(recipe: Recipe, place: _Workplace, state: TrainingState) -> None:
    """The average of the weights, with every correction added to what it corrects."""
    detector = state.detector
    assert isinstance(detector, OpenDetector)
    load_tensors(detector, state.ema.tensors, what="the average of the weights")
    merge_adapters(detector)
    resize = Resize(
        shortest=recipe.loader.evaluation_edge,
        longest=recipe.loader.longest_edge,
        multiple=recipe.loader.multiple,
    )
    export_model(
        place.model, detector, own_tensors(detector), resize=resize, training=place.identity
    )


def _images_a_step(recipe: Recipe, place: _Workplace) -> int:
    return recipe.loader.batch_size * recipe.train.accumulate * place.ranks.world


def _require_lessons(shards: ShardSet, recipe: Recipe) -> None:
    """An object, or the caption of an image that the mixture takes for one of kind `image`."""
    loader, captions = recipe.loader, recipe.objective.caption_weight > 0
    records = (shards.record(index) for index in range(len(shards)))
    told = ((record, mixture_kind(record, loader.mixture)) for record in records)
    if not any(teaches(record, kind) for record, kind in told if captions or kind != "image"):
        raise ValueError(
            f"no image of the split {loader.split} has an object to learn from: take a source with "
            "boxes (format coco or voc), one of kind image with captions (loader.mixture, "
            "objective.caption_weight), or see what the stage filter refused"
        )


def _vectors(
    names: list[str], clip: TextTower | None, template: str, place: _Workplace
) -> TextVectors | None:
    kept_in = place.folder / "text_vectors.safetensors"
    vectors = vectors_of(names, clip, template=template, kept_in=kept_in)
    return vectors.to(place.ranks.device) if vectors else None


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
