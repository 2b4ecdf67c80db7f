"""YOLO: `labels/<image>.txt`, `<split>.txt` with the split's images, and `data.yaml`.

A line of a label file is `class cx cy w h`: the class counted from 0, the box as parts of the
image's width and height. The images are not copied. YOLO's tools look for an image's labels below
`labels` in the place of the last `images` of its path, so they find all with one link beside
`data.yaml`, `images`: to the source's own folder of that name where its files name it, else to the
source's root.

A file per image is not forced to the disk one by one, as `opendet.exports.voc` explains.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import yaml

from opendet.exports.objects import NamedObject, exported
from opendet.exports.whole_files import whole_files
from opendet.files import write_durably
from opendet.record import Record

_DIGITS = 9
"""Behind the point: a ten-thousandth of a pixel in an image of 100,000."""


def write_yolo(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, which are read twice, and count what YOLO has no place for."""
    left_out: Counter[str] = Counter()
    classes = _survey(records)
    chosen = exported(records, left_out, said=frozenset(), place=label_path)
    lists: dict[str, str] = {}  # split -> the file that lists its images
    with whole_files(folder) as file_of:
        for record, objects in chosen:
            path = folder / label_path(record.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (_line_of(one, record, classes) for one in objects)
            path.write_text("".join(lines), "utf-8")
            name = lists.setdefault(record.split, f"{record.split}.txt")
            file_of(name).write(f"./{image_path(record.file)}\n".encode())
    names = {number: name for name, number in classes.items()}
    text = yaml.safe_dump({**lists, "names": names}, allow_unicode=True, sort_keys=False)
    write_durably(folder / "data.yaml", text.encode())
    return +left_out


def image_path(file: str) -> str:
    """Where the image is looked for, below the folder of `data.yaml`."""
    path = PurePosixPath(file)
    return str(path if "images" in path.parts[:-1] else "images" / path)


def label_path(file: str) -> str:
    """Where its labels are, below the folder of `data.yaml`."""
    text = PurePosixPath(image_path(file)).with_suffix(".txt")
    folders = text.parts[:-1]
    last = len(folders) - 1 - folders[::-1].index("images")
    return "/".join((*folders[:last], "labels", *text.parts[last + 1 :]))


def _line_of(one: NamedObject, record: Record, classes: Mapping[str, int]) -> str:
    x0, y0, x1, y1 = one.region.box_xyxy
    parts = (
        (x0 + x1) / 2 / record.width,
        (y0 + y1) / 2 / record.height,
        (x1 - x0) / record.width,
        (y1 - y0) / record.height,
    )
    return f"{classes[one.name]} {' '.join(f'{part:.{_DIGITS}f}' for part in parts)}\n"


def _survey(records: Iterable[Record]) -> dict[str, int]:
    """Name -> class of all objects, sorted."""
    assert not isinstance(records, Iterator), "an iterator is empty when it is read again"
    names: set[str] = set()
    chosen = exported(records, Counter(), said=frozenset(), place=label_path)
    for _, objects in chosen:
        names.update(one.name for one in objects)
    return {name: number for number, name in enumerate(sorted(names))}
