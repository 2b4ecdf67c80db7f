"""What a run must have, and be told, before it begins."""

import logging
import math
from pathlib import Path

from opendet.data.kinds import teaches
from opendet.data.plan import mixture_kind
from opendet.files import sha256_of
from opendet.shard_set import ShardSet
from opendet.train.recipe import Recipe

log = logging.getLogger(__name__)


def require_agreement(recipe: Recipe) -> None:
    """Raises ValueError for switches that shut each other out."""
    train, namer = recipe.train, recipe.namer
    unfreezes = namer.unfreeze_head_at is not None
    if train.finetune == "lora" and unfreezes:
        raise ValueError("train.finetune: lora freezes the head: leave namer.unfreeze_head_at out")
    if train.finetune == "lora" and not train.start_from:
        raise ValueError("train.finetune: lora keeps the weights as they are: set train.start_from")
    if namer.t5 == "none" and unfreezes:
        raise ValueError("namer.unfreeze_head_at: there is no T5: leave it out")
    if namer.head == "full" and unfreezes:
        raise ValueError("namer.unfreeze_head_at: a full head is never frozen: leave it out")
    if unfreeze_step(recipe) == train.steps:
        raise ValueError(
            f"namer.unfreeze_head_at: {namer.unfreeze_head_at} of train.steps, {train.steps}, is "
            f"their end: set at most {train.steps - 1}/{train.steps}, or leave it out"
        )


def warn_of_mirrored_captions(recipe: Recipe) -> None:
    """Say in one line where LLMDet's captions would be taught with images that they do not fit."""
    llmdet, flip = recipe.objective.llmdet, recipe.loader.flip
    if llmdet.used and llmdet.image_weight and flip:
        log.warning(
            "loader.flip mirrors %.0f %% of the images, and their captions tell left from right: "
            "set it to 0 for objective.llmdet",
            100 * flip,
        )


def unfreeze_step(recipe: Recipe) -> int | None:
    """The first step that trains the whole head, 0 for the first of all; None for never."""
    share = recipe.namer.unfreeze_head_at
    return None if share is None else math.ceil(share * recipe.train.steps)


def require_lessons(shards: ShardSet, recipe: Recipe) -> None:
    """An object, or the caption of an image that the mixture takes for one of kind `image`."""
    loader, captions = recipe.loader, _learns_from_captions(recipe)
    records = (shards.record(index) for index in range(len(shards)))
    told = ((record, mixture_kind(record, loader.mixture)) for record in records)
    if not any(teaches(record, kind) for record, kind in told if captions or kind != "image"):
        raise ValueError(
            f"no image of the split {loader.split} has an object to learn from: take a source with "
            "boxes (format coco or voc), one of kind image with captions (loader.mixture; "
            "objective.caption_weight and a T5, or objective.llmdet), or see what the stage "
            "filter refused"
        )


def _learns_from_captions(recipe: Recipe) -> bool:
    """By the namer's T5, or by a language model beside it."""
    told, llmdet = recipe.objective.caption_weight > 0, recipe.objective.llmdet
    return (told and recipe.namer.t5 != "none") or (llmdet.used and llmdet.image_weight > 0)


def manifest_hash(shards_folder: Path) -> str:
    path = shards_folder / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: build the stage shards first")
    return sha256_of(path)
