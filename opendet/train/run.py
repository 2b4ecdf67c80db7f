"""The stage `train`: shards in, a model folder out. Killed and started again, it goes on."""

import logging
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opendet.data.dataset import ExampleSet
from opendet.data.loader import Loader
from opendet.files import exclusive_lock, sweep_unfinished, write_json_durably
from opendet.model.captioner import Captioner
from opendet.model.detector import OpenDetector
from opendet.model.prototype_set import read_prototypes
from opendet.model.t5_namer import T5Namer
from opendet.shard_notes import NoteStore
from opendet.shard_set import ShardSet, verify_share
from opendet.train import checkpoint
from opendet.train.checkpoint import Checkpoint
from opendet.train.distributed import Ranks, device_of
from opendet.train.export import Resize, export_model, read_card
from opendet.train.finetune import adapt, merge_adapters
from opendet.train.further import SIGNALS, Teachers, agreement_of, further_objectives
from opendet.train.llmdet_start import language_content, save_captioner
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.pins import pinned
from opendet.train.randomness import reproducible
from opendet.train.recipe import Identity, Recipe, require_same_identity
from opendet.train.requirements import (
    manifest_hash,
    require_agreement,
    require_lessons,
    unfreeze_step,
    warn_of_mirrored_captions,
)
from opendet.train.semantic_sources import SemanticSources
from opendet.train.signals import sum_up
from opendet.train.start import (
    begin_captioner,
    begin_detector,
    begin_namer,
    content_of,
    import_weights,
    is_own,
    namer_content,
    warn_of_cut_names,
    writes_names,
)
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextTower, names_once, vectors_of
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

    @property
    def verified(self) -> Path:
        return self.folder / "verified"

    def lock(self) -> AbstractContextManager[None]:
        """Rank 0 holds the folder for all."""
        if not self.ranks.leads:
            return nullcontext()
        return exclusive_lock(self.folder / "lock", what=f"the model in {self.folder}")

    def sweep(self) -> None:
        """Remove what a killed run had begun to write; for rank 0, before the others write."""
        for folder in (self.folder, *self.verified.glob("*")):
            sweep_unfinished(folder)


def train(
    recipe: Recipe,
    shards_folder: Path,
    work_folder: Path,
    *,
    clip: TextTower | None,
    template: str = "{name}",
    ranks: Ranks | None = None,
    start_content: str = "",
    semantics: SemanticSources | None = None,
) -> Path:
    """Train, or go on training, in `work_folder`; returns its model folder.

    The work folder gets `checkpoints/`, `series.csv`, `metrics.json` and `model/`, with
    `train.signals` also `signals.parquet`, and `start_from.json` where weights of another project
    were taken over. What the next start is to find is there too: hashes of the shards in
    `verified/`, their names in `names.json`, the hub's commits in `pins.json`. `clip` gives the
    vectors of the names, asked for as `template`; without one nothing is distilled and the namer is
    not warmed. A whole model of this recipe and these shards means that there is nothing to do.
    With `ranks` all of them call this, on the same folders. `start_content` is that of
    `train.start_from` where the caller has read it already; `semantics` is what a prototype head
    learns from. Raises ValueError, in one line, for what a person must mend, such as a work folder
    of another recipe, and BusyError if another process trains there.
    """
    ranks = ranks or Ranks(device_of(recipe.train.device))
    require_agreement(recipe)
    llmdet = recipe.objective.llmdet
    identity = {
        **recipe.identity(),
        "shards": manifest_hash(shards_folder),
        "clip": f"{clip.revision} {template}" if clip else "none",
        "start_from": start_content or content_of(recipe.train.start_from),
        "ranks": ranks.world,
        **({"semantics": semantics.digest()} if semantics else {}),
        **({"language": language_content(llmdet)} if llmdet.used else {}),
        **({"t5": content} if (content := namer_content(recipe)) else {}),
    }
    place = _Workplace(work_folder, ranks, identity)
    with place.lock(), reproducible(ranks.device, threads=recipe.train.threads):
        if ranks.leads:
            place.sweep()
        if not ranks.led(ranks.leads and _finished(place)):
            if ranks.leads:
                warn_of_mirrored_captions(recipe)
            shards = _shards(shards_folder, recipe.loader.split, place)
            require_lessons(shards, recipe)
            with ranks.leader_first():
                last = _last_checkpoint(place)
                recipe = pinned(recipe, place.folder)
                names = names_once(
                    shards,
                    place.folder / "names.json",
                    absent=recipe.objective.absent_names,
                    version=f"{identity['shards']} {recipe.loader.split}",
                )
                teachers = _teachers(names, clip, template, semantics, place)
                state = _state(recipe, place, shards, names, teachers, last)
                detector = _detector_of(state)
                further = further_objectives(
                    recipe, place.folder, detector, teachers, start=state.step, ranks=ranks
                )
            agreement = agreement_of(further) if recipe.detector.aligner == "none" else None
            objective = Objective(recipe.objective, teachers.text, further, agreement)
            _train(recipe, place, state, objective)
            if ranks.leads:
                _export(recipe, place, state)
            ranks.wait()
    return place.model


