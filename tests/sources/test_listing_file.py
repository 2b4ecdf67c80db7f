"""A listing on disk: what is read back is what was listed, whatever a source's words hold."""

import math
from pathlib import Path

import pytest

from opendet.masks import Rle
from opendet.record import Turn
from opendet.sources.listing import AnnotatedBox, AnnotatedPhrase, Entry
from opendet.sources.listing_file import listing_text, read_listing

BOX = (0.5, 1.0, 1e-12, 0.1 + 0.2)


def read_back(tmp_path: Path, entry: Entry) -> Entry:
    path = tmp_path / "b-000000.json"
    path.write_text(listing_text([entry]))
    (read,) = read_listing(path)
    return read


@pytest.mark.parametrize(
    "entry",
    [
        Entry("b-a", "b", "a.jpg"),
        Entry("b-a", "b", "a.jpg", problem="unsafe path", problem_detail="line 3: ../a.jpg"),
        Entry("b-a", "b", "a.jpg", declared_size=(640, 480), normalised=True, scene=7),
        Entry("b-a", "b", "a.jpg", captions=("a\nb", "\ud800 half of a character", "\u2028")),
        Entry("b-a", "b", "a.jpg", caption="the cat", phrases=(AnnotatedPhrase(4, 7, (0,)),)),
        Entry("b-a", "b", "a.jpg", tags=("cat",), absent=("dog",), partial=("bird",)),
        Entry("b-a", "b", "a.jpg", conversation=(Turn("human", "what?"), Turn("gpt", "a cat"))),
        Entry("b-a", "b", "a.jpg", annotations=(AnnotatedBox(BOX, "cat", True, ("pet",)),)),
        Entry(
            "b-a",
            "b",
            "a.jpg",
            annotations=(
                AnnotatedBox(BOX, "a", mask=Rle((4, 5), (3, 2, 15)), score=0.3),
                AnnotatedBox(BOX, "b", mask=Rle((4, 5), "abc"), description="a b"),
                AnnotatedBox(BOX, "c", mask=((0.0, 0.0, 1.0, 0.0, 1.0, 1.5),)),
            ),
        ),
    ],
    ids=str,
)
def test_what_is_read_is_what_was_listed(tmp_path: Path, entry: Entry) -> None:
    assert read_back(tmp_path, entry) == entry


def test_numbers_that_are_none_stay_so_and_are_refused_where_boxes_are_judged(
    tmp_path: Path,
) -> None:
    odd = (math.nan, math.inf, -math.inf, 1.0)
    (box,) = read_back(tmp_path, Entry("b", "b", "a", (AnnotatedBox(odd, "x"),))).annotations
    assert math.isnan(box.box_xyxy[0])
    assert box.box_xyxy[1:] == odd[1:]


def test_the_same_entries_give_the_same_text_and_others_another() -> None:
    one, other = Entry("b-a", "b", "a.jpg"), Entry("b-a", "b", "a.jpg", licence="MIT")
    assert listing_text([one]) == listing_text([Entry("b-a", "b", "a.jpg")])
    assert listing_text([one]) != listing_text([other])
