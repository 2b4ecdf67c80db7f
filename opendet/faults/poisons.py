"""Every class of bad sample, made here: what lies beside a good picture, and what is to become of
it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from opendet.faults.toy_project import BOX_XYWH, SIZE, encoded, picture, write_coco
from opendet.record import BoxXYXY

HUGE = 10_000_000
"""Characters of a caption."""
GOOD, BAD = "0", "1"
"""Stems of the good picture and of the other one."""
ORIENTATION = 0x0112
NAN, INFINITE = float("nan"), float("inf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the stage `source` is to make of a batch with one bad sample."""

    dropped: dict[str, int] = field(default_factory=dict)
    """Reason -> how many images."""
    counted: dict[str, int] = field(default_factory=dict)
    """Problem -> how many boxes or texts of images that were kept."""
    size: tuple[int, int] = SIZE
    """Of the kept image, upright."""
    box_xyxy: BoxXYXY | None = (4, 4, 34, 24)
    """Of the kept image; None where it has none."""
    colour: tuple[int, int, int] | None = None
    """RGB at the middle of the kept image, give or take what JPEG does to it."""
    refusal: str = ""
    """What is said of the batch as a whole, where no image of it is to be taken."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A class of bad sample."""

    name: str
    write: Callable[[Path], None]
    """Writes the batch's folder: a good picture and a bad one."""
    wanted: Wanted
    batch: dict[str, Any] = field(default_factory=dict)
    """What the source card says of the batch; COCO with captions where it says nothing."""


def _image(content: bytes, size: tuple[int, int] = SIZE) -> Callable[[Path], None]:
    """The bad sample is an image file; annotations declare it to have that size."""

    def write(folder: Path) -> None:
        write_coco(folder, 2)
        (folder / f"{BAD}.jpg").write_bytes(content)
        _edit(folder / "instances.json", lambda all_: _set_size(all_["images"][1], size))

    return write


def _set_size(image: dict[str, Any], size: tuple[int, int]) -> None:
    image["width"], image["height"] = size


def _box(*box_xywh: float) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_coco(folder, 2)
        _edit(
            folder / "instances.json",
            lambda all_: all_["annotations"][1].update(bbox=list(box_xywh)),
        )

    return write


