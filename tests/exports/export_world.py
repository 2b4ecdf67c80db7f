"""Records of all that an export may meet, and the way back through a reader."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.record import BoxXYXY, Mask, NameJudgement, Provenance, Record, Region
from opendet.sources.card import Batch
from opendet.sources.images import ImageFacts
from opendet.sources.listing import Entry, clean_text, key_of

SOURCE = Provenance("source")
DOG = Region((1.5, 2.0, 11.25, 8.0), SOURCE, label="dog")
BATCH = Batch(name="b", split="train", format="coco", root="r", annotations="a", licence="unknown")
NAMES = st.text(st.characters(exclude_characters="_"), max_size=12).map(clean_text).filter(bool)
"""Any characters that a record may hold; but for the underscore, which LVIS reads as a space."""


def record(file: str = "a.jpg", regions: Sequence[Region] = (), **fields: Any) -> Record:
    """Of an image of 20 x 10 pixels."""
    plain = Record(
        key=key_of("b", file),
        source="toy",
        batch="b",
        split="train",
        licence="MIT",
        file=file,
        format="jpg",
        bytes=1,
        sha256="0" * 64,
        width=20,
        height=10,
        regions=tuple(regions),
    )
    return replace(plain, **fields)


def judged(*names: str) -> tuple[NameJudgement, ...]:
    return tuple(NameJudgement(name, SOURCE) for name in names)


def mask_of(inside: np.ndarray) -> Mask:
    """Of (H, W) booleans."""
    from faster_coco_eval.core.mask import encode

    code = encode(np.asfortranarray(inside.astype(np.uint8)))
    return Mask(code["counts"].decode(), SOURCE)


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> BoxXYXY:
    """Any that fit, no narrower than what a source's box must be."""
    sides = []
    for longest in (width, height):
        low = draw(st.floats(0, longest - 1.5))
        sides.append((low, draw(st.floats(low + 1.25, longest))))
    (x0, x1), (y0, y1) = sides
    return (x0, y0, x1, y1)


@st.composite
def regions(draw: st.DrawFn, width: int, height: int) -> Region:
    names = tuple(draw(st.lists(NAMES, max_size=3, unique=True)))
    seed = draw(st.none() | st.integers(0, 9))
    mask = None
    if seed is not None:
        mask = mask_of(np.random.default_rng(seed).random((height, width)) < 0.5)
    return Region(
        draw(boxes(width, height)),
        SOURCE,
        label=draw(st.none() | NAMES),
        other_labels=tuple(draw(st.lists(NAMES, max_size=2))),
        crowd=draw(st.booleans()),
        mask=mask,
        names=names,
        refusal=draw(st.sampled_from(["", "", "", "border"])),
    )


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        width, height = draw(st.integers(3, 700)), draw(st.integers(3, 40))
        folder = draw(st.sampled_from(["images/", "images/ü &<'\"> x/", "images/images/"]))
        made.append(
            record(
                f"{folder}{number}.jpg",
                draw(st.lists(regions(width, height), max_size=4)),
                width=width,
                height=height,
                licence=draw(NAMES),
                source_captions=tuple(draw(st.lists(NAMES, max_size=2, unique=True))),
                absent=judged(*draw(st.lists(NAMES, max_size=2, unique=True))),
                partial=judged(*draw(st.lists(NAMES, max_size=2, unique=True))),
            )
        )
    return made


def read_again(entries: Iterable[Entry], written: Iterable[Record]) -> list[tuple[Record, Record]]:
    """Each written record and the one that the source stage makes of the entry of its file.

    Asserts that there is an entry for each, without a problem of the entry or of a box.
    """
    by_file = {entry.file: entry for entry in entries}
    pairs = []
    for one in written:
        entry = by_file.pop(one.file)
        facts = ImageFacts("jpg", one.width, one.height, 1, one.sha256, one.bytes, "")
        problems: Counter[str] = Counter()
        pairs.append((one, record_of(entry, facts, problems, source=one.source, batch=BATCH)))
        assert not entry.problem
        assert not problems
    assert not by_file
    return pairs


def written_regions(one: Record, *, crowds: bool = True) -> list[Region]:
    """Those of which an export has a box."""
    named = [region for region in one.regions if region.kept and (region.names or region.label)]
    return [region for region in named if crowds or not region.crowd]


def name_of(region: Region) -> str:
    return region.names[0] if region.names else region.label or ""


def others_of(region: Region) -> list[str]:
    """Synonyms of the name: those of the source's word only where it is the name."""
    others = list(region.names[1:])
    if name_of(region) == region.label:
        others += region.other_labels
    return [word for word in dict.fromkeys(others) if word != name_of(region)]


def assert_boxes_agree(first: Iterable[Region], second: Iterable[Region]) -> None:
    """To a thousandth of a pixel."""
    for one, other in zip(first, second, strict=True):
        apart = np.abs(np.array(one.box_xyxy) - np.array(other.box_xyxy))
        assert apart.max() <= 1e-3


def as_records(entries: Iterable[Entry]) -> list[Record]:
    """Of real entries whose annotations declare a size; what has none is left out."""
    made = []
    for entry in entries:
        if entry.declared_size:
            facts = ImageFacts("jpg", *entry.declared_size, 1, "0" * 64, 1, "")
            made.append(record_of(entry, facts, Counter(), source="real", batch=BATCH))
    return made
