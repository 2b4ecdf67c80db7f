"""GroundingCap's lines: whose question is asked, what the tags are, and its makers' rules."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opendet.exports.formats import writer_of
from opendet.exports.groundingcap import MAX_IOU, MIN_BOXES, CapRules
from opendet.exports.odvg import line_of, write_odvg
from opendet.inspect.lint import LintConfig, LintReport, lint_lines
from opendet.record import Phrase, Provenance, Record, Turn
from opendet.sources.odvg import list_odvg
from tests.exports.export_world import DOG, SOURCE, record
from tests.exports.grounded_world import read_again

CAT = replace(DOG, box_xyxy=(0.0, 0.0, 4.0, 4.0), label="cat")
COW = replace(DOG, box_xyxy=(12.0, 0.0, 19.0, 8.0), label="cow")
THEIRS = CapRules(MIN_BOXES, MAX_IOU)


def line(one: Record, **fields: Any) -> Any:
    return line_of(one, Counter(), dialect="groundingcap", **fields)


def left(one: Record, **fields: Any) -> dict[str, int]:
    left_out: Counter[str] = Counter()
    line_of(one, left_out, dialect="groundingcap", **fields)
    del left_out["licence"]
    return dict(+left_out)


def lines_of(folder: Path) -> list[Any]:
    return [json.loads(text) for text in (folder / "odvg_train.jsonl").open()]


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("", "<image>\nDescribe the image in detail."),
        ("What is here?", "<image>\nWhat is here?"),
        ("What is in <image>?", "What is in <image>?"),
    ],
)
def test_the_caption_answers_what_its_model_was_asked(prompt: str, asked: str) -> None:
    one = record(regions=[DOG], caption="A dog.", caption_from=Provenance("model", prompt=prompt))
    assert [turn["value"] for turn in line(one)["conversations"]] == [asked, "A dog."]
    own = replace(one, conversation=(Turn("human", "Hm?"), Turn("gpt", "No.")))
    assert [turn["value"] for turn in line(own)["conversations"]] == ["Hm?", "No."]


def test_the_prompt_is_not_the_question_of_a_source_caption() -> None:
    asked = Provenance("model", prompt="Name all.")
    phrases = (Phrase(0, 3, (0,), SOURCE),)
    one = record(regions=[DOG], caption="dog. ", phrases=phrases, caption_from=asked)
    told = line(replace(one, source_captions=("A dog runs.",)))["conversations"]
    assert [turn["value"] for turn in told] == [
        "<image>\nDescribe the image in detail.",
        "A dog runs.",
    ]


def test_tags_are_the_records_else_the_phrases_each_once() -> None:
    one = record(regions=[DOG, CAT, replace(CAT, label="Dog")])
    assert line(one)["tags"] == ["dog", "cat"]
    assert line(replace(one, tags=("pet", "pet")))["tags"] == ["pet", "pet"]
    assert "tags" not in line(record())


def test_images_of_few_boxes_are_left_out_where_the_rules_say_so(tmp_path: Path) -> None:
    refused = replace(COW, refusal="border")
    few = record("a.jpg", [DOG, CAT, refused, replace(DOG, description="Lost.")])
    enough = record("b.jpg", [DOG, CAT, COW])
    left_out = write_odvg([few, enough], tmp_path, dialect="groundingcap", rules=THEIRS)
    assert left_out == {
        "image (fewer than 3 boxes)": 1,
        "box without image": 3,
        "refused box": 1,
        "licence": 1,
    }
    assert [one["filename"] for one in lines_of(tmp_path)] == ["b.jpg"]
    assert len(line(few)["grounding"]["regions"]) == 2, "by default all are written"


def test_doubles_of_one_phrase_are_left_out_where_the_rules_say_so() -> None:
    again = replace(DOG, box_xyxy=(1.5, 2.0, 11.25, 8.1))
    one = record(regions=[DOG, again, CAT, replace(again, label="hound")])
    written = line(one, rules=THEIRS)["grounding"]["regions"]
    assert [len(region["bbox"]) for region in written] == [1, 1, 1], "other names may share a box"
    assert left(one, rules=THEIRS) == {"box doubled": 1}
    assert [len(region["bbox"]) for region in line(one)["grounding"]["regions"]] == [2, 1, 1]
    assert left(one) == {}


def test_what_the_rules_let_pass_the_lint_lets_pass(tmp_path: Path) -> None:
    again = replace(DOG, box_xyxy=(1.5, 2.0, 11.25, 8.1))
    records = [
        record("a.jpg", [DOG, again]),
        record("b.jpg", [DOG, again, CAT, COW], caption="A dog."),
        record("c.jpg", [DOG, again, CAT]),
    ]
    left_out = write_odvg(records, tmp_path, dialect="groundingcap", rules=THEIRS)
    assert left_out["image (fewer than 3 boxes)"] == 2
    assert left_out["box doubled"] == 1
    report = lint_lines(tmp_path / "odvg_train.jsonl", LintConfig(), LintReport())
    assert (report.images, report.kinds) == (1, [])


def test_a_description_is_the_phrase_of_a_box_that_nothing_else_speaks_of(tmp_path: Path) -> None:
    caption = "a dog chases the cat on the mat"
    told = [
        replace(DOG, description="a dog chases"),  # the phrase has its box already
        replace(CAT, description="The cat on the mat"),
        replace(COW, description="the cat on the mat"),
        replace(COW, box_xyxy=(1, 1, 5, 9), description="dog"),  # within another's phrase
        replace(COW, box_xyxy=(2, 1, 6, 9), description="Elsewhere."),
    ]
    one = record(regions=told, caption=caption, phrases=(Phrase(0, 5, (0,), SOURCE),))
    regions = line(one)["grounding"]["regions"]
    assert [region["phrase"] for region in regions] == ["a dog", "the cat on the mat"]
    assert len(regions[1]["bbox"]) == 2
    assert left(one) == {"description": 3, "box without phrase": 2, "other label": 2}
    write_odvg([one], tmp_path, dialect="groundingcap")
    (again,) = read_again(
        list_odvg(tmp_path, batch="b", images="", annotations="odvg_train.jsonl"), like=one
    )
    assert [region.label for region in again.regions] == ["dog", *["cat on the mat"] * 2]


def test_the_rules_are_groundingcaps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rules of groundingcap: leave them out for coco"):
        writer_of("coco", THEIRS)
    with pytest.raises(ValueError, match=r"an IoU in \(0, 1\]"):
        CapRules(max_iou=0)
    writer_of("groundingcap", THEIRS)([record(regions=[DOG])], tmp_path)
    assert not (tmp_path / "odvg_train.jsonl").exists()


def test_lines_of_one_picture_are_written_and_pictures_of_one_name_are_not(tmp_path: Path) -> None:
    """An image may have a line for each of its captions."""
    first = record("a.jpg", [DOG], sha256="a" * 64)
    other = record("a.jpg", [DOG, CAT], sha256="b" * 64, batch="c")
    records = [first, replace(first, caption="A dog."), other, record("x" * 300)]
    left_out = write_odvg(records, tmp_path, dialect="groundingcap")
    assert left_out["image (same file as another)"] == 1
    assert left_out["image (unusable file name)"] == 1
    assert left_out["box without image"] == 2
    assert [len(one["grounding"]["regions"]) for one in lines_of(tmp_path)] == [1, 1]
