"""A file that people edited: COCO's instances, or a CSV as `opendet data export csv` writes it.

Who it speaks of is told by our keys (`opendet_key`, `key`), else by the image's file. Boxes become
xyxy in pixels of the upright image, as records have them.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opendet.corrections.comparing import state_of
from opendet.corrections.edits import Seen
from opendet.exports.csv_file import BOX, from_cell
from opendet.record import BoxXYXY, Record
from opendet.sources.coco import Category, Image, Instance, Instances, boxes_of
from opendet.sources.listing import clean_text
from opendet.typed_json import read_json

MEND = "name the edited COCO JSON or CSV"
_BORDER = 1.0
"""Pixels that a box may stick out of its image, as rounding makes it; it is cut there."""


@dataclass(slots=True)
class EditedImage:
    """One image and all objects that the file shows in it, unchecked."""

    key: str
    """Ours; empty where the file does not say it."""
    file: str
    size: tuple[int, int] | None = None
    """Width and height, where the file says them."""
    state: str = ""
    """Of the record that was exported (`state_of`), where the file still says it."""
    objects: list[Seen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyedImage(Image):
    """COCO's image as `opendet data export coco` writes it."""

    opendet_key: str = ""
    opendet_state: str = ""


def read_edited(path: Path) -> list[EditedImage]:
    """Raises ValueError, in one line that names file and place, for what is neither."""
    if path.suffix.lower() == ".json":
        return _read_coco(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _read_csv(path)
    raise ValueError(f"{path} is neither .json (COCO) nor .csv: {MEND}")


def checked_objects(image: EditedImage, record: Record) -> tuple[list[Seen], str]:
    """Its objects, cut at the image's border; or why nothing of the image can be believed."""
    if image.size not in (None, (record.width, record.height)):
        return [], "another size"
    if image.state not in ("", state_of(record)):
        return [], "changed since the export"
    checked = []
    for one in image.objects:
        box_xyxy, problem = _within(one.box_xyxy, record)
        name = clean_text(one.name)
        if problem or not name:
            return [], problem or "box without name"
        checked.append(Seen(box_xyxy, name))
    return checked, ""


def _within(box_xyxy: BoxXYXY, record: Record) -> tuple[BoxXYXY, str]:
    """The box, cut at the border where it sticks out by no more than rounding, or what is wrong."""
    if not all(map(math.isfinite, box_xyxy)):
        return box_xyxy, "box of no number"
    x0, y0, x1, y1 = box_xyxy
    if x0 >= x1 or y0 >= y1:
        return box_xyxy, "box turned over"
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, record.width), min(y1, record.height))
    apart = max(abs(a - b) for a, b in zip(box_xyxy, cut, strict=True))
    if apart > _BORDER or cut[0] >= cut[2] or cut[1] >= cut[3]:
        return box_xyxy, "box outside the image"
    return (float(cut[0]), float(cut[1]), float(cut[2]), float(cut[3])), ""


# --- COCO


def _read_coco(path: Path) -> list[EditedImage]:
    """Crowds are left out: they are no objects that a person would mend."""
    kind: type[Instances[KeyedImage, Instance, Category]]
    kind = Instances[KeyedImage, Instance, Category]
    data = read_json(kind, path, mend=MEND)
    images = {
        image.id: EditedImage(
            image.opendet_key, image.file_name, _size_of(image), image.opendet_state
        )
        for image in data.images
    }
    if len(images) < len(data.images):
        raise ValueError(f"{path}: two images have one id: give every image an id of its own")
    for image_id, box in boxes_of(data, path):
        if image_id not in images:
            raise ValueError(
                f"{path}: a box is of image {image_id!r}, which the file does not list"
            )
        if not box.crowd:
            images[image_id].objects.append(Seen(box.box_xyxy, box.label))
    return list(images.values())


def _size_of(image: Image) -> tuple[int, int] | None:
    return (image.width, image.height) if image.width and image.height else None


# --- CSV

_BEYOND = "\n"
"""Under which a row's cells beyond the first line's are read; no column is called so."""


def _read_csv(path: Path) -> list[EditedImage]:
    """A row is a box; an image without any has one row with empty cells."""
    images: dict[tuple[str, str], EditedImage] = {}
    for line, row in _rows_of(path):
        _require_all_cells(row, f"{path}: line {line}")
        key, file = row.get("key", "").strip(), from_cell(row.get("file", ""))
        if not key and not file:
            raise ValueError(f"{path}: line {line} has neither a key nor a file")
        state = row.get("state", "").strip().removeprefix("s")
        edited = EditedImage(key, file, state=state)
        image = images.setdefault((key, "" if key else file), edited)
        cells = [row[side].strip() for side in BOX]
        if any(cells):
            x0, y0, x1, y1 = (_number(cell, f"{path}: line {line}") for cell in cells)
            image.objects.append(Seen((x0, y0, x1, y1), from_cell(row["name"])))
        elif row["name"].strip():
            raise ValueError(f"{path}: line {line} has a name and no box: give both or none")
    return list(images.values())


def _require_all_cells(row: Mapping[str, Any], where: str) -> None:
    """A line that was cut off would delete its image's objects, and a comma in a name that nobody
    quoted would rename one."""
    if None in row.values():
        raise ValueError(f"{where} has fewer cells than the first line: export it again")
    if any(cell.strip() for cell in row.get(_BEYOND, ())):
        raise ValueError(
            f"{where} has more cells than the first line: put a name with a comma in quotes"
        )


def _rows_of(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows with their lines; Excel's semicolons, tabs and leading mark are taken too."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            rows = csv.DictReader(file, delimiter=delimiter, restkey=_BEYOND, strict=True)
            missing = {*BOX, "name"} - set(rows.fieldnames or ())
            if missing or not {"key", "file"} & set(rows.fieldnames or ()):
                raise ValueError(
                    f"{path}: its first line must name key (or file), {', '.join(BOX)} and name"
                )
            for row in rows:
                yield rows.line_num, row
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: {MEND}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8: {error}") from error


def _number(cell: str, where: str) -> float:
    """A decimal comma is one too, as spreadsheets of half the world write it."""
    try:
        return float(cell.replace(",", "."))
    except ValueError as error:
        raise ValueError(f"{where}: {cell[:40]!r} is no number of pixels") from error
