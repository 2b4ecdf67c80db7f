"""What a model said goes through it once more as it was said; family by family."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_families import save_tiny_family
from tiny_llava import save_tiny_llava
from tiny_speaker import save_tiny_speaker

from opendet.vl_sam.config import VlSamConfig
from opendet.vl_sam.heatmaps import NamedMap
from opendet.vl_sam.speaker import Question, Said, Speaker, continued

KINDS = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module", params=KINDS)
def speaker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    folder: Path = tmp_path_factory.mktemp("models") / request.param
    match request.param:
        case "llava":
            save_tiny_llava(folder)
        case "qwen2_vl" | "qwen3_vl":
            save_tiny_speaker(folder, request.param.removesuffix("_vl"))
        case family:
            save_tiny_family(folder, family)
    return Speaker(VlSamConfig(model=str(folder), device="cpu", max_new_tokens=12))


def photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sides = [(80, 50), (60, 61), (90, 120)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sides]


def test_the_teacher_forced_pass_says_what_was_said(speaker: Speaker) -> None:
    """Each token of an answer is the likeliest after those before it: mask, places and grid of the
    longer sequence are as they were."""
    questions = [Question("name the main object", photo) for photo in photos()]
    for question, said in zip(questions, speaker.answers(questions), strict=True):
        inputs = continued(speaker._inputs([question]), said.tokens)
        with torch.inference_mode():
            logits = speaker._model(**inputs, use_cache=False).logits[0]
        before = slice(-1 - len(said.tokens), -1)
        assert said.tokens
        # an untrained model may have two words that are equally likely but for rounding
        equal = logits[before].argmax(-1) == torch.tensor(said.tokens)
        assert equal.float().mean() >= 0.9


def test_an_answer_ends_where_it_ends(speaker: Speaker) -> None:
    [end] = speaker._ends
    mark = speaker._model.config.image_token_id
    assert speaker._said([40, 41, end, end]) == Said((40, 41), cut=False)
    assert speaker._said([40, 41, 42]) == Said((40, 41, 42), cut=True)
    assert speaker._said([40, mark, 42, end]) == Said((40,), cut=True)
    assert speaker._said([]) == Said((), cut=True)


def maps(speaker: Speaker, text: str, photo: Image.Image) -> list[NamedMap]:
    tokens = speaker._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return speaker.maps(Question("what is there?", photo), Said(tuple(tokens), cut=False))


def test_each_name_of_any_answer_has_a_map(speaker: Speaker) -> None:
    photo = photos()[0]
    dog, cats = maps(speaker, "1. A red dog\n2. two cats", photo)
    assert (dog.name, cats.name) == ("red dog", "cats")
    assert dog.grid.shape == cats.grid.shape
    assert dog.grid.size > 3
    assert np.isfinite(dog.grid).all()
    assert not np.allclose(dog.grid, cats.grid)
    # what is said before a name changes its map, what is said after it does not
    [again, _] = maps(speaker, "1. A red dog\n2. two boats", photo)
    assert again.grid.shape == dog.grid.shape
    if len(again.grid) == len(dog.grid):
        ratio = again.grid / again.grid.sum(), dog.grid / dog.grid.sum()
        assert np.abs(ratio[0] - ratio[1]).max() < 0.05
    other = maps(speaker, "1. A red dog", photos()[2])
    assert other[0].grid.shape != dog.grid.shape or not np.allclose(other[0].grid, dog.grid)


def test_usual_attention_is_back_after_a_map(speaker: Speaker) -> None:
    maps(speaker, "a dog", photos()[0])
    assert speaker._model.get_decoder().config._attn_implementation == "sdpa"
    assert speaker.text(Said((), cut=False)) == ""
    assert maps(speaker, "", photos()[0]) == []
    assert speaker.refused["nothing named"] == 1
