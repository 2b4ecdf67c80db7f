"""Boxes that vision-language models write as text, read strictly: pure functions of an answer.

Each dialect has its parser. What is not written to the letter is refused with a reason that can be
counted, and never guessed; an answer that was cut off keeps its whole items. Any text is read in
time that grows with its length, and no text raises.

Reasons: `cut off` (the last item has no end), `malformed`, `no box` (a name without one, or words
alone), `no name`, `overlong name`, `out of range`, `inverted` (its corners change places),
`degenerate` (no width or no height), `overlong answer` (what follows its 50,000th character).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from opendet.record import BoxXYXY

LONGEST_READ = 50_000
"""Characters of an answer that are looked at."""
LONGEST_NAME = 200
"""Characters of a name."""
QWEN_SIDE = 1000
"""Qwen2-VL and Qwen3-VL write both coordinates in 0..1000 of the image, whatever its shape."""
FLORENCE_BINS = 1000
KOSMOS_SIDE = 32
"""Patches along either side of Kosmos-2's image."""

_QWEN_BOX = re.compile(
    r"\s*\(([0-9]{1,6}),\s*([0-9]{1,6})\),\s*\(([0-9]{1,6}),\s*([0-9]{1,6})\)\s*"
)
_JSON_PIECE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}]', re.DOTALL)
_LOCATIONS = re.compile(r"((?:<loc_[0-9]{1,6}>\s*)+)")
_PATCHES = re.compile(r"\s*<patch_index_([0-9]{1,6})>\s*<patch_index_([0-9]{1,6})>\s*")


@dataclass(frozen=True, slots=True)
class ParsedBoxes:
    """What was read of one answer."""

    found: tuple[tuple[str, BoxXYXY], ...]
    """Names, of one line each, and boxes in [0, 1] of the image, in the answer's order."""
    refused: Counter[str]
    """How often each reason was met."""


def parse_qwen2(text: str) -> ParsedBoxes:
    """Qwen2-VL: a name between `object_ref` marks, then (x0,y0),(x1,y1) between `box` marks."""
    reading = _Reading.of(text)
    head, *items = reading.text.split("<|object_ref_start|>")
    reading.refuse("no name", head.count("<|box_start|>"))
    for number, item in enumerate(items, start=1):
        last = number == len(items)
        name, named, rest = item.partition("<|object_ref_end|>")
        _, *boxes = rest.split("<|box_start|>")
        if not named:
            reading.refuse("cut off" if last else "malformed")
        elif not boxes:
            reading.refuse("cut off" if last and not rest.strip() else "no box")
        for place, box in enumerate(boxes, start=1):
            inside, closed, _ = box.partition("<|box_end|>")
            if not closed:
                reading.refuse("cut off" if last and place == len(boxes) else "malformed")
            elif matched := _QWEN_BOX.fullmatch(inside):
                reading.take(name, [int(number) for number in matched.groups()], QWEN_SIDE)
            else:
                reading.refuse("malformed")
    return reading.result()


def parse_qwen2_5(text: str, *, width: int, height: int) -> ParsedBoxes:
    """Qwen2.5-VL: JSON with pixels of the image as the model was shown it, of that size."""
    return _parse_json(text, width, height)


def parse_qwen3(text: str) -> ParsedBoxes:
    """Qwen3-VL: the JSON of Qwen2.5-VL with coordinates in 0..1000."""
    return _parse_json(text, QWEN_SIDE, QWEN_SIDE)


def parse_florence2(text: str) -> ParsedBoxes:
    """Florence-2: a name and then four `<loc_N>` a box, each the middle of one of 1000 bins."""
    reading = _Reading.of(text)
    reading.text = re.sub(r"</?s>|<pad>", " ", reading.text).rstrip()
    head, opened, tail = reading.text.rpartition("<")
    cut = bool(opened) and ">" not in tail  # inside a mark
    pieces = _LOCATIONS.split(head if cut else reading.text)  # names and runs of marks in turn
    for place in range(1, len(pieces), 2):
        last = place == len(pieces) - 2 and not pieces[-1]
        bins = [int(number) for number in re.findall("[0-9]+", pieces[place])]
        if len(bins) % 4 and not last:  # which four belong together is anyone's guess
            reading.refuse("malformed")
            continue
        for start in range(0, len(bins) - 3, 4):
            reading.take_bins(pieces[place - 1], bins[start : start + 4])
        cut = cut or len(bins) % 4 > 0
    if cut or (len(pieces) > 1 and pieces[-1].strip(" .,")):
        reading.refuse("cut off")
    return reading.result()


def parse_kosmos2(text: str) -> ParsedBoxes:
    """Kosmos-2: `<phrase>`, then pairs of patches of a 32 x 32 grid inside `<object>`.

    A corner is the middle of its patch, and a box of one row or column has all of it, as the
    model's own reader has it.
    """
    reading = _Reading.of(text)
    before, *items = reading.text.split("<object>")
    for number, item in enumerate(items, start=1):
        name, phrases = _phrase_at_end(before)
        reading.refuse("no box", phrases - int(name is not None))
        inside, closed, after = item.partition("</object>")
        pairs = inside.split("</delimiter_of_multi_objects/>")
        if not closed:
            pairs.pop()
            reading.refuse("cut off" if number == len(items) else "malformed")
            after = ""
        for pair in pairs:
            if matched := _PATCHES.fullmatch(pair):
                reading.take_patches(name or "", int(matched[1]), int(matched[2]))
            else:
                reading.refuse("malformed")
        before = after
    reading.refuse("no box", _phrase_at_end(before)[1])
    return reading.result()