def _shards(folder: Path, split: str, place: _Workplace) -> ShardSet:
    """Verified once in the life of a run, by all ranks together."""
    ranks, kept = place.ranks, NoteStore(place.verified)
    if ranks.world > 1:
        verify_share(folder, split=split, kept=kept, share=ranks.rank, shares=ranks.world)
        ranks.wait()
    return ShardSet.open(folder, split=split, kept=kept)


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
    teachers: Teachers,
    last: Checkpoint | None,
) -> TrainingState:
    """Where training stands: at the last checkpoint, else at step 0 with a warmed namer."""
    config, ranks = recipe.train, place.ranks
    namer = begin_namer(recipe, names, teachers.text).to(ranks.device)
    lesson = None
    if isinstance(namer, T5Namer):
        if ranks.leads:
            warn_of_cut_names(namer, names)
        if not last and not writes_names(config.start_from):
            lesson = warm_namer(namer, teachers.text, config.warmup, seed=config.seed)
    detector = begin_detector(recipe, namer, teachers.pool)
    if config.start_from and not is_own(config.start_from) and not last:
        import_weights(detector, config.start_from, place.folder / "start_from.json")
    detector.to(ranks.device)
    if config.finetune == "lora":
        adapt(detector, config.lora, seed=config.seed)
    if recipe.objective.llmdet.used:
        detector.captioner = begin_captioner(recipe, detector, ranks.device)
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


def _detector_of(state: TrainingState) -> OpenDetector:
    assert isinstance(state.detector, OpenDetector)
    return state.detector


def _train(recipe: Recipe, place: _Workplace, state: TrainingState, objective: Objective) -> None:
    series = Series(
        place.folder / "series.csv", start=state.step, config=recipe.train, ranks=place.ranks
    )
    train_steps(
        state,
        TrainingStep(_detector_of(state), objective),
        recipe.train,
        ranks=place.ranks,
        series=series,
        checkpoints=place.checkpoints,
        unfreeze_at=unfreeze_step(recipe),
        hooks=objective,
    )
    series.close()
    if not series.rows:
        raise ValueError(
            f"{series.path} is missing, and all steps are done: put it back, or remove "
            f"{place.checkpoints}/step-{state.step:08d}.json, so that the last ones are done again"
        )
    place.ranks.wait()
    if place.ranks.leads:
        if recipe.train.signals:
            sum_up(place.folder / SIGNALS, place.folder / f"{SIGNALS}.parquet")
        metrics = _metrics(
            state, series.rows[-1], images=state.step * _images_a_step(recipe, place)
        )
        write_json_durably(place.folder / "metrics.json", {"train": metrics})


def _export(recipe: Recipe, place: _Workplace, state: TrainingState) -> None:
    """The average of the weights, with every correction added to what it corrects."""
    detector = _detector_of(state)
    load_tensors(detector, state.ema.tensors, what="the average of the weights")
    captioner, detector.captioner = detector.captioner, None
    merge_adapters(detector)
    resize = Resize(
        shortest=recipe.loader.evaluation_edge,
        longest=recipe.loader.longest_edge,
        multiple=recipe.loader.multiple,
    )
    if isinstance(captioner, Captioner) and recipe.objective.llmdet.keep:
        beside = partial(save_captioner, captioner=captioner)
    else:
        beside = None
    weights = own_tensors(detector)
    for killed in place.folder.glob(f".{place.model.name}.*"):
        shutil.rmtree(killed)
    export_model(
        place.model, detector, weights, resize=resize, training=place.identity, beside=beside
    )


def _images_a_step(recipe: Recipe, place: _Workplace) -> int:
    return recipe.loader.batch_size * recipe.train.accumulate * place.ranks.world


def _teachers(
    names: list[str],
    clip: TextTower | None,
    template: str,
    semantics: SemanticSources | None,
    place: _Workplace,
) -> Teachers:
    kept_in = place.folder / "text_vectors.safetensors"
    vectors = vectors_of(names, clip, template=template, kept_in=kept_in)
    text = vectors.to(place.ranks.device) if vectors else None
    if semantics is None:
        return Teachers(clip, template, text)
    return Teachers(clip, template, text, read_prototypes(semantics.pool), semantics)


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
