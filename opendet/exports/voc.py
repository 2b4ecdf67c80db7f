"""Pascal VOC: `Annotations/<image>.xml`, and the images of a split in `ImageSets/Main/<split>.txt`.

VOC counts pixels from 1 and its xmax, ymax are the last pixels inside: 1 is added to xmin and ymin
and nothing to xmax and ymax. Thousandths of a pixel are written where there are any.

A file per image is not forced to the disk one by one, which takes hours for a million of them:
whoever needs the folder whole syncs it when all is written.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from opendet.exports.objects import NamedObject, exported
from opendet.exports.whole_files import whole_files
from opendet.record import Record

# What is left of the characters that XML cannot hold, when control characters are gone.
_NO_XML = re.compile("[\ufffe\uffff]")


def write_voc(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, and count what VOC has no place for."""
    left_out: Counter[str] = Counter()
    chosen = exported(records, left_out, said=frozenset(), place=_stem_of)
    with whole_files(folder / "ImageSets" / "Main") as file_of:
        for record, objects in chosen:
            left_out["character in a name"] += sum(
                len(_NO_XML.findall(one.name)) for one in objects
            )
            path = folder / "Annotations" / f"{_stem_of(record.file)}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_xml_of(record, objects), "utf-8")
            file_of(f"{record.split}.txt").write(f"{_stem_of(record.file)}\n".encode())
    return +left_out


def _stem_of(file: str) -> str:
    """What VOC calls an image: its path without the suffix."""
    return str(PurePosixPath(file).with_suffix(""))


def _xml_of(record: Record, objects: Iterable[NamedObject]) -> str:
    path = PurePosixPath(record.file)
    size = f"<width>{record.width}</width><height>{record.height}</height><depth>3</depth>"
    lines = [
        "<annotation>",
        f"<folder>{_text(str(path.parent))}</folder>",
        f"<filename>{_text(path.name)}</filename>",
        f"<source><database>{_text(record.source)}</database></source>",
        f"<size>{size}</size>",
        "<segmented>0</segmented>",
        *(_object_of(one) for one in objects),
        "</annotation>",
    ]
    return "\n".join(lines) + "\n"


def _object_of(one: NamedObject) -> str:
    x0, y0, x1, y1 = one.region.box_xyxy
    sides = {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}
    box = "".join(f"<{side}>{_number(value)}</{side}>" for side, value in sides.items())
    return (
        f"<object><name>{_text(one.name)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{box}</bndbox></object>"
    )


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