@dataclass(slots=True)
class _Reading:
    """An answer on its way to its boxes."""

    text: str
    found: list[tuple[str, BoxXYXY]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, text: str) -> "_Reading":
        reading = cls(text[:LONGEST_READ])
        reading.refuse("overlong answer", int(len(text) > LONGEST_READ))
        return reading

    def refuse(self, reason: str, times: int = 1) -> None:
        if times:
            self.refused[reason] += times

    def take(self, name: str, corners: Sequence[float], width: int, height: int = 0) -> None:
        """A box whose corners are measured in `width` and `height`, a square without the latter."""
        sides = (width, height or width) * 2
        measured = list(zip(corners, sides, strict=True))
        if all(0 <= number <= side for number, side in measured):  # which NaN is not
            self._keep(name, [number / side for number, side in measured])
        else:
            self.refuse("out of range")

    def take_bins(self, name: str, bins: Sequence[int]) -> None:
        if max(bins) >= FLORENCE_BINS:
            self.refuse("out of range")
        else:
            self._keep(name, [(number + 0.5) / FLORENCE_BINS for number in bins])

    def take_patches(self, name: str, upper_left: int, lower_right: int) -> None:
        if max(upper_left, lower_right) >= KOSMOS_SIDE**2:
            self.refuse("out of range")
            return
        y0, x0 = divmod(upper_left, KOSMOS_SIDE)
        y1, x1 = divmod(lower_right, KOSMOS_SIDE)
        low, high = (0.0, 1.0) if x0 == x1 or y0 == y1 else (0.5, 0.5)
        corners = x0 + low, y0 + low, x1 + high, y1 + high
        if x1 < x0 or y1 < y0:  # told before a whole patch is added, which may hide it
            self.refuse("inverted")
        else:
            self._keep(name, [number / KOSMOS_SIDE for number in corners])

    def _keep(self, name: str, box: Sequence[float]) -> None:
        x0, y0, x1, y1 = box
        line = " ".join(name.split())
        if not line:
            self.refuse("no name")
        elif len(line) > LONGEST_NAME:
            self.refuse("overlong name")
        elif re.search(r"<\||<loc_|<poly>|<sep>|</?phrase>|<patch_index", line):
            self.refuse("malformed")  # a mark out of its place
        elif x1 < x0 or y1 < y0:
            self.refuse("inverted")
        elif x1 == x0 or y1 == y0:
            self.refuse("degenerate")
        else:
            self.found.append((line, (x0, y0, x1, y1)))

    def result(self) -> ParsedBoxes:
        words = re.sub(r"```(?:json)?|<[^<>]*>", " ", self.text)
        if not self.found and not self.refused and any(map(str.isalnum, words)):
            self.refuse("no box")
        return ParsedBoxes(tuple(self.found), self.refused)


def _parse_json(text: str, width: int, height: int) -> ParsedBoxes:
    reading = _Reading.of(text)
    for item in _json_objects(reading.text):
        match item:
            case None:
                reading.refuse("cut off")
            case {"bbox_2d": [_, _, _, _] as corners, "label": str() as name} if all(
                isinstance(number, int | float) and not isinstance(number, bool)
                for number in corners
            ):
                reading.take(name, corners, width, height)
            case {"bbox_2d": [_, _, _, _]} if "label" not in item:
                reading.refuse("no name")
            case {"label": str()} if "bbox_2d" not in item:
                reading.refuse("no box")
            case _:
                reading.refuse("malformed")
    return reading.result()


def _json_objects(text: str) -> Iterator[Any]:
    """Every outermost {...} of a text, decoded; an empty tuple for one that is no JSON, and None
    for a last one that has no end."""
    end = 0
    while (start := text.find("{", end)) >= 0:
        if (end := _end_of_object(text, start)) < 0:
            yield None
            return
        yield _decoded(text[start:end])


def _end_of_object(text: str, start: int) -> int:
    """Where the {...} that begins at `start` ends; -1 where it does not."""
    depth = 0
    for piece in _JSON_PIECE.finditer(text, start):
        if piece[0] == '"':  # a string without an end holds the rest of the text
            return -1
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.end()
    return -1


def _decoded(item: str) -> Any:
    try:
        return json.loads(item)
    except (ValueError, RecursionError):
        return ()


def _phrase_at_end(text: str) -> tuple[str | None, int]:
    """The phrase that a text ends with, None where it does not, and how many whole ones it has."""
    phrases = text.count("</phrase>")
    _, opened, tail = text.rpartition("<phrase>")
    name, closed, rest = tail.partition("</phrase>")
    return (name if opened and closed and not rest.strip() else None), phrases
