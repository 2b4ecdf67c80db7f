"""Pascal VOC: an XML file per image, and text files that say which images belong to a split.

VOC counts pixels from 1 and its xmax, ymax are the last pixels inside. Our boxes count from 0 and
end one past the last pixel, so 1 is taken from xmin and ymin and nothing from xmax and ymax.
`difficult` objects are kept like all others.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from opendet.sources.folder import files_below
from opendet.sources.listing import AnnotatedBox, Entry, RefusedError, entry_of, in_order
from opendet.sources.text_lines import listed_files, read_lines
from opendet.sources.xml_file import read_xml

# VOC's lists of one class have 1, -1 or 0 behind each name
_LISTED = re.compile(r"(.+?)(?:\s+(?:-1|0|1))?")


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """What one XML file says."""

    declared_size: tuple[int, int] | None
    """Width and height; None where the file says nothing or 0."""
    boxes: tuple[AnnotatedBox, ...]


def list_voc(
    root: Path, *, batch: str, images: str, annotations: str, names: str = ""
) -> list[Entry]:
    """The images that the list `names` has, or all of the folder; the XML is read later."""
    found = sorted(files_below(root / images))
    if names:
        found = listed_files(found, _read_names(root / names))
    return in_order(
        replace(
            entry_of(batch, images, file),
            annotation_file=f"{annotations}/{PurePosixPath(file).with_suffix('.xml')}",
        )
        for file in found
    )


def read_voc(path: Path) -> VocAnnotation:
    """Raises RefusedError for a file that is missing, or is not VOC's XML."""
    root = read_xml(path)
    try:
        return _parse(root)
    except (ValueError, OverflowError) as error:
        raise RefusedError("broken annotation", f"{path.name}: {error}") from error


def _parse(root: ElementTree.Element) -> VocAnnotation:
    width = int(float(root.findtext("size/width") or 0))
    height = int(float(root.findtext("size/height") or 0))
    boxes = tuple(_box_of(item) for item in root.iterfind("object"))
    return VocAnnotation((width, height) if width > 0 and height > 0 else None, boxes)


def _box_of(item: ElementTree.Element) -> AnnotatedBox:
    corners = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if any(corner is None for corner in corners):
        raise ValueError("an object without bndbox")
    x0, y0, x1, y1 = (float(corner or "") for corner in corners)
    return AnnotatedBox((x0 - 1, y0 - 1, x1, y1), item.findtext("name") or "")


def _read_names(path: Path) -> list[str]:
    matches = (_LISTED.fullmatch(line) for line in read_lines(path))
    return [match[1] for match in matches if match]
