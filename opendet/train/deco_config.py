"""What can be set of DeCo-DETR's losses and of its pool's momentum. Light to import."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from opendet.section import Section


class DecoConfig(Section):
    """Of the prototype head, where `detector.semantics` asks for one (spec/deco_detr.md B.2, B.3).

    The crops' vectors are those of the stage `embed`, the pool that of the stage `prototypes`.
    """

    kl_weight: NonNegativeFloat = 1.0
    """Hi-Know DPA: KL divergence of the head's mixture from the CLIP teacher's, over the pool as
    it was at the start."""
    teacher_temperature: float = Field(default=0.07, gt=0)
    """tau: the cosines of a crop's vector with that pool are divided by it."""
    align_weight: NonNegativeFloat = 1.0
    """Cross-entropy of the semantic predictor's classes with the CLIP teacher's."""
    align_schedule: Literal["cosine", "constant"] = "cosine"
    """PD-DuGi: that weight rises from 0 at the first step along (1 - cos(pi t / T)) / 2, or is
    there from the start."""
    class_temperature: float = Field(default=100.0, gt=0)
    """Factor on the cosines of a crop's vector with the class vectors, in the teacher's softmax."""
    novel_names: tuple[str, ...] = ()
    """Names without a box in training that the semantic predictor learns too, from what the teacher
    sees of them in other crops."""
    update: Literal["sparse", "paper", "off"] = "sparse"
    """How the pool follows the crops of training. `paper` is the formula as it is printed, under
    which all prototypes become one (docs/benchmarks.md)."""
    momentum: float = Field(default=0.99, ge=0, le=1)
    """gamma: what a prototype keeps of itself in a step."""
    update_temperature: float = Field(default=0.07, gt=0)
    """Of the assignment of crops to prototypes."""
    update_nearest: PositiveInt = 4
    """`sparse`: a crop moves so many of its nearest prototypes."""
    update_until: float = Field(default=0.9, ge=0, le=1)
    """Share of the run after which the pool stays as it is."""
