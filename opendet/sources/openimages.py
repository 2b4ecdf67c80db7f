"""OpenImages: `*-annotations-bbox.csv`, its `class-descriptions*.csv`, and the image-level labels.

Boxes are shares of the image's width and height, and no CSV has the sizes: an entry holds them as
they are, in [0, 1], until the image is opened and `scaled` makes pixels of them.

Only images that are there, or that a list names, are listed. The CSVs, with 14 million rows, are
read line by line and rows of other images are passed over, so that memory grows with the images
listed. A box of a group (IsGroupOf) is a crowd; occluded, truncated, inside and depiction have no
place in a record.

Image-level labels have a confidence: 1, somebody saw it, is a tag; 0, somebody looked and it is not
there, is an absent name; a machine's guess between them is neither.
"""

import csv
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from opendet.sources.folder import files_below
from opendet.sources.listing import MEND, AnnotatedBox, Entry, entry_of, in_order
from opendet.sources.text_lines import read_lines, without_suffix

BOX_COLUMNS = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax", "IsGroupOf")
LABEL_COLUMNS = ("ImageID", "LabelName", "Confidence")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Said:
    """What the CSVs say of one image, as far as they are read."""

    boxes: list[AnnotatedBox] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def list_openimages(
    root: Path,
    *,
    batch: str,
    images: str,
    annotations: str,
    classes: str,
    labels: str = "",
    names: str = "",
) -> list[Entry]:
    """The images of the folder, or those of the list `names`; their boxes are in [0, 1].

    Raises ValueError, naming file and line, for a CSV that is missing, lacks a column, ends within
    a row or has boxes of a class that `classes` does not name.
    """
    files = sorted(files_below(root / images))
    if names:
        files = _files_of_ids(files, _read_ids(root / names))
    said = {_id_of(file): _Said() for file in files}
    known = _read_classes(root / classes)
    _add_boxes(said, root / annotations, known, classes)
    if labels:
        _add_labels(said, root / labels, known)
    return in_order(_annotated(entry_of(batch, images, file), said[_id_of(file)]) for file in files)


def scaled(boxes: Iterable[AnnotatedBox], width: int, height: int) -> tuple[AnnotatedBox, ...]:
    """Boxes in [0, 1] -> pixels of an image stored with that size, to a thousandth."""
    return tuple(
        replace(
            box,
            box_xyxy=(
                round(box.box_xyxy[0] * width, 3),
                round(box.box_xyxy[1] * height, 3),
                round(box.box_xyxy[2] * width, 3),
                round(box.box_xyxy[3] * height, 3),
            ),
        )
        for box in boxes
    )


def _annotated(entry: Entry, said: _Said) -> Entry:
    """What somebody saw or drew is not absent, whatever another one says."""
    there = {*said.present, *(box.label for box in said.boxes)}
    return replace(
        entry,
        annotations=tuple(said.boxes),
        normalised=True,
        tags=tuple(dict.fromkeys(said.present)),
        absent=tuple(name for name in dict.fromkeys(said.absent) if name not in there),
    )


def _add_boxes(said: Mapping[str, _Said], path: Path, known: Mapping[str, str], names: str) -> None:
    for line, (image, label, *corners, group) in _rows(path, BOX_COLUMNS, said):
        if label not in known:
            raise ValueError(
                f"{path}: line {line}: LabelName {label!r} is none of {names}: name the file of "
                "classes that belongs to it"
            )
        x0, y0, x1, y1 = map(_number, corners)
        said[image].boxes.append(AnnotatedBox((x0, y0, x1, y1), known[label], crowd=group == "1"))


def _add_labels(said: Mapping[str, _Said], path: Path, known: Mapping[str, str]) -> None:
    unnamed = 0
    for _, (image, label, confidence) in _rows(path, LABEL_COLUMNS, said):
        if label not in known:
            unnamed += 1
        elif _number(confidence) == 1:
            said[image].present.append(known[label])
        elif _number(confidence) == 0:
            said[image].absent.append(known[label])
    if unnamed:
        log.warning("%s has %d labels of classes without a name: left out", path, unnamed)


def _number(text: str) -> float:
    """A coordinate; what is no number is not finite, and counted where boxes are checked."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rows(
    path: Path, columns: Sequence[str], images: Mapping[str, _Said]
) -> Iterator[tuple[int, list[str]]]:
    """Line number and those columns of the rows of those images; the first column is the image."""
    rows = _lines(path)
    _, header = next(rows, (1, []))
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path}: line 1 has no column {missing[0]}: it is none of OpenImages'")
    places = [header.index(name) for name in columns]
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {line} has {len(row)} of {len(header)} fields: fetch the file again"
            )
        if row[places[0]] in images:
            yield line, [row[place] for place in places]


def _read_classes(path: Path) -> dict[str, str]:
    """Code -> name. The newer files have a header and the older ones none."""
    known = {}
    for line, row in _lines(path):
        if len(row) != 2:
            raise ValueError(
                f"{path}: line {line} has {len(row)} fields: a code and a name are due"
            )
        if row != ["LabelName", "DisplayName"]:
            known[row[0]] = row[1]
    return known


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not empty."""
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in (reader := csv.reader(file)):
                line = reader.line_num
                if row:
                    yield line, row
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a CSV file in it") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: after line {line}: {error}") from error


def _id_of(file: str) -> str:
    return PurePosixPath(file).stem


def _files_of_ids(found: Iterable[str], ids: Iterable[str]) -> list[str]:
    """The files of the ids, in whatever folder; an id without a file stays in, and is missed
    later."""
    by_id: defaultdict[str, list[str]] = defaultdict(list)
    for file in found:
        by_id[_id_of(file)].append(file)
    return [file for number in ids for file in by_id.get(number, [f"{number}.jpg"])]


def _read_ids(path: Path) -> list[str]:
    """A line is an id or its file; it may have its subset before it, as OpenImages' downloader
    wants it: `train/f9e0434389a1d4dd`."""
    return [without_suffix(line.rpartition("/")[2]) for line in read_lines(path) if line]
