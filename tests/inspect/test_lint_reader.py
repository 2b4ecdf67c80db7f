"""The lint and the reader of ODVG agree on what can be read."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.inspect.lint import lint_image
from opendet.inspect.lint_line import view_of_line
from opendet.record import Record
from opendet.sources.images import ImageFacts
from opendet.sources.odvg import list_odvg
from tests.exports.export_world import BATCH
from tests.inspect.test_lint import JSON, Line, clean_lines, detected, grounded, spanless

NO_LOSS = {
    "image.few_boxes",
    "box.whole_image",
    "box.edge",
    "box.mentioned_again",
    "text.speculative",
}
"""Findings that tell of nothing that a reader loses."""


def read(folder: Path, raw: bytes) -> tuple[Record, Counter[str]] | None:
    """What the source stage makes of a line, and its problems; None for a line that is refused."""
    (folder / "a.jsonl").write_bytes(raw + b"\n")
    try:
        (entry,) = list_odvg(folder, batch="b", images="", annotations="a.jsonl")
    except ValueError:
        return None
    if entry.problem:
        return None
    size = entry.declared_size or (640, 480)
    problems: Counter[str] = Counter()
    facts = ImageFacts("jpg", *size, 1, "0" * 64, 1, "")
    return record_of(entry, facts, problems, source="s", batch=BATCH), problems


def findings(raw: bytes) -> set[str]:
    view, unfit = view_of_line(raw)
    return {finding.kind for finding in [*unfit, *(lint_image(view) if view else ())]}


def boxes_of(line: Line) -> set[tuple[float, ...]]:
    grounding, detection = line.get("grounding") or {}, line.get("detection") or {}
    several = [one["bbox"] for one in grounding.get("regions", ())]
    boxes = [box for some in several for box in (some if isinstance(some[0], list) else [some])]
    boxes += [one["bbox"] for one in detection.get("instances", ())]
    return {tuple(map(float, box)) for box in boxes}


def spans_of(line: Line) -> Counter[tuple[int, int]]:
    grounding = line.get("grounding") or {}
    return Counter(
        tuple(span)
        for one in grounding.get("regions", ())
        for span in one.get("tokens_positive") or ()
    )


def assert_agree(folder: Path, line: Any) -> None:
    raw = json.dumps(line).encode()
    found = findings(raw) - NO_LOSS
    was_read = read(folder, raw)
    if was_read is None:
        assert found, "the reader refuses what has no finding"
    elif not found:
        assert_whole(line, *was_read)


def assert_whole(line: Line, record: Record, problems: Counter[str]) -> None:
    """Every box, every span, and for every phrase without a span one that was found."""
    assert set(problems) <= {"box.clipped"}
    boxes = boxes_of(line)
    assert len(record.regions) >= len(boxes)
    assert len(boxes - {one.box_xyxy for one in record.regions}) <= problems["box.clipped"]
    spans = spans_of(line)
    assert Counter((one.start, one.end) for one in record.phrases) >= spans
    if not spans and "grounding" in line:
        said = {number for one in record.phrases for number in one.regions}
        assert len(said) >= len(boxes_of({"grounding": line["grounding"]}))


@st.composite
def any_lines(draw: st.DrawFn) -> Line:
    return draw(
        clean_lines()
        | st.builds(grounded)
        | st.builds(spanless)
        | st.builds(detected)
        | st.builds(lambda: {**grounded(), "detection": detected()["detection"]})
    )


EDGES = st.sampled_from([-0.0005, 0, 0.5, 1, 1.0005, 2, 300, 638.5, 639, 640, 640.0004, 641])
ODD: list[Any] = [
    *("", " ", "a", "the", "a  brown dog", "../a", "/a", "./a.jpg", ".", "\x00", "\u2028"),
    *("\ud800", "İ", "x" * 150, "x" * 300, 0, -1, 1, 1.5, 640.5, 1e20, 2**70, True, None),
    *(float("nan"), float("inf"), [], {}, [[]], [None], [1, 2], [[1, 2]], ["a", "b"]),
]


def replaced(line: Line, value: object, data: st.DataObject) -> None:
    """Put a value at any place of the line."""
    holder: Any = line
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not holder[key] or not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            holder[key] = value
            return
        holder = holder[key]


@settings(max_examples=40, deadline=None)
@given(line=any_lines(), value=st.sampled_from(ODD) | JSON, data=st.data())
def test_any_value_at_any_place_is_seen_alike(
    tmp_path_factory: pytest.TempPathFactory, line: Line, value: object, data: st.DataObject
) -> None:
    replaced(line, value, data)
    assert_agree(tmp_path_factory.getbasetemp(), line)


def places_of(value: Any) -> Iterator[tuple[Any, ...]]:
    """Every place below a value of JSON; of a list, that of its first item."""
    keys = (
        list(value) if isinstance(value, dict) else [0] if value and isinstance(value, list) else []
    )
    for key in keys:
        yield (key,)
        yield from ((key, *further) for further in places_of(value[key]))


@pytest.mark.parametrize("make", [grounded, spanless, detected])
def test_every_odd_value_at_every_place_is_seen_alike(
    tmp_path: Path, make: Callable[[], Line]
) -> None:
    for *above, key in places_of(make()):
        for value in ODD:
            line = make()
            reduce(getitem, above, line)[key] = value
            assert_agree(tmp_path, line)


@settings(max_examples=150, deadline=None)
@given(box=st.tuples(EDGES, EDGES, EDGES, EDGES))
@example(box=(-0.0005, 0, 1, 300))
@example(box=(639, 0, 640.0004, 300))
@example(box=(1, 1, 2, 300))
def test_any_box_is_seen_alike(
    tmp_path_factory: pytest.TempPathFactory, box: tuple[float, ...]
) -> None:
    line = grounded()
    line["grounding"]["regions"][1]["bbox"] = [list(box)]
    assert_agree(tmp_path_factory.getbasetemp(), line)


@settings(max_examples=100, deadline=None)
@given(st.text("aB İ.-()", min_size=1, max_size=12), st.text("aB İ.-()", min_size=1, max_size=4))
def test_any_phrase_is_looked_for_alike(
    tmp_path_factory: pytest.TempPathFactory, caption: str, phrase: str
) -> None:
    line = spanless()
    line["grounding"] = {
        "caption": caption,
        "regions": [{"bbox": [1, 1, 9, 9], "phrase": phrase}],
    }
    assert_agree(tmp_path_factory.getbasetemp(), line)


def test_a_label_alone_needs_a_map(tmp_path: Path) -> None:
    line = detected()
    del line["detection"]["instances"][0]["category"]
    assert_agree(tmp_path, line)
    assert findings(json.dumps(line).encode()) == {"region.label_alone"}
