"""Detects in image files: each is checked as the stage `source` checks it, and may be refused.

What the detector itself cannot take is that image's trouble too, and the next one is looked at.
"""

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from opendet.detections import Detections
from opendet.sources.images import decode_upright, inspect_image
from opendet.sources.listing import RefusedError, printable

if TYPE_CHECKING:  # torch is not for those who detect by ONNX
    from opendet.predict_masks import Asked

MAX_BYTES = 100_000_000
"""Larger files are not read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An image and what was found in it."""

    path: Path
    image: Image.Image
    """Upright, RGB."""
    detections: Detections


@dataclass(frozen=True, slots=True)
class Unseen:
    """A file that cannot be looked at."""

    path: Path
    why: str


def detect_files(
    detector: "Asked", paths: Sequence[Path], *, at_once: int = 8
) -> Iterator[Seen | Unseen]:
    """What is in each of the files, in their order; `at_once` images are in memory together."""
    waiting = iter(paths)
    while group := list(islice(waiting, at_once)):
        opened = [open_image(path) for path in group]
        images = [one for one in opened if isinstance(one, Image.Image)]
        found = iter(detect_each(detector, images))
        for path, one in zip(group, opened, strict=True):
            if isinstance(one, Unseen):
                yield one
            else:
                said = next(found)
                yield Unseen(path, said) if isinstance(said, str) else Seen(path, one, said)


def detect_each(detector: "Asked", images: Sequence[Image.Image]) -> list[Detections | str]:
    """What is in each of the images, asked about together; where the detector cannot say it of one
    of them, why: its ValueError is that image's alone."""
    try:
        return [*detector.detect(images)]
    except ValueError as error:
        if len(images) == 1:
            return [str(error)]
    return [said for image in images for said in detect_each(detector, [image])]


def open_image(path: Path) -> Image.Image | Unseen:
    """The upright image of a file, or why there is none."""
    try:
        if path.is_dir():
            return Unseen(path, "is a folder: name its images, such as folder/*.jpg")
        if not path.is_file():
            return Unseen(
                path, "is no plain file: save it" if path.exists() else "there is no such file"
            )
        if path.stat().st_size > MAX_BYTES:
            return Unseen(path, f"file too large: more than {MAX_BYTES} bytes")
        content = path.read_bytes()
        inspect_image(content)
        return decode_upright(content)
    except RefusedError as refusal:
        return Unseen(path, str(refusal))
    except OSError as error:
        return Unseen(path, error.strerror or str(error))


def seen_json(seen: Seen) -> str:
    """One line: file, width, height, and objects with box_xyxy (pixels), score and names; where
    masks were drawn, each with its segmentation too, COCO's `{size, counts}` or null."""
    return picture_json(seen.image, seen.detections, file=printable(str(seen.path)))


def picture_json(image: Image.Image, found: Detections, **told: str | float) -> str:
    """One line of what is `told` of a picture, its size, and what was found in it."""
    size = {"width": image.width, "height": image.height}
    objects = [_object(image, found, place) for place in range(len(found))]
    return json.dumps({**told, **size, "objects": objects})


def _object(image: Image.Image, found: Detections, place: int) -> dict[str, Any]:
    value = {
        "box_xyxy": [round(side, 2) for side in found.boxes_xyxy[place].tolist()],
        "score": round(float(found.scores[place]), 4),
        "names": found.names[place],
    }
    if found.masks is None:
        return value
    code, size_hw = found.masks[place], [image.height, image.width]
    return {**value, "segmentation": {"size": size_hw, "counts": code} if code else None}


def drawing_paths(
    paths: Iterable[Path], folder: Path, *, films: Container[Path] = ()
) -> list[Path]:
    """`<folder>/<stem>.png` for each, `.mp4` for `films`; numbered where two would be one or would
    be an input."""
    inputs = {path.resolve() for path in paths}
    taken: set[Path] = set()
    following = defaultdict[str, Iterator[int]](count)  # of each stem the numbers not yet tried
    chosen = []
    for path in paths:
        ending = ".mp4" if path in films else ".png"
        numbers = following[path.stem]
        targets = (folder / f"{path.stem}{f'-{n}' if n else ''}{ending}" for n in numbers)
        target = next(one for one in targets if one not in taken and one.resolve() not in inputs)
        taken.add(target)
        chosen.append(target)
    return chosen
