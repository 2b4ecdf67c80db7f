"""What can be set of the losses. Light to import: no torch here."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from opendet.section import Section


class ObjectiveConfig(Section):
    """Weights of the losses and of the matching's costs (spec/open_det.md A.3, A.4)."""

    cost_object: NonNegativeFloat = 2.0
    cost_l1: NonNegativeFloat = 5.0
    cost_giou: NonNegativeFloat = 2.0
    object_loss: Literal["focal", "quality"] = "quality"
    """A matched query's target: 1, or the IoU of its box."""
    object_weight: NonNegativeFloat = 2.0
    l1_weight: NonNegativeFloat = 5.0
    giou_weight: NonNegativeFloat = 2.0
    naming_weight: NonNegativeFloat = 1.0
    """Cross-entropy of the names that the T5 writes for matched queries."""
    distillation_weight: NonNegativeFloat = 1.0
    """1 - cosine of the prompt and the text vector of the name, where vectors are given."""
    naming_boxes: Literal["predicted", "target"] = "predicted"
    """Where a prompt that looks at its box looks in training. `target`, a little shaken, teaches
    names before boxes are found; at test it is always the predicted box."""
    named_objects: PositiveInt = 40
    """At most so many objects of an image are named in a step, drawn at random."""
