"""The paper's parts as switches, and one of ours beside them: from none of them, which is
GenerateU's recipe, to all.

Sizes are of the small world (`synthetic`), the same in every arm, and so are the learning rate, the
schedule, the batches and the first weights of the namer.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from opendet.model.config import BackboneConfig, DetectorConfig, NamerConfig
from opendet.train.config import TrainConfig
from opendet.train.objective_config import ObjectiveConfig

Part = Literal["ODR", "BVLA-M", "VLD-M", "ONG", "MAL", "joint loss", "vocabulary"]

PAPERS: tuple[Part, ...] = ("ODR", "BVLA-M", "VLD-M", "ONG", "MAL", "joint loss")
PARTS: tuple[Part, ...] = (*PAPERS, "vocabulary")
"""With one of ours: a step contrasts prompts with all names that training teaches, and noises some
of them beside those of its images (docs/decisions.md)."""

TEXT_WIDTH = 96
"""Of text vectors, prompts and the T5: all one, as with CLIP ViT-L and FLAN-T5-base."""

_SIZES: dict[str, Any] = {
    "backbone": BackboneConfig(name="tiny"),
    "width": 96,
    "heads": 4,
    "feedforward": 192,
    "encoder_layers": 1,
    "queries": 30,
    "queries_min": 10,
    "distiller_hidden": 192,
}
_CONTRAST_WEIGHT = 2.0
_DRAWN_NAMES = 8
_DENOISING_PAIRS = 16  # Two groups of the eight objects that an image has at most.

TRAINING = TrainConfig(
    learning_rate=1e-3,
    backbone_lr_scale=1.0,  # at 0.1 it takes twice as long to find boxes: it knows no scenes
    namer_lr_scale=0.5,
    sampling_lr_scale=1.0,
    clip_norm=1.0,
    warmup_steps=50,
    decay="none",  # a point of a curve is then what a run of that length would have reached
    ema_decay=0.98,
    device="cpu",
    threads=1,
    log_every=50,
)
"""Of every run; `steps` and `seed` are the run's own."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What a set of parts comes to."""

    detector: DetectorConfig
    namer: NamerConfig
    objective: ObjectiveConfig


def arm(parts: Collection[Part], *, naming: bool = True, distilled: bool | None = None) -> Arm:
    """The detector, the namer and the losses with these parts, and without the others.

    `naming` off leaves the language model out of training. `distilled` sets the distillation loss
    apart from its module, VLD-M. Raises ValueError for an unknown part.
    """
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ValueError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    distilled = "VLD-M" in parts if distilled is None else distilled
    denoised = naming and "ONG" in parts
    return Arm(
        DetectorConfig(
            **_SIZES,
            cross_layers=4 if "ODR" in parts else 0,
            self_layers=2 if "ODR" in parts else 6,
            denoising_pairs=_DENOISING_PAIRS if "ODR" in parts else 0,
            selection="threshold" if "ODR" in parts else "topk",
            iou_head="joint loss" not in parts,
            aligner="bidirectional" if "BVLA-M" in parts else "vision_to_language",
            prompt="distiller" if "VLD-M" in parts else "query",
        ),
        namer_config(head="lora" if "ONG" in parts else "full"),
        ObjectiveConfig(
            object_loss="joint" if "joint loss" in parts else "focal",
            align_loss="masked" if "MAL" in parts else "one_hot",
            naming_weight=float(naming),
            text_denoising_weight=float(denoised),
            distillation_weight=float(naming and distilled),
            contrast_weight=_CONTRAST_WEIGHT if naming and "vocabulary" in parts else 0.0,
            text_denoising_vocabulary=_DRAWN_NAMES if "vocabulary" in parts else 0,
            named_objects=40 if naming else 1,  # what counts for nothing need not cost time
        ),
    )


def namer_config(*, head: Literal["full", "lora"]) -> NamerConfig:
    """The tiny T5 of 2 + 2 layers."""
    return NamerConfig(
        t5="tiny",
        head=head,
        lora_rank=8,
        lora_alpha=16,
        max_new_tokens=4,
        beams=1,
        tiny_width=TEXT_WIDTH,
        tiny_feedforward=192,
        tiny_vocabulary=400,
    )
