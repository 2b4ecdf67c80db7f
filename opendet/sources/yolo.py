"""YOLO: a text file per image, a line per object, and a file of class names.

A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for an object's outline; a detector's
results have a score behind it. The numbers are parts of the image's width and height. An outline
becomes the box around it, and, where masks are asked for, a mask; but four corners with right
angles are how tools write a box among outlines, or an oriented box, and are no mask. Keypoints
cannot be told from an outline, so data that declare them are not read.

They are parts of the upright image: YOLO's tools open images through OpenCV, which turns them as
EXIF says, and turn the sizes that they read from headers themselves.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from opendet.masks import Polygon
from opendet.record import BoxXYXY
from opendet.sources.folder import files_below
from opendet.sources.listing import MEND, AnnotatedBox, Entry, RefusedError, entry_of, in_order
from opendet.sources.text_lines import read_lines
from opendet.yaml_file import read_yaml

MAX_TXT_BYTES = 16_000_000
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dng", ".heic", ".jpeg", ".jpg", ".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp"}
)
"""What YOLO's tools take for an image; the other files of its folder are passed over."""
FURTHEST = 1.0
"""How far from the image, in images, a number may lie: one beyond it was never made a part."""

log = logging.getLogger(__name__)


def _numbered(names: Any) -> Any:
    return dict(enumerate(names)) if isinstance(names, list) else names


@dataclass(frozen=True, slots=True)
class _DataYaml:
    names: Annotated[dict[int, str], BeforeValidator(_numbered)]
    kpt_shape: Any = None
    """How many keypoints an object has, and numbers a keypoint."""


def list_yolo(
    root: Path,
    *,
    batch: str,
    images: str,
    annotations: str,
    names: str = "",
    masks: bool = False,  # noqa: ARG001  the labels are read later
) -> list[Entry]:
    """The images that the text file `names` has, or all of the folder, with their label files,
    which are read later by `read_yolo`.

    `annotations` is the file of class names. An image's labels lie where YOLO looks for them: below
    `labels` instead of the last `images` of its path below the root, or else beside it. An image
    without a label file has no objects.

    Raises ValueError where the class names or the list cannot be read, or no image at all has a
    label file.
    """
    read_class_names(root / annotations)
    if names:
        files = _listed_names(root, names, images)
    else:
        files = [name for name in files_below(root / images) if _is_image(name)]
    entries = [entry_of(batch, images, name) for name in sorted(files)]
    found = _label_files(root, [entry.file for entry in entries if not entry.problem])
    labelled = [replace(one, annotation_file=found.get(one.file, "")) for one in entries]
    if entries and not found:
        raise ValueError(
            f"{root / images}: none of {len(entries)} images has a label file, such as "
            f"{next(_label_places(entries[0].file))}: mend the batch in source.yaml"
        )
    log.info("%s: %d of %d images have a label file", root / images, len(found), len(entries))
    return in_order(labelled)


