"""What a verifier is asked and shown: by hand."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from opendet.annotators.verifier import (
    RED,
    Pictures,
    Question,
    Shown,
    VerifierSection,
    picture,
    questions_of,
)
from opendet.curate.prompting import Prompt
from opendet.record import Provenance, Record, Region
from opendet.sample import Sample

SOURCE = Provenance("source")
GREY = (90, 90, 90)
CAT = Region((10.0, 10.0, 30.0, 30.0), SOURCE, label="truth", names=("cat", "kitten"))
RECORD = Record(
    "a-0", "s", "a", "train", "CC0-1.0", "x.png", "png", 1, "0" * 64, 100, 80,
    regions=(
        CAT,
        replace(CAT, box_xyxy=(60.0, 40.0, 100.0, 80.0)),
        replace(CAT, names=("dog",), box_xyxy=(0.0, 0.0, 5.0, 5.0)),
        replace(CAT, names=()),
        replace(CAT, names=(" ",)),
        replace(CAT, names=("sheep",), crowd=True),
        replace(CAT, crowd=True),
    ),
)  # fmt: skip
SHORT = VerifierSection(
    name_prompt=Prompt(text="n {name}"),
    box_prompt=Prompt(text="b {name}"),
    all_found_prompt=Prompt(text="a {name}"),
    there_prompt=Prompt(text="t {name}"),
)


def told(questions: tuple[Question, ...]) -> list[tuple[int, str]]:
    return [(question.region, question.prompt) for question in questions]


def test_every_named_region_name_and_negative_is_asked_about() -> None:
    questions = questions_of(RECORD, ("wolf", "fox"), SHORT)
    assert told(questions) == [
        *((0, "n cat"), (0, "b cat"), (1, "n cat"), (1, "b cat"), (2, "n dog"), (2, "b dog")),
        *((-1, "a cat"), (-1, "a dog"), (-1, "t wolf"), (-1, "t fox")),
    ]
    crop, box, *_ = questions
    assert crop.shown == Shown((6, 6, 34, 34), ())  # 20 pixels and a fifth of it on each side
    assert box.shown == Shown((0, 0, 100, 80), (CAT.box_xyxy,))
    cats = questions[6].shown.drawn_xyxy  # a crowd of cats has a box too
    assert cats == (CAT.box_xyxy, (60.0, 40.0, 100.0, 80.0), CAT.box_xyxy)
    assert questions[-1].shown == Shown((0, 0, 100, 80), ())


def test_a_question_that_is_null_is_not_asked() -> None:
    quiet = SHORT.model_copy(update={"name_prompt": None, "all_found_prompt": None})
    assert told(questions_of(RECORD, (), quiet)) == [(0, "b cat"), (1, "b cat"), (2, "b dog")]
    assert questions_of(replace(RECORD, regions=()), (), VerifierSection()) == ()


def test_small_boxes_may_be_shown_larger() -> None:
    near = SHORT.model_copy(update={"box_context": 1.0})
    boxes = [one.shown.window_xyxy for one in questions_of(RECORD, (), near) if one.kind == "box"]
    assert boxes == [(0, 0, 50, 50), (20, 0, 100, 80), (0, 0, 10, 10)]


def test_prompts_have_a_place_for_the_name() -> None:
    for prompt in VerifierSection().model_dump(include={"name_prompt", "there_prompt"}).values():
        assert "{name}" in prompt["text"]
    with pytest.raises(ValidationError, match="there_prompt"):
        VerifierSection(there_prompt=Prompt(text="is it there?"))


def test_the_truth_is_never_shown() -> None:
    blind = tuple(replace(region, label=None) for region in RECORD.regions)
    assert questions_of(RECORD, (), SHORT) == questions_of(
        replace(RECORD, regions=blind), (), SHORT
    )


def test_a_box_is_drawn_around_what_is_in_it() -> None:
    drawn = picture(
        Image.new("RGB", (100, 80), GREY),
        Shown((0, 0, 100, 80), ((10.0, 20.0, 30.0, 40.0),)),
        longest_side=1000,
    )
    rows = np.asarray(drawn)
    red = (rows == RED).all(-1)
    assert (rows[~red] == GREY).all()
    ys, xs = red.nonzero()
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (9, 19, 30, 40)
    assert not red[20:40, 10:30].any(), "the line hides something of what is in the box"
    assert red.sum() == 4 * 21


def test_a_box_at_the_border_keeps_its_line_within_the_picture() -> None:
    whole = Shown((0, 0, 40, 40), ((0.0, 0.0, 40.0, 40.0),))
    red = (np.asarray(picture(Image.new("RGB", (40, 40)), whole, longest_side=64)) == RED).all(-1)
    assert red[0].all()
    assert red[-1].all()
    assert red[:, 0].all()
    assert red[:, -1].all()
    assert red.sum() == 4 * 39


def test_large_pictures_are_shown_smaller_and_boxes_with_them() -> None:
    shown = Shown((100, 100, 900, 500), ((500.0, 100.0, 900.0, 500.0),))
    drawn = picture(Image.new("L", (1000, 600), 90), shown, longest_side=200)
    assert (drawn.mode, drawn.size) == ("RGB", (200, 100))
    red = (np.asarray(drawn) == RED).all(-1)
    assert red[:, 99].all()
    assert not red[:, :99].any()
    long = picture(Image.new("RGB", (2000, 1)), Shown((0, 0, 2000, 1), ()), longest_side=50)
    assert long.size == (50, 1)


def test_pictures_are_made_when_they_are_looked_at() -> None:
    questions = questions_of(RECORD, ("wolf",), SHORT)
    blind, seen = Sample(RECORD), Sample(RECORD, Image.new("RGB", (100, 80), GREY))
    pictures = Pictures([(blind, questions[0]), (seen, questions[0])], longest_side=64)
    assert len(pictures) == 2
    assert pictures[1].size == (28, 28)
    assert [one.size for one in pictures[1:]] == [(28, 28)]
    with pytest.raises(AssertionError, match="without pixels"):
        pictures[0]
