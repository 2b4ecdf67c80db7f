"""The stage `clip`: the model that later judges whether a crop and its text agree.

Either a published open_clip model, or a small one that learns from the build's own crops and names.
It takes the names as the stage `describe` left them, wrong ones included, and never sees a label:
what most crops say about a name outweighs the few that are wrong.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from opendet.files import write_json_durably
from opendet.record import Record, Region
from opendet.sample import Sample
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image

    from opendet.annotators.clip import Clip

CHOICE = "clip.json"


class ClipConfig(Section):
    """Which CLIP judges the build, and how the build trains a small one of its own."""

    model: str = "trained"
    """`trained`, or a folder in open_clip's local-dir form, or the name of an open_clip model."""
    pretrained: str = ""
    """Tag or file of weights for an open_clip name."""
    context: float = Field(default=0.05, ge=0, le=4)
    """How much of its longer side a box grows before it is cropped; 0 for the box alone."""
    template: str = Field(default="{name}", pattern=r"\{name\}")
    """The text that stands for a name. Published models like `a photo of a {name}`."""
    batches: tuple[str, ...] = ()
    """Batches to learn from; empty for the first one of `train`, so that a new batch of images
    changes no model and redoes no old shard."""
    regions: int = Field(default=20_000, ge=2)
    """Learn from about this many regions at most."""
    image_size: int = Field(default=48, ge=32)
    """Side of the trained model's input in pixels."""
    tower: str = "test_resnet"
    """timm's name of the trained model's picture tower."""
    width: int = Field(default=64, ge=16, le=4096, multiple_of=16)
    """Of the trained model's common space and of its text tower."""
    text_layers: int = Field(default=2, ge=1)
    """Of the trained model's text tower."""
    vocabulary: int = Field(default=512, ge=260)
    """Tokens of the trained model, its 256 bytes included."""
    steps: int = Field(default=600, ge=1)
    """Optimiser steps. A fixed number and no time limit, so that every machine learns the same."""
    batch: int = Field(default=64, ge=2)
    """Crops in a step."""
    texts: int = Field(default=256, ge=2)
    """Different names that a step tells apart, those of its own crops included."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Highest rate, after the warm-up."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing."""
    trust: float = Field(default=1.0, gt=0, le=1)
    """Share of a batch that counts in the second half of the training: the crops with the highest
    losses are the likely errors. 1 trusts every crop."""
    threads: int = Field(default=1, ge=1)
    """Of the training. The same number gives the same weights. Two on a busy machine wait for each
    other and are slower than one."""


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """What the stage leaves in its folder: the model, and how it is asked."""

    model: str
    """`trained` where the weights lie in the same folder."""
    pretrained: str
    name: str
    revision: str
    context: float
    template: str


def build_clip(
    samples: Iterable[Sample], config: ClipConfig, *, seed: int, folder: Path
) -> dict[str, float]:
    """Leave a model, or where to find it, in `folder`; returns the training's metrics.

    A published model is loaded once, so that a wrong name fails here and not in a hundred actors.
    """
    from opendet.annotators.clip import Clip

    metrics: dict[str, float] = {}
    if config.model == "trained":
        from opendet.curate.clip_training import train_clip

        metrics = train_clip(crops_and_texts(samples, config), config, seed=seed, folder=folder)
        clip = Clip.load(str(folder))
    else:
        clip = Clip.load(config.model, pretrained=config.pretrained)
    choice = ClipChoice(
        config.model, config.pretrained, clip.name, clip.revision, config.context, config.template
    )
    write_json_durably(folder / CHOICE, asdict(choice))
    return metrics


def open_clip_of(folder: Path, *, device: str = "cpu") -> "tuple[Clip, ClipChoice]":
    """The model of the stage's folder. Raises ValueError where its weights are others by now."""
    from opendet.annotators.clip import Clip

    path = folder / CHOICE
    if not path.is_file():
        raise ValueError(f"{path} is missing: build the stage `clip` first")
    choice = ClipChoice(**json.loads(path.read_text(encoding="utf-8")))
    model = str(folder) if choice.model == "trained" else choice.model
    clip = Clip.load(model, pretrained=choice.pretrained, device=device)
    if clip.revision != choice.revision:
        raise ValueError(
            f"{model} has weights {clip.revision}, the build chose {choice.revision}: "
            "name other weights by another `clip.model`, or remove .opendet/<build>/clip and build "
            "the stage `clip` again"
        )
    return clip, choice


def choose_records(records: Sequence[Record], *, regions: int, seed: int) -> list[Record]:
    """Records drawn at random until they hold `regions` named regions, in their old order."""
    drawn = random.Random(seed).sample(range(len(records)), len(records))
    chosen: list[int] = []
    held = 0
    for index in drawn:
        if held >= regions:
            break
        named = sum(map(is_named, records[index].regions))
        if named:
            chosen.append(index)
            held += named
    return [records[index] for index in sorted(chosen)]


def crops_and_texts(samples: Iterable[Sample], config: ClipConfig) -> "Iterator[tuple[Image, str]]":
    """Every named region's crop and text."""
    from opendet.annotators.clip import crop_region

    for sample in samples:
        assert sample.pixels is not None, f"{sample.key}: the stage `clip` reads pixels"
        for region in sample.record.regions:
            if is_named(region):
                crop = crop_region(sample.pixels, region.box_xyxy, context=config.context)
                yield crop, text_of(region.names[0], config.template)


def is_named(region: Region) -> bool:
    """Whether there is one thing in the box and a name for it."""
    return bool(region.names) and not region.crowd


def text_of(name: str, template: str) -> str:
    return template.replace("{name}", name)
