"""What a run is told before it begins."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from trainee import RECIPE

from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.requirements import warn_of_mirrored_captions


@pytest.mark.parametrize(
    ("llmdet", "flip", "lines"),
    [
        ({"language": "t5"}, 0.5, 1),
        ({"language": "t5"}, 0.0, 0),
        ({"language": "t5", "image_weight": 0.0}, 0.5, 0),
        ({}, 0.5, 0),
    ],
)
def test_captions_of_mirrored_images_are_told_of(
    llmdet: dict[str, Any], flip: float, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    told = LlmdetConfig.model_validate(llmdet)
    recipe = replace(
        RECIPE,
        loader=RECIPE.loader.model_copy(update={"flip": flip}),
        objective=RECIPE.objective.model_copy(update={"llmdet": told}),
    )
    with caplog.at_level(logging.WARNING):
        warn_of_mirrored_captions(recipe)
    assert len(caplog.messages) == lines
    assert all("mirrors 50 % of the images" in one for one in caplog.messages)
