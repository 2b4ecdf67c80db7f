"""A CSV of boxes for spreadsheets: `objects.csv`, which `opendet data correct` reads again.

A row is a box, in pixels of the upright image; an image without any has one row with empty cells,
so that it is known to have none. A cell that a spreadsheet would take for a formula begins with an
apostrophe, which is gone when it is read.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from opendet.corrections.comparing import state_of
from opendet.exports.objects import Sayable, exported
from opendet.exports.whole_files import whole_files
from opendet.record import Record

BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("key", "split", "file", "width", "height", *BOX, "name", "score", "state")
SAID: frozenset[Sayable] = frozenset({"score"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def write_csv(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, and count what the CSV has no place for."""
    left_out: Counter[str] = Counter()
    with whole_files(folder) as file_of:
        file = file_of("objects.csv")
        file.write(_line_of(COLUMNS))
        for record, objects in exported(records, left_out, said=SAID, by_key=True):
            image = (record.key, record.split, to_cell(record.file), record.width, record.height)
            # A bare number such as 123e4567 would come back from a spreadsheet as another one
            state = f"s{state_of(record)}"
            for one in objects:
                sides = (round(side, 3) for side in one.region.box_xyxy)
                score = one.region.box_from.score
                file.write(_line_of((*image, *sides, to_cell(one.name), score, state)))
            if not objects:
                file.write(_line_of((*image, *("" for _ in (*BOX, "name", "score")), state)))
    return +left_out


def to_cell(text: str) -> str:
    """The text as a spreadsheet shows it and never runs it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """Back from `to_cell`."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def _line_of(cells: Iterable[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()
