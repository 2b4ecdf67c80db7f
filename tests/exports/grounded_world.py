"""Records whose captions speak of their regions, and the way back from entries to records."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from opendet.curate.source_record import in_pixels, record_of
from opendet.record import Phrase, Record, Region, Turn
from opendet.sources.images import ImageFacts
from opendet.sources.listing import Entry
from tests.exports.export_world import BATCH, SOURCE, boxes, record

WIDTH, HEIGHT = 640, 480
PHRASES = st.sampled_from(
    ["a dog", "the two dogs", "Dog", "a red, red cat", "ein Überhund", "dogs"]
)


@st.composite
def grounded_records(draw: st.DrawFn) -> Record:
    """A sentence, with phrases that have regions of their own; a few regions have no phrase."""
    caption = draw(st.sampled_from(["", "Look: "]))
    phrases: list[Phrase] = []
    regions: list[Region] = []
    for number in range(draw(st.integers(1, 4))):
        text = draw(PHRASES)
        caption += " and " if number else ""
        start = len(caption)
        caption += text
        some = draw(st.integers(1, 3))
        numbers = tuple(range(len(regions), len(regions) + some))
        regions += (Region(draw(boxes(WIDTH, HEIGHT)), SOURCE) for _ in numbers)
        phrases.append(Phrase(start, len(caption), numbers, SOURCE))
    extra = draw(st.lists(boxes(WIDTH, HEIGHT), max_size=2))
    regions += (Region(box_xyxy, SOURCE, label="dog") for box_xyxy in extra)
    return record(
        draw(st.sampled_from(["a.jpg", "images/a b.jpg", "x/000000012.jpg"])),
        regions,
        width=WIDTH,
        height=HEIGHT,
        caption=caption + draw(st.sampled_from(["", ".", ". "])),
        phrases=tuple(phrases),
        tags=tuple(draw(st.lists(PHRASES, max_size=2))),
        conversation=draw(st.sampled_from([(), (Turn("human", "Hi\nyou?"), Turn("gpt", "No."))])),
    )


def read_again(entries: Iterable[Entry], *, like: Record | None = None) -> list[Record]:
    """What the source stage makes of entries without a problem, of the size that they declare.

    Asserts that nothing about them was a problem, and their file and size where there is a `like`.
    """
    made = []
    for entry in entries:
        assert not entry.problem
        assert entry.declared_size
        problems: Counter[str] = Counter()
        facts = ImageFacts("jpg", *entry.declared_size, 1, "0" * 64, 1, "")
        entry = in_pixels(entry, facts) if entry.normalised else entry
        made.append(record_of(entry, facts, problems, source="toy", batch=BATCH))
        assert not problems
        if like:
            assert (entry.file, entry.declared_size) == (like.file, (like.width, like.height))
    return made


def spoken(one: Record) -> list[tuple[str, Any]]:
    """What each phrase says, and of which regions."""
    return [(one.caption[part.start : part.end], part.regions) for part in one.phrases]
