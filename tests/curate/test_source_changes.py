"""What a batch was made from is noticed when it changes, and what it lacks is said."""

import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opendet.curate.source import SourceConfig
from opendet.flow import run
from opendet.intake import check_stage, plan
from opendet.record import Record
from opendet.schema import read_records
from opendet.sources.card import Batch, SourceCard
from opendet.work import WorkFolder

XML = """<annotation><size><width>40</width><height>24</height></size><object><name>dog</name>
<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"""
FORMATS: dict[str, dict[str, str]] = {
    "voc": {"annotations": "xml", "list": "list.txt"},
    "yolo": {"annotations": "data.yaml", "list": "list.txt"},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images", "xml", "labels"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate("ab"):
        file = io.BytesIO()
        Image.effect_noise((40, 24), 80 + number).save(file, "PNG")
        (tmp_path / "images" / f"{name}.png").write_bytes(file.getvalue())
        (tmp_path / "xml" / f"{name}.xml").write_text(XML)
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [dog, cat]\n")
    return tmp_path


def card_of(form: str, **fields: Any) -> SourceCard:
    batch = {"name": "b", "split": "train", "images": "images", **fields}
    return SourceCard.model_validate(
        {"name": "x", "licence": "MIT", "format": form, "root": ".", "batches": [batch]}
    )


def list_all(root: Path, form: str) -> SourceCard:
    (root / "list.txt").write_text("a\nb\n" if form == "voc" else "images/a.png\nimages/b.png\n")
    return card_of(form, **FORMATS[form])


def built(card: SourceCard, root: Path) -> tuple[list[Record], int]:
    """The records of the source stage, and how many chunks had to be checked for them."""
    config = SourceConfig()
    checks, work = WorkFolder(root / "checks"), WorkFolder(root / "work")
    stage, tasks = check_stage(card, config, root=root, checks=checks, fingerprint="f")
    checked = run(stage, tasks, checks, actors=0)
    planned = plan(card, config, checked, checks, work)
    records = [
        record
        for part in planned.manifest.parts
        for name in part.files
        for record in read_records(work.part_folder(part.shard.name, part.files) / name)
    ]
    return records, checked.parts_made


def said(records: list[Record]) -> list[tuple[str, list[tuple[str | None, float]]]]:
    return [(one.key, [(box.label, box.box_xyxy[0]) for box in one.regions]) for one in records]


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name
        before = path.stat()
        path.write_text(path.read_text().replace(old, new))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


CHANGES: dict[str, tuple[str, Callable[[Path], None], Any]] = {
    "an XML file": (
        "voc",
        edit("xml/b.xml", "<xmin>3<", "<xmin>9<"),
        [("b-a", [("dog", 2)]), ("b-b", [("dog", 8)])],
    ),
    "VOC's list": ("voc", edit("list.txt", "a\n", ""), [("b-b", [("dog", 2)])]),
    "a label file": (
        "yolo",
        edit("labels/b.txt", "0 0.5 0.5", "1 0.6 0.5"),
        [("b-a", [("dog", 10)]), ("b-b", [("cat", 14)])],
    ),
    "class names": (
        "yolo",
        edit("data.yaml", "dog", "hen"),
        [("b-a", [("hen", 10)]), ("b-b", [("hen", 10)])],
    ),
    "YOLO's list": ("yolo", edit("list.txt", "images/a.png\n", ""), [("b-b", [("dog", 10)])]),
}


@pytest.mark.parametrize(("form", "change", "then"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_annotations_is_noticed_and_said(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    form: str,
    change: Callable[[Path], None],
    then: Any,
) -> None:
    card = list_all(root, form)
    first, made = built(card, root)
    assert (len(first), made) == (2, 1)
    assert built(card, root) == (first, 0)
    assert "not what it was" not in caplog.text
    change(root)
    records, made = built(card, root)
    assert (said(records), made) == (then, 1)
    (line,) = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert line.startswith("batch b is not what it was when it was built before: 1 of its chunks")


def test_a_change_is_said_once_and_not_of_other_batches(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = list_all(root, "yolo")
    built(card, root)
    edit("data.yaml", "dog", "hen")(root)
    built(card, root)
    caplog.clear()

    more = Batch(name="c", split="val", format="folder", root=".", licence="MIT", images="images")
    built(card.model_copy(update={"batches": (*card.batches, more)}), root)
    assert "not what it was" not in caplog.text


def test_what_does_not_change_the_records_redoes_nothing(root: Path) -> None:
    card = list_all(root, "yolo")
    built(card, root)
    (root / "data.yaml").write_text("# classes\nnames: {0: dog, 1: cat}\npath: elsewhere\n")
    os.utime(root / "labels" / "a.txt")
    (root / "labels" / "other.txt").write_text("0 0 0 1 1")
    assert built(card, root)[1] == 0


def test_a_label_file_that_comes_later_is_noticed(root: Path) -> None:
    card = list_all(root, "yolo")
    text = (root / "labels" / "b.txt").read_text()
    (root / "labels" / "b.txt").unlink()
    assert said(built(card, root)[0])[1] == ("b-b", [])
    (root / "labels" / "b.txt").write_text(text)
    assert said(built(card, root)[0])[1] == ("b-b", [("dog", 10)])


def test_a_batch_of_which_nothing_is_left_is_one_line(root: Path) -> None:
    card = list_all(root, "voc")
    for name in "ab":
        (root / "images" / f"{name}.png").unlink()
    with pytest.raises(
        ValueError, match=r"batch b: no image of it can be taken \(2 missing file\)"
    ):
        built(card, root)


def test_a_batch_without_a_box_is_one_line(root: Path) -> None:
    card = list_all(root, "yolo")
    for name in "ab":
        (root / "labels" / f"{name}.txt").write_text("")
    with pytest.raises(ValueError, match="batch b: none of its 2 images has a box: mend its anno"):
        built(card, root)
