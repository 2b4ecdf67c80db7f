"""The vision-language model, through the path that a user's checkpoint takes."""

from pathlib import Path

import numpy as np
import pytest
from lacking import lacking
from PIL import Image
from pydantic import ValidationError
from tiny_llava import save_tiny_llava

from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig
from opendet.annotators.weights import folder_digest


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava(tmp_path_factory.mktemp("models") / "tiny-llava")


def config(checkpoint: Path | str, **knobs: object) -> VisionLanguageConfig:
    return VisionLanguageConfig(model=str(checkpoint), device="cpu", max_new_tokens=8, **knobs)


def images(count: int) -> list[Image.Image]:
    """Pictures of different colours and sizes."""
    rng = np.random.default_rng(0)
    sides = rng.integers(20, 70, (count, 2))
    return [
        Image.fromarray(rng.integers(0, 256, (1, 1, 3), np.uint8)).resize((int(w), int(h)))
        for w, h in sides
    ]


PROMPTS = [
    "name it",
    "describe the image in detail, please, and leave nothing out",
    "what is this?",
    "name the main object with a short noun phrase",
    "?",
]


def test_answers_do_not_hang_on_what_else_is_in_the_batch(checkpoint: Path) -> None:
    one_by_one = VisionLanguage(config(checkpoint, batch_size=1)).ask(images(5), PROMPTS)
    together = VisionLanguage(config(checkpoint, batch_size=3)).ask(images(5), PROMPTS)
    assert together == one_by_one
    assert len(set(together)) > 1


def test_answers_hang_on_the_image_and_on_the_prompt(checkpoint: Path) -> None:
    model = VisionLanguage(config(checkpoint))
    assert len(set(model.ask(images(6), ["name it"] * 6))) > 1
    assert len(set(model.ask(images(1) * 5, PROMPTS))) > 1


def test_answers_hold_no_prompt_and_no_special_tokens(checkpoint: Path) -> None:
    answers = VisionLanguage(config(checkpoint)).ask(images(5), PROMPTS)
    for answer in answers:
        assert "assistant" not in answer
        assert not any(token in answer for token in ("<image>", "<pad>", "<s>", "</s>"))
        assert answer == answer.strip()


def test_nothing_asked_nothing_answered(checkpoint: Path) -> None:
    model = VisionLanguage(config(checkpoint, dtype="bfloat16"))
    assert model.ask([], []) == []
    assert len(model.ask(images(1), ["name it"])) == 1
    assert (model.name, model.revision) == ("tiny-llava", folder_digest(checkpoint))


def test_a_model_that_cannot_be_loaded_is_one_clear_line(checkpoint: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = save_tiny_llava(tmp_path / "bare", chat_template=None)
    less = lacking(checkpoint, tmp_path / "less", "language_model.model.norm.weight")
    cases = {
        "": "is empty: name a folder",
        "./no/such/folder": "no folder ./no/such/folder",
        str(tmp_path / "absent"): "no folder",
        str(empty): "cannot load",
        "nobody/has-this-model": "cannot load 'nobody/has-this-model'",
        str(bare): "no chat template",
        str(less): "its weights lack 1 tensors",
    }
    for model, words in cases.items():
        with pytest.raises(ValueError, match=r"^vision_language\.model") as caught:
            VisionLanguage(config(model))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_misspelt_knob_is_an_error() -> None:
    with pytest.raises(ValidationError, match="max_token"):
        VisionLanguageConfig.model_validate({"max_token": 3})
