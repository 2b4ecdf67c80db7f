"""Models that answer with boxes in text, through the path that a user's checkpoint takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from tiny_llava import save_tiny_llava
from tiny_speaker import save_tiny_speaker, taught
from transformers import AutoProcessor, CLIPImageProcessor

from opendet.annotators.box_dialects import PROMPTS
from opendet.annotators.box_speaker import BoxSpeaker, BoxSpeakerConfig
from opendet.annotators.weights import folder_digest

DIALECTS = ["qwen2", "qwen2_5", "qwen3", "florence2", "kosmos2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def nonsense(folder: Path) -> dict[str, Path]:
    return {dialect: save_tiny_speaker(folder / f"tiny-{dialect}", dialect) for dialect in DIALECTS}


def config(checkpoint: Path | str, dialect: str, **knobs: object) -> BoxSpeakerConfig:
    plain = {"device": "cpu", "max_new_tokens": 64, "floor": 0.5}
    return BoxSpeakerConfig.model_validate(
        {"model": str(checkpoint), "dialect": dialect, **plain, **knobs}
    )


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def asked_for(dialect: str, names: str) -> str:
    return PROMPTS[dialect].replace("{names}", names)  # type: ignore[index]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_that_speaks_nonsense_finds_nothing(
    nonsense: dict[str, Path], dialect: str
) -> None:
    images = [photo(100, 80), photo(40, 60), photo(80, 80)]
    names = [("dog", "cat"), ("a very small green bird",), ()]
    knobs = {"max_new_tokens": 12, "batch_size": 2, "floor": 0.0}
    speaker = BoxSpeaker(config(nonsense[dialect], dialect, **knobs))
    assert speaker.find(images, names) == [[], [], []]
    # Florence-2 of random weights ends its answers at once; the third image is asked for nothing
    assert dialect == "florence2" or sum(speaker.refused.values()) >= 2
    assert speaker.find([], []) == []
    half = BoxSpeaker(config(nonsense[dialect], dialect, dtype="bfloat16", **knobs))
    assert half.find(images[:1], names[:1]) == [[]]
    assert speaker.name == f"tiny-{dialect}"
    assert speaker.revision == folder_digest(nonsense[dialect])


def test_qwen2_5_counts_the_pixels_it_was_shown(folder: Path, nonsense: dict[str, Path]) -> None:
    images = [photo(100, 80), photo(50, 50)]  # shown as 112 x 84 and as 56 x 56
    lessons = [
        (images[0], asked_for("qwen2_5", "dog"),
         '[{"bbox_2d": [28, 28, 56, 84], "label": "dog"}]'),
        (images[1], asked_for("qwen2_5", "dog, Cat"),
         '[{"bbox_2d": [0, 0, 28, 28], "label": "a cat"}, '
         '{"bbox_2d": [0, 0, 28, 28], "label": "owl"}, {"bbox_2d": [0, 0, 28'),
    ]  # fmt: skip
    clever = taught(nonsense["qwen2_5"], folder / "clever-qwen2_5", lessons, chat=True)
    speaker = BoxSpeaker(config(clever, "qwen2_5"))
    [dog], [cat] = speaker.find(images, [("dog",), ("dog", "Cat")])
    assert (dog.name, cat.name) == ("dog", "Cat")
    assert dog.box_xyxy == pytest.approx((25, 80 / 3, 50, 80))
    assert cat.box_xyxy == pytest.approx((0, 0, 25, 25))
    assert speaker.refused == {"not asked for": 1, "cut off": 1}
    for one in (dog, cat):
        assert 0.5 < one.score <= 1
        assert one.mask == ""

    alone = BoxSpeaker(config(clever, "qwen2_5", batch_size=1))
    [[same]] = alone.find(images[:1], [("dog",)])
    assert same.box_xyxy == dog.box_xyxy
    assert same.score == pytest.approx(dog.score, abs=1e-3)
    assert BoxSpeaker(config(clever, "qwen2_5", floor=0.9999)).find(images[:1], [("dog",)]) == [[]]
    [[first]] = BoxSpeaker(config(clever, "qwen2_5", names_per_call=1, most=1)).find(
        images[:1], [("dog", "dog")]
    )
    assert first.box_xyxy == dog.box_xyxy


def test_the_score_is_the_mean_chance_of_the_answers_tokens(
    folder: Path, nonsense: dict[str, Path]
) -> None:
    image, prompt = photo(80, 60), asked_for("qwen2", "dog")
    answer = "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"
    lesson = [(image, prompt, answer)]
    clever = taught(nonsense["qwen2"], folder / "clever-qwen2", lesson, chat=True)
    speaker = BoxSpeaker(config(clever, "qwen2"))
    [[dog]] = speaker.find([image], [("dog",)])
    assert dog.box_xyxy == pytest.approx((0.08, 0.12, 0.24, 0.24))

    inputs = speaker._inputs([image], [prompt])
    told = speaker._model.generate(
        **inputs,
        max_new_tokens=64,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = told.sequences[0, inputs["input_ids"].shape[1] :]
    log_p = torch.stack(told.logits, 1)[0].log_softmax(-1)[range(len(tokens)), tokens]
    assert tokens[-1] == speaker._processor.tokenizer.eos_token_id
    assert dog.score == pytest.approx(float(log_p.mean().exp()), abs=1e-5)


def test_florence2_answers_in_bins(folder: Path, nonsense: dict[str, Path]) -> None:
    spots = [f"<loc_{number}>" for number in (0, 249, 499, 999)]
    answer = f"dog{''.join(spots)}cat{''.join(spots[2:])}"
    images = [photo(200, 100), photo(60, 60)]
    lessons = [
        (images[0], asked_for("florence2", "dog. cat"), answer),
        (images[1], "<OD>", f"owl{''.join(spots)}"),
    ]
    clever = taught(nonsense["florence2"], folder / "clever-florence2", lessons, chat=False)
    speaker = BoxSpeaker(config(clever, "florence2"))
    [[dog]] = speaker.find(images[:1], [("dog", "cat")])
    assert dog.name == "dog"
    assert dog.box_xyxy == pytest.approx((0.1, 24.95, 99.9, 99.95))
    assert speaker.refused == {"cut off": 1}

    anything = BoxSpeaker(config(clever, "florence2", prompt="<OD>"))
    [[owl]] = anything.find(images[1:], [("dog",)])  # its own name: it was asked for none
    assert owl.name == "owl"
    assert owl.box_xyxy == pytest.approx((0.03, 14.97, 29.97, 59.97))


def test_kosmos2_goes_on_from_the_phrase_it_is_given(
    folder: Path, nonsense: dict[str, Path]
) -> None:
    answer = "<object><patch_index_0000><patch_index_0495></object> here"
    images = [photo(64, 64), photo(32, 64)]
    lessons = [
        (images[0], asked_for("kosmos2", "dog"), answer),
        (images[1], "<grounding> A photo of", f"<phrase> a cat</phrase>{answer}"),
    ]
    clever = taught(nonsense["kosmos2"], folder / "clever-kosmos2", lessons, chat=False)
    speaker = BoxSpeaker(config(clever, "kosmos2"))
    [[dog]] = speaker.find(images[:1], [("dog",)])
    assert (dog.name, dog.box_xyxy) == ("dog", pytest.approx((1, 1, 31, 31)))

    anything = BoxSpeaker(config(clever, "kosmos2", prompt="<grounding> A photo of"))
    [[cat]] = anything.find(images[1:], [()])
    assert (cat.name, cat.box_xyxy) == ("a cat", pytest.approx((0.5, 1, 15.5, 31)))


def test_a_score_that_is_no_number_is_one_clear_line(nonsense: dict[str, Path]) -> None:
    speaker = BoxSpeaker(config(nonsense["qwen2_5"], "qwen2_5", max_new_tokens=2))
    with torch.no_grad():
        speaker._model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="no number") as caught:
        speaker.find([photo(60, 60)], [("dog",)])
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_loaded_is_one_clear_line(
    nonsense: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    llava = str(save_tiny_llava(tmp_path / "llava"))
    mute = str(save_tiny_llava(tmp_path / "mute", chat_template=None))
    cropping = save_tiny_speaker(tmp_path / "cropping", "kosmos2")
    processor = AutoProcessor.from_pretrained(cropping)
    processor.image_processor = CLIPImageProcessor(size={"shortest_edge": 28})
    processor.save_pretrained(cropping)
    cases = [
        ("", "qwen2", "is empty: name a folder"),
        ("./no/such/folder", "qwen2", "no folder ./no/such/folder"),
        (str(tmp_path / "empty"), "qwen3", "cannot load"),
        ("nobody/has-this-model", "qwen3", "cannot load 'nobody/has-this-model'"),
        (str(nonsense["qwen2_5"]), "qwen3", "set dialect to qwen2_5, not qwen3"),
        (llava, "qwen2_5", "does not speak the dialect qwen2_5"),
        (mute, "qwen3", "no chat template"),
        (str(cropping), "kosmos2", "crops"),
    ]
    for model, dialect, words in cases:
        with pytest.raises(ValueError, match=r"^regions\.detectors") as caught:
            BoxSpeaker(config(model, dialect))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError, match="dialect"):
        config("", "qwen4")


def test_another_familys_model_may_speak_in_thousandths(tmp_path: Path) -> None:
    llava = save_tiny_llava(tmp_path / "llava")
    speaker = BoxSpeaker(config(llava, "qwen3", max_new_tokens=8))
    assert speaker.find([photo(60, 40)], [("dog",)]) == [[]]
