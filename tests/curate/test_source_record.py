"""What a source says of an image becomes a record, and what cannot be believed is counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from faster_coco_eval.core.mask import decode

from opendet.curate.source_record import FROM_SOURCE, in_pixels, record_of
from opendet.masks import Rle
from opendet.record import NameJudgement, Phrase, Record, Turn
from opendet.sources.card import Batch
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox, AnnotatedPhrase, Entry, RefusedError

BATCH = Batch(name="b", split="train", format="folder", root="data", licence="MIT")
WIDTH, HEIGHT = 12, 8


def facts(orientation: int = 1) -> ImageFacts:
    """Of an image that is 12 x 8 as it is stored."""
    turned = orientation >= 5
    width, height = (HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT)
    return ImageFacts("jpg", width, height, orientation, "ab", 3, "0" * 16)


def told(entry: Entry, orientation: int = 1) -> tuple[Record, Counter[str]]:
    problems: Counter[str] = Counter()
    return record_of(entry, facts(orientation), problems, source="x", batch=BATCH), problems


def entry(*boxes: AnnotatedBox, **fields: object) -> Entry:
    plain = Entry("b-1", "b", "1.jpg", annotations=boxes, declared_size=(WIDTH, HEIGHT))
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_all_that_a_source_can_say() -> None:
    box = AnnotatedBox(
        (1, 2, 5, 6),
        "mug",
        other_labels=("cup", " "),
        description="A red\tmug.",
        score=0.7,
        mask=((1, 2, 5, 2, 5, 6, 1, 6),),
    )
    record, problems = told(
        entry(
            box,
            caption="A mug.  Red. ",
            phrases=(AnnotatedPhrase(2, 5, (0,)), AnnotatedPhrase(8, 11, ())),
            tags=("mug", "table"),
            conversation=(Turn("human", "<image>\nDescribe."), Turn("gpt", "A\x00 mug.")),
            absent=("dog", "dog", "cat"),
            partial=("mug",),
        )
    )
    (region,) = record.regions
    assert (region.label, region.other_labels, region.box_from.score) == ("mug", ("cup",), 0.7)
    assert (region.description, region.description_from) == ("A red mug.", FROM_SOURCE)
    assert region.mask is not None
    inside = decode({"size": [HEIGHT, WIDTH], "counts": region.mask.counts.encode()})
    assert inside.sum() == inside[2:6, 1:5].sum() == 16
    assert record.caption == "A mug.  Red. "
    assert record.phrases == (Phrase(2, 5, (0,), FROM_SOURCE), Phrase(8, 11, (), FROM_SOURCE))
    assert record.tags == ("mug", "table")
    assert record.conversation == (Turn("human", "<image>\nDescribe."), Turn("gpt", "A mug."))
    assert record.absent == (NameJudgement("dog", FROM_SOURCE), NameJudgement("cat", FROM_SOURCE))
    assert record.partial == (NameJudgement("mug", FROM_SOURCE),)
    assert problems == {"label.empty": 1}


def test_a_sentence_in_the_place_of_a_name_is_no_missing_label() -> None:
    record, problems = told(entry(AnnotatedBox((1, 2, 5, 6), "", description="A red mug.")))
    assert (record.regions[0].label, record.regions[0].description) == (None, "A red mug.")
    assert not problems


def test_phrases_follow_the_boxes_that_stay() -> None:
    boxes = [AnnotatedBox((x, 2, x + 4, 6), "mug") for x in (20, 1, 4)]  # the first is outside
    phrases = (
        AnnotatedPhrase(0, 3, (0, 2)),
        AnnotatedPhrase(0, 3, (1,)),
        AnnotatedPhrase(3, 3, (1,)),
        AnnotatedPhrase(2, 90, (1,)),
    )
    record, problems = told(entry(*boxes, caption="mugs", phrases=phrases))
    assert [phrase.regions for phrase in record.phrases] == [(1,), (0,)]
    assert problems == {"box.outside": 1, "phrase.outside": 2}


@pytest.mark.parametrize("caption", ["mug\x00s", "mug\u2028s"])
def test_a_caption_that_cannot_be_kept_to_the_letter_has_no_phrases(caption: str) -> None:
    record, problems = told(entry(caption=caption, phrases=(AnnotatedPhrase(0, 3, ()),)))
    assert (record.caption, record.phrases) == ("mug s", ())
    assert problems == {"caption.unprintable": 1}


def test_line_ends_of_all_systems_leave_the_phrases_where_they_are() -> None:
    caption = "a mug\r\na hat\ra cat"
    phrases = tuple(AnnotatedPhrase(start, start + 5, ()) for start in (0, 7, 13))
    record, problems = told(entry(caption=caption, phrases=phrases))
    assert record.caption == "a mug \na hat\na cat"
    said = [record.caption[one.start : one.end] for one in record.phrases]
    assert said == ["a mug", "a hat", "a cat"]
    assert not problems


def part(declared: tuple[int, int] | None) -> Entry:
    box = AnnotatedBox((0.25, 0.5, 0.5, 1.0), "mug")
    return entry(box, declared_size=declared, normalised=True)


@pytest.mark.parametrize(
    ("declared", "orientation", "box"),
    [
        (None, 1, (3, 4, 6, 8)),
        ((1200, 800), 1, (3, 4, 6, 8)),  # made smaller since
        ((1100, 790), 1, (3, 4, 6, 8)),  # with rounding
        ((1200, 800), 6, (0, 3, 4, 6)),  # of the stored image: turned
        ((800, 1200), 6, (2, 6, 4, 12)),  # of the upright one
        (None, 6, (0, 3, 4, 6)),
    ],
)
def test_parts_of_an_image_are_of_the_form_that_is_declared(
    declared: tuple[int, int] | None, orientation: int, box: tuple[float, ...]
) -> None:
    scaled = in_pixels(part(declared), facts(orientation))
    record, problems = told(scaled, orientation)
    assert record.regions[0].box_xyxy == box
    assert not problems


def test_parts_of_an_image_that_was_cut_are_refused() -> None:
    with pytest.raises(RefusedError, match=r"size differs from annotation: .*annotated as 800x800"):
        in_pixels(part((800, 800)), facts())
    assert in_pixels(replace(part((800, 800)), annotations=()), facts()).annotations == ()


@pytest.mark.parametrize("mask", [Rle((3, 3), (9,)), Rle((8, 12), (3,)), ((0, 0, 1),)])
def test_a_mask_that_is_none_of_the_image_is_left_out(mask: object) -> None:
    record, problems = told(entry(AnnotatedBox((1, 2, 5, 6), "mug", mask=mask)))  # type: ignore[arg-type]
    assert record.regions[0].mask is None
    assert problems == {"mask.broken": 1}


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [(1, (1, 2, 9, 4)), (2, (3, 2, 11, 4)), (3, (3, 4, 11, 6)), (4, (1, 4, 9, 6))],
)
def test_parts_of_the_stored_image_turn_whatever_way(
    orientation: int, shown: tuple[int, ...]
) -> None:
    box = AnnotatedBox((1, 2, 9, 4), "mug", mask=((1, 2, 9, 2, 9, 4, 1, 4),))
    record, _ = told(entry(box, normalised=True), orientation)
    (region,) = record.regions
    assert region.box_xyxy == shown
    assert region.mask is not None
    size = [record.height, record.width]
    rows, columns = np.nonzero(decode({"size": size, "counts": region.mask.counts.encode()}))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == shown


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_masks_turn_with_their_boxes(orientation: int) -> None:
    box = AnnotatedBox((1, 2, 9, 4), "mug", mask=((1, 2, 9, 2, 9, 4, 1, 4),))
    record, problems = told(entry(box), orientation)
    (region,) = record.regions
    assert region.mask is not None
    size = [record.height, record.width]
    rows, columns = np.nonzero(decode({"size": size, "counts": region.mask.counts.encode()}))
    around = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert around == region.box_xyxy
    assert len(rows) == 16
    assert not problems
