"""Odd names through every format and back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from opendet.corrections.edited_file import read_edited
from opendet.exports.formats import WRITERS
from opendet.record import Record, Region
from opendet.sources.coco import list_coco
from opendet.sources.generateu import list_generateu
from opendet.sources.grit import list_grit
from opendet.sources.listing import AnnotatedBox, Entry, clean_text
from opendet.sources.lvis import list_lvis
from opendet.sources.odvg import bare_phrase, list_odvg
from opendet.sources.voc import read_voc
from opendet.sources.yolo import read_class_names, read_yolo
from tests.exports.export_world import SOURCE, record

ODD = [
    'a "quoted" dog',
    "dog's \\ 'toy'",
    "hot\ndog\r\n bun",
    "tab\tled \x85cat",
    "İstanbul İİ",
    "ǰ and ẞ and ΑΣ",
    "ﬁsh of 犬 🐕\u200d🦺",
    "x" * 200,
    "cup, saucer",
    "St. Bernard",
    "dr.",
    "a . b",
    "null",
    "yes",
    "007",
    "- dog: {x: [1]} # no",
    "<b>dog</b> &amp; ]]>",
    "%s {0} $HOME",
    "the",
    "Dog",
    "DOG TAG",
    "\ufeffdog \ufffd",
]
Names = Callable[[str], str]


def image_of_all() -> Record:
    """A box a name, each at a place of its own."""
    boxes = ((10.0 * n, 5.0, 10.0 * n + 8, 15.0) for n in range(len(ODD)))
    regions = [Region(box, SOURCE, names=(name,)) for box, name in zip(boxes, ODD, strict=True)]
    return record("a.jpg", regions, width=10 * len(ODD), height=20)


def without_commas(name: str) -> str:
    return " ".join(clean_text(name).replace(",", " ").split())


def bare(name: str) -> str:
    return bare_phrase(clean_text(name))


def as_loaded(name: str) -> str:
    """A capital that becomes two characters gives up its dot."""
    return bare(name).replace("İ", "I")


def json_names(read: Callable[..., list[Entry]], stem: str) -> Callable[[Path], list[str]]:
    def names(folder: Path) -> list[str]:
        (entry,) = read(folder, batch="b", images="", annotations=f"{stem}_train.json")
        return labels(entry.annotations)

    return names


def labels(boxes: tuple[AnnotatedBox, ...]) -> list[str]:
    return [box.label for box in sorted(boxes, key=lambda box: box.box_xyxy)]


def lines_names(folder: Path) -> list[str]:
    (entry,) = list_odvg(folder, batch="b", images="", annotations="odvg_train.jsonl")
    return labels(entry.annotations)


def grit_names(folder: Path) -> list[str]:
    (entry,) = list_grit(folder, batch="b", images="", annotations="grit_train.parquet")
    return labels(entry.annotations)


def voc_names(folder: Path) -> list[str]:
    return labels(read_voc(folder / "Annotations" / "a.xml").boxes)


def yolo_names(folder: Path) -> list[str]:
    names = read_class_names(folder / "data.yaml")
    return labels(read_yolo(folder / "labels" / "a.txt", (10 * len(ODD), 20), names))


def csv_names(folder: Path) -> list[str]:
    (image,) = read_edited(folder / "objects.csv")
    return [one.name for one in image.objects]


READ: dict[str, tuple[Callable[[Path], list[str]], Names]] = {
    "coco": (json_names(list_coco, "instances"), clean_text),
    "lvis": (json_names(list_lvis, "lvis"), clean_text),
    "voc": (voc_names, clean_text),
    "yolo": (yolo_names, clean_text),
    "csv": (csv_names, clean_text),
    "generateu": (json_names(list_generateu, "generateu"), without_commas),
    "groundingcap": (lines_names, as_loaded),
    "odvg-mmdet": (lines_names, as_loaded),
    "odvg-opengdino": (lines_names, bare),
    "grit": (grit_names, bare),
}


@pytest.mark.parametrize("name", WRITERS)
def test_odd_names_come_back(tmp_path: Path, name: str) -> None:
    left_out = WRITERS[name]([image_of_all()], tmp_path)
    read, as_read = READ[name]
    assert read(tmp_path) == [as_read(one) for one in ODD]
    assert not [what for what in left_out if what.startswith("box")]
