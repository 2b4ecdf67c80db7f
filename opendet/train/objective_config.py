"""What can be set of the losses and of the matching. Light to import: no torch here."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from opendet.section import Section
from opendet.train.deco_config import DecoConfig
from opendet.train.llmdet_config import LlmdetConfig


class ObjectiveConfig(Section):
    """Weights of the losses and of the matching's costs (spec/open_det.md A.3, A.4)."""

    cost_object: NonNegativeFloat = 2.0
    """Of the alignment probability with the object's own name; without an aligner or a name, of the
    probability that there is an object."""
    cost_l1: NonNegativeFloat = 5.0
    cost_giou: NonNegativeFloat = 2.0

    many_per_object: PositiveInt = 6
    """One-to-many layers: the most queries of one object."""
    many_threshold: float = Field(default=0.4, ge=0, le=1)
    """One-to-many layers: a query is matched from this quality on, 0.3 alignment + 0.7 IoU."""
    many_decay: float = Field(default=1.5, ge=0)
    """One-to-many layers: the r-th best query of an object has its target times exp(-r / this);
    0 leaves them as they are."""

    object_loss: Literal["focal", "quality", "joint"] = "joint"
    """A matched query's target: 1, the IoU of its box, or the joint loss's mixture of its own
    probability, alignment and IoU."""
    joint_form: Literal["completed", "qfl", "literal"] = "completed"
    """`quality` and `joint`: cross-entropy, quality focal loss, or the formula as the paper prints
    it, which also has a minimum at 1."""
    joint_alpha: float = Field(default=0.25, gt=0, lt=0.5)
    object_weight: NonNegativeFloat = 2.0
    l1_weight: NonNegativeFloat = 5.0
    giou_weight: NonNegativeFloat = 2.0
    iou_weight: NonNegativeFloat = 1.0
    """Of the IoU head, where there is one."""
    proposal_weight: NonNegativeFloat = 1.0
    """Of the encoder's proposals, on top of the parts' own weights."""
    denoising_weight: NonNegativeFloat = 1.0
    """Of anchor denoising, likewise."""
    pseudo_box_weight: NonNegativeFloat = 0.0
    """Of the boxes' losses on images whose boxes a model drew, likewise."""

    align_loss: Literal["one_hot", "masked"] = "masked"
    """A matched query's positives: its own object, or every object of the image that has the same
    name (MAL)."""
    align_threshold: float = Field(default=0.99, gt=0, le=1)
    """MAL's tau: names whose text vectors have a larger cosine are the same."""
    align_ignore: float | None = Field(default=None, ge=-1, le=1)
    """MAL: names between this cosine and tau are neither the same nor different."""
    align_modulation: Literal["focal", "bce"] = "focal"
    align_over: Literal["cells", "queries"] = "cells"
    """The sum is divided by the positive cells, or by the matched queries as GenerateU does: under
    MAL those are fewer, and the boxes starve."""
    align_weight: NonNegativeFloat = 2.0
    pseudo_negatives: NonNegativeInt = 0
    """So many names for each image, drawn from all that are taught, that none of its queries may be
    aligned with: OWL-ST's, which takes about 50. Without them an image's own names are all that
    its queries are told apart from."""
    absent_names: bool = False
    """Whether the names that a record says are absent (LVIS's negatives, hard ones that a verifier
    kept) are wrong for all queries of that image, and always among those that its prompts are
    contrasted with. They are then of the vocabulary that training teaches."""
    partial_names: bool = False
    """Whether a query without an object may show a name of which the record says that more is there
    than has a box (LVIS's not exhaustive ones): it is no wrong name for it then."""

    naming_weight: NonNegativeFloat = 1.0
    """Cross-entropy of the names that the T5 writes for matched queries."""
    detach_prompts_until: NonNegativeInt = 0
    """Steps in which naming and captions send no gradient into the detector."""
    distillation_weight: NonNegativeFloat = 1.0
    """1 - cosine of the prompt and the text vector of the name, where vectors are given."""
    contrast_weight: NonNegativeFloat = 0.0
    """Beside the paper: cross-entropy of a prompt's own name among all that training teaches. A
    cosine alone leaves it near whatever resembles its name (docs/log.md)."""
    contrast_temperature: float = Field(default=0.1, gt=0)
    """The cosines are divided by it. Vectors that share a direction, as published CLIPs' do, want
    0.02: at 0.1 a prompt is drawn off its own vector, away from what all have in common."""
    contrast_names: PositiveInt = 4096
    """Of a longer vocabulary each step draws so many."""
    text_denoising_weight: NonNegativeFloat = 1.0
    """Cross-entropy of the names that the T5 writes for their own noised text vectors."""
    text_denoising_noise: NonNegativeFloat = 1.0
    """Deviation of that noise, in units of the text vectors' own deviation."""
    text_denoising_vocabulary: NonNegativeInt = 0
    """So many more names for each image, drawn from all that are taught: the paper noises an
    image's own names, of which a rare one comes late."""
    caption_weight: NonNegativeFloat = 1.0
    """Cross-entropy of an image's caption, read from its best queries, on images without boxes."""
    caption_queries: PositiveInt = 10
    """So many queries of an image make its caption."""
    caption_tokens: PositiveInt = 40
    """Captions are cut after so many tokens."""
    naming_boxes: Literal["predicted", "target"] = "predicted"
    """Where a prompt that looks at its box looks in training. `target`, a little shaken, teaches
    names before boxes are found; at test it is always the predicted box."""
    named_objects: PositiveInt = 40
    """At most so many objects of an image are named in a step, drawn at random."""
    deco: DecoConfig = DecoConfig()
    """DeCo-DETR's losses, where the detector has a prototype head."""
    llmdet: LlmdetConfig = LlmdetConfig()
    """LLMDet's: captions of images and phrases of regions, by a language model."""

    @model_validator(mode="after")
    def _ignore_below_threshold(self) -> Self:
        if self.align_ignore is not None and self.align_ignore >= self.align_threshold:
            raise ValueError(
                f"align_ignore {self.align_ignore} must be below align_threshold "
                f"{self.align_threshold}"
            )
        return self