def read_class_names(path: Path) -> dict[int, str]:
    """Class number -> name: `names` of a YAML file, else the lines of a text file, from 0.

    Raises ValueError, naming file and place, for a file that is neither.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the file of class names")
    in_yaml = path.suffix.lower() in (".yaml", ".yml")
    names = _names_in_yaml(path) if in_yaml else dict(enumerate(read_lines(path)))
    if not names:
        raise ValueError(f"{path} has no class names: {MEND}")
    return names


def read_yolo(
    path: Path, size: tuple[int, int], names: Mapping[int, str], *, masks: bool = False
) -> tuple[AnnotatedBox, ...]:
    """The objects of one label file; `size` is the upright image's width and height. With `masks`
    outlines become masks too.

    Raises RefusedError for a file that is missing, is not YOLO's, or has a class without a name.
    """
    if not path.is_file():
        raise RefusedError("missing annotation", path.name)
    if path.stat().st_size > MAX_TXT_BYTES:
        raise _broken(f"{path.name} has more than {MAX_TXT_BYTES} bytes")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _broken(f"{path.name} is not UTF-8 at byte {error.start}") from error
    objects = (
        _object_of(line.split(), size, names, f"{path.name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    )
    return tuple(one if masks else replace(one, mask=None) for one in objects)


def _object_of(
    words: Sequence[str], size: tuple[int, int], names: Mapping[int, str], place: str
) -> AnnotatedBox:
    number, *parts = _numbers_of(words, place)
    if number not in names:
        raise RefusedError("unknown class", _short(f"{place}: no name for class {words[0]}"))
    name = names[int(number)]
    score = parts.pop() if len(parts) > 4 and len(parts) % 2 else None
    if len(parts) == 4:
        return AnnotatedBox(_box_of(parts, size), name, score=score)
    outline = _outline_of(parts, size)
    xs, ys = outline[::2], outline[1::2]
    box_xyxy = (min(xs), min(ys), max(xs), max(ys))
    mask = None if _is_rectangle(outline) else (outline,)
    return AnnotatedBox(box_xyxy, name, score=score, mask=mask)


def _is_rectangle(outline: Polygon) -> bool:
    """Whether it has four corners, the first perhaps once more, and right angles to a pixel."""
    points = list(zip(outline[::2], outline[1::2], strict=True))
    if len(points) == 5 and points[0] == points[4]:
        points.pop()
    if len(points) != 4:
        return False
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    # a parallelogram whose diagonals are equally long
    middles = max(abs(ax + cx - bx - dx), abs(ay + cy - by - dy)) / 2
    return max(middles, abs(math.hypot(cx - ax, cy - ay) - math.hypot(dx - bx, dy - by))) <= 1


def _numbers_of(words: Sequence[str], place: str) -> list[float]:
    if len(words) < 5:
        raise _broken(f"{place} has {len(words)} numbers, a box has 5 or more")
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise _broken(f"{place}: {error}") from error
    for word, part in zip(words[1:], numbers[1:], strict=True):
        if not -FURTHEST <= part <= 1 + FURTHEST:  # neither is NaN
            raise _broken(f"{place}: no part of the image, from 0 to 1, is {word}")
    return numbers


def _broken(detail: str) -> RefusedError:
    return RefusedError("broken annotation", _short(detail))


def _short(detail: str) -> str:
    """A file of one endless word must not fill the ledger."""
    return detail[:200]


def _box_of(parts: Sequence[float], size: tuple[int, int]) -> BoxXYXY:
    """Centre and size as parts -> corners in pixels, to a thousandth: below is float noise."""
    cx, cy, w, h = parts
    width, height = size
    return (
        round((cx - w / 2) * width, 3),
        round((cy - h / 2) * height, 3),
        round((cx + w / 2) * width, 3),
        round((cy + h / 2) * height, 3),
    )


def _outline_of(parts: Sequence[float], size: tuple[int, int]) -> Polygon:
    """x, y in turn, as parts -> in pixels."""
    return tuple(round(part * size[i % 2], 3) for i, part in enumerate(parts))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _label_files(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Image -> its label file, for the images that have one; a folder is listed once."""
    listed: dict[str, frozenset[str]] = {}
    found = {}
    for file in files:
        for place in _label_places(file):
            folder, _, name = place.rpartition("/")
            if folder not in listed:
                listed[folder] = _texts_in(root / folder)
            if name in listed[folder]:
                found[file] = place
                break
    return found


def _label_places(file: str) -> Iterator[str]:
    """Where YOLO looks for an image's labels, the first that exists counts."""
    text = PurePosixPath(file).with_suffix(".txt")
    folders = text.parts[:-1]
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        yield "/".join((*folders[:last], "labels", *text.parts[last + 1 :]))
    yield str(text)


def _texts_in(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(one.name for one in folder.iterdir() if one.suffix == ".txt")


def _names_in_yaml(path: Path) -> dict[int, str]:
    try:
        data = TypeAdapter(_DataYaml).validate_python(read_yaml(path))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "its root"
        mend = ": put it in quotes" if first["type"] == "string_type" else ""
        raise ValueError(f"{path}: {where}: {first['msg']}{mend}") from error
    if data.kpt_shape is not None:
        raise ValueError(f"{path}: kpt_shape: keypoints are not read: export the labels as boxes")
    return data.names


def _listed_names(root: Path, listed: str, images: str) -> list[str]:
    """What the list has, relative to `images`; its lines are relative to where it lies."""
    names = []
    for number, line in enumerate(read_lines(root / listed), 1):
        file = PurePosixPath(listed).parent / line
        if not line:
            continue
        if not file.is_relative_to(images):
            raise ValueError(
                f"{root / listed}: line {number}: {file} is not below {images or 'the root'}: name "
                "the folder of all its images, and write paths relative to the list"
            )
        names.append(str(file.relative_to(images)))
    return names
