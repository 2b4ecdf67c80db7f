"""The arms: all off is GenerateU's recipe, and each part turns its own switches alone."""

from dataclasses import fields
from typing import Any

import pytest

from opendet.bench.arms import PARTS, Arm, Part, arm

SWITCHES: dict[Part, set[str]] = {
    "ODR": {"cross_layers", "self_layers", "denoising_pairs", "selection"},
    "BVLA-M": {"aligner"},
    "VLD-M": {"prompt", "distillation_weight"},
    "ONG": {"head", "text_denoising_weight"},
    "MAL": {"align_loss"},
    "joint loss": {"iou_head", "object_loss"},
    "vocabulary": {"contrast_weight", "text_denoising_vocabulary"},
}


def flat(one: Arm) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    for section in fields(one):
        values = getattr(one, section.name).model_dump()
        assert not knobs.keys() & values.keys()
        knobs |= values
    return knobs


@pytest.mark.parametrize("part", PARTS)
def test_a_part_turns_its_own_switches_whether_added_or_removed(part: Part) -> None:
    off, on = flat(arm(())), flat(arm((part,)))
    assert {name for name in off if off[name] != on[name]} == SWITCHES[part]
    every, others = flat(arm(PARTS)), flat(arm([one for one in PARTS if one != part]))
    assert {name for name in every if every[name] != others[name]} == SWITCHES[part]


def test_all_off_is_the_recipe_of_generateu() -> None:
    off = flat(arm(()))
    wanted = {
        "cross_layers": 0,
        "self_layers": 6,
        "denoising_pairs": 0,
        "selection": "topk",
        "aligner": "vision_to_language",
        "align_loss": "one_hot",
        "object_loss": "focal",
        "iou_head": True,
        "prompt": "query",
        "head": "full",
        "text_denoising_weight": 0,
        "distillation_weight": 0,
        "contrast_weight": 0,
        "naming_weight": 1,
    }
    assert {name: off[name] for name in wanted} == wanted


def test_without_naming_no_loss_of_the_language_model_counts() -> None:
    off = flat(arm(PARTS, naming=False))
    losses = ("naming", "text_denoising", "distillation", "contrast")
    assert [off[f"{name}_weight"] for name in losses] == [0] * 4


def test_the_distillation_loss_goes_with_its_module_unless_it_is_asked_for() -> None:
    linear = flat(arm((), distilled=True))
    assert (linear["prompt"], linear["distillation_weight"]) == ("query", 1)


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(ValueError, match="no part DN"):
        arm(("DN",))  # type: ignore[arg-type]