def _caption(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_coco(folder, 2)
        _edit(folder / "captions.json", lambda all_: all_["annotations"][1].update(caption=text))

    return write


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _same_file_twice(folder: Path) -> None:
    """Two images of COCO, by two numbers, with one file: one key."""
    write_coco(folder, 2)
    _edit(folder / "instances.json", lambda all_: all_["images"][1].update(file_name=f"{GOOD}.jpg"))


def _missing(folder: Path) -> None:
    write_coco(folder, 2)
    (folder / f"{BAD}.jpg").unlink()


def _name_not_utf8(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate((b"0.jpg", b"na\xefve.jpg")):
        (folder / os.fsdecode(name)).write_bytes(encoded(picture(number)))


def _xml_not_utf8(folder: Path) -> None:
    for part in ("images", "xml"):
        (folder / part).mkdir(parents=True)
    x, y, width, height = BOX_XYWH
    corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
    box = "".join(f"<{side}>{value}</{side}>" for side, value in corners.items())
    for number, label in enumerate(("thing", "th\xefng")):
        (folder / "images" / f"{number}.jpg").write_bytes(encoded(picture(number)))
        text = f"<annotation><object><name>{label}</name><bndbox>{box}</bndbox></object>"
        (folder / "xml" / f"{number}.xml").write_bytes(f"{text}</annotation>".encode("latin-1"))


def _json_not_utf8(folder: Path) -> None:
    write_coco(folder, 2, name="th\u00efng")
    path = folder / "instances.json"
    path.write_bytes(path.read_text().replace("\\u00ef", "\u00ef").encode("latin-1"))


def _without_size(kind: str) -> bytes:
    """A whole file whose header says that it is 0 pixels wide and high."""
    content = encoded(picture(1), kind)
    if kind == "PNG":
        return content[:16] + bytes(8) + content[24:]
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + bytes(4) + content[frame + 9 :]


def _turned() -> bytes:
    """A photograph that stands upright when it is turned clockwise."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(picture(1), exif=exif)


def _sixteen_bits() -> bytes:
    """Mid-grey of 16 bits, which 8 bits would clip to white."""
    width, height = SIZE
    grey = np.full((height, width), 128 << 8, dtype=np.uint16)
    return encoded(Image.fromarray(grey), "PNG")


_FOLDER = {"format": "folder"}
_VOC = {"format": "voc", "images": "images", "annotations": "xml"}


def poisons() -> tuple[Poison, ...]:
    """All of them."""
    return (*_images(), *_pictures_to_keep(), *_texts(), *_boxes(), *_names())


def _images() -> tuple[Poison, ...]:
    jpeg, png = encoded(picture(1)), encoded(picture(1), "PNG")
    animation = encoded(picture(1), "PNG", save_all=True, append_images=[picture(2)])
    broken = png[:60] + bytes(40) + png[100:]
    small = encoded(picture(1, (4, 4)))
    return (
        Poison("JPEG without its end", _image(jpeg[:-300]), _gone("truncated image")),
        Poison("JPEG without its header", _image(jpeg[:3] + jpeg[200:]), _gone("broken header")),
        Poison("PNG with a broken stream", _image(broken), _gone("broken image")),
        Poison("no image at all", _image(b"<html>404</html>"), _gone("format not allowed")),
        Poison("an empty file", _image(b""), _gone("empty file")),
        Poison("an animation", _image(animation), _gone("animated image")),
        Poison("a picture that is not there", _missing, _gone("missing file")),
        Poison("PNG of 0 x 0", _image(_without_size("PNG")), _gone("broken header")),
        Poison("JPEG of 0 x 0", _image(_without_size("JPEG")), _gone("broken header")),
        Poison("smaller than a box can be", _image(small), _gone("image too small")),
        Poison(
            "annotated as another size",
            _image(jpeg, (640, 480)),
            _gone("size differs from annotation"),
        ),
    )


def _pictures_to_keep() -> tuple[Poison, ...]:
    """Odd ones that are usable, once they are read as they must be."""
    cmyk = encoded(Image.new("RGB", SIZE, (200, 10, 10)).convert("CMYK"))
    return (
        Poison("annotated as 0 x 0", _image(encoded(picture(1)), (0, 0)), Wanted()),
        Poison("CMYK", _image(cmyk), Wanted(colour=(200, 10, 10))),
        Poison(
            "turned by EXIF", _image(_turned()), Wanted(size=SIZE[::-1], box_xyxy=(24, 4, 44, 34))
        ),
        Poison("16 bits", _image(_sixteen_bits()), Wanted(colour=(128, 128, 128))),
    )


def _texts() -> tuple[Poison, ...]:
    empty, long = Wanted(counted={"caption.empty": 1}), Wanted(counted={"caption.too long": 1})
    return (
        Poison("an empty caption", _caption(""), empty),
        Poison("a caption of control characters", _caption("\x00\x07\x1b"), empty),
        Poison("a caption of 10 MB", _caption("a " * (HUGE // 2)), long),
    )


def _boxes() -> tuple[Poison, ...]:
    clipped = Wanted(counted={"box.clipped": 1}, box_xyxy=(0, 4, 34, 24))
    return (
        Poison("a box of NaN", _box(NAN, 4, 30, 20), _boxless("box.not finite")),
        Poison("an infinite box", _box(4, 4, INFINITE, 20), _boxless("box.not finite")),
        Poison("an inverted box", _box(34, 24, -30, -20), _boxless("box.inverted")),
        Poison("a box outside", _box(500, 500, 30, 20), _boxless("box.outside")),
        Poison("a box of no area", _box(4, 4, 0, 20), _boxless("box.degenerate")),
        Poison("a box that stands out", _box(-10, 4, 44, 20), clipped),
    )


def _names() -> tuple[Poison, ...]:
    unread = Wanted(refusal="instances.json: its root")
    return (
        Poison("a key twice", _same_file_twice, _gone("duplicate key")),
        Poison("a file name not UTF-8", _name_not_utf8, _gone("unusable file name"), _FOLDER),
        Poison("XML not UTF-8", _xml_not_utf8, _gone("broken annotation"), _VOC),
        Poison("JSON not UTF-8", _json_not_utf8, unread),
    )


def _gone(reason: str) -> Wanted:
    return Wanted(dropped={reason: 1})


def _boxless(problem: str) -> Wanted:
    return Wanted(counted={problem: 1}, box_xyxy=None)
