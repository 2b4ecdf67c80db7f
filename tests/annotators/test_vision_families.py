"""Families of vision-language models, through the path that a user's checkpoint takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flow_world as world
import numpy as np
import pytest
from PIL import Image
from tiny_families import FAMILIES, save_tiny_family

from opendet.annotators.chat import CutAnswer
from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig
from opendet.curate.caption import CaptionConfig, Captioner, tally
from opendet.curate.describe import DescribeConfig, Describer
from opendet.curate.describe import tally as tally_regions
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.shard_run import Outcome, run_shard

PROMPTS = [
    "name it",
    "describe the image in detail, please, and leave nothing out",
    "what is this?",
    "name the main object with a short noun phrase",
    "?",
]
MARKS = ("assistant", "<image>", "<pad>", "<s>", "</s>", "|>")
Saves = Callable[..., Path]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saves:
    """Each checkpoint once."""
    known: dict[tuple[str, str, bool], Path] = {}

    def save(family: str, *, speaks: str = "", chat_template: bool = True) -> Path:
        wanted = (family, speaks, chat_template)
        if wanted not in known:
            folder = tmp_path_factory.mktemp("models") / family
            save_tiny_family(folder, family, speaks=speaks, chat_template=chat_template)
            known[wanted] = folder
        return known[wanted]

    return save


def images() -> list[Image.Image]:
    """Noise, upright and lying, of sizes that the families cut into different numbers of tokens."""
    rng = np.random.default_rng(0)
    sides = [(60, 30), (33, 61), (40, 40), (30, 90), (20, 20)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sides]


def config(folder: Path, **knobs: object) -> VisionLanguageConfig:
    asked = {"model": str(folder), "device": "cpu", "max_new_tokens": 8, **knobs}
    return VisionLanguageConfig.model_validate(asked)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_do_not_hang_on_what_else_is_in_the_batch(family: str, saved: Saves) -> None:
    folder = saved(family)
    one_by_one = VisionLanguage(config(folder, batch_size=1)).ask(images(), PROMPTS)
    together = VisionLanguage(config(folder, batch_size=5)).ask(images(), PROMPTS)
    assert together == one_by_one
    assert [type(one) for one in together] == [type(one) for one in one_by_one]
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_hang_on_the_image_and_hold_no_marks(family: str, saved: Saves) -> None:
    answers = VisionLanguage(config(saved(family))).ask(images(), ["name it"] * 5)
    assert len(set(answers)) > 1
    assert not any(mark in answer for answer in answers for mark in MARKS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_answer_is_cut_and_says_so(family: str, saved: Saves) -> None:
    endless = VisionLanguage(config(saved(family, speaks="name"), max_new_tokens=3))
    answers = endless.ask(images(), PROMPTS)
    assert answers == ["namenamename"] * 5
    assert all(isinstance(answer, CutAnswer) for answer in answers)
    silent = VisionLanguage(config(saved(family, speaks="</s>"), max_new_tokens=1))
    answers = silent.ask(images(), PROMPTS)
    assert answers == [""] * 5
    assert not any(isinstance(answer, CutAnswer) for answer in answers)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision(family: str, saved: Saves) -> None:
    model = VisionLanguage(config(saved(family), dtype="bfloat16"))
    answers = model.ask(images(), PROMPTS)
    assert len(set(answers)) > 1
    assert model.ask(images(), PROMPTS) == answers


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_without_chat_template_is_one_clear_line(family: str, saved: Saves) -> None:
    with pytest.raises(ValueError, match=r"^vision_language\.model: .* no chat template") as caught:
        VisionLanguage(config(saved(family, chat_template=False)))
    assert "\n" not in str(caught.value)


# --- through a stage


def record(place: int) -> Record:
    """An image of its own, with one region."""
    region = Region((2.0, 2.0, 18.0, 18.0), Provenance("source"))
    return replace(world.record(place), sha256=f"{place:064x}", regions=(region,))


def captions(folder: Path, seen: list[Image.Image]) -> Outcome[Record]:
    samples = [Sample(record(place), image) for place, image in enumerate(seen)]
    asked = CaptionConfig(annotator="vision_language", vision_language=config(folder))
    stage = replace(world.stage(), read=lambda _: samples, batch_size=8)
    return run_shard(stage, Captioner(asked), world.tasks(1)[0])


def test_an_image_that_the_processor_refuses_is_quarantined_alone(saved: Saves) -> None:
    folder = saved("qwen2_5_vl", speaks="Ġobject")
    thread = Image.new("RGB", (600, 2))
    outcome = captions(folder, [*images()[:2], thread, *images()[2:]])
    assert [one.key for one in outcome.quarantined] == ["k0002"]
    assert "aspect ratio must be smaller than 200" in outcome.quarantined[0].error
    assert [one.key for one in outcome.kept] == ["k0000", "k0001", "k0003", "k0004", "k0005"]


@pytest.mark.parametrize("family", FAMILIES)
def test_empty_answers_are_dropped_and_counted(family: str, saved: Saves) -> None:
    folder = saved(family, speaks="</s>")
    outcome = captions(folder, images())
    assert [(one.reason, one.detail) for one in outcome.dropped] == [
        ("empty caption", f"{folder.name} wrote nothing")
    ] * 5
    [described] = describe(folder)
    assert described.regions[0].description == ""
    assert tally_regions([described])["cleaned.empty"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_endless_answers_are_cut_and_counted(family: str, saved: Saves) -> None:
    folder = saved(family, speaks="Ġobject")
    outcome = captions(folder, images())
    assert [one.caption for one in outcome.kept] == ["object."] * 5
    assert tally(outcome.kept)["cleaned.repetition"] == 5
    [described] = describe(folder)
    assert described.regions[0].names == ("object",)
    assert tally_regions([described])["cleaned.repetition"] == 1


def describe(folder: Path) -> list[Record]:
    asked = DescribeConfig(annotator="vision_language", vision_language=config(folder))
    answers = Describer(asked)([Sample(record(0), images()[0])])
    assert not any(isinstance(answer, Dropped) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Record)]
