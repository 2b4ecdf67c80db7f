"""Every format of a card is read, and the same truth comes out of each."""

import inspect
import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from opendet.curate.source import Checked, SourceChecker, SourceConfig
from opendet.exports.formats import WRITERS
from opendet.record import Provenance, Record, Region
from opendet.sources.batches import PARAMETERS, READERS, list_batch, require_worth
from opendet.sources.card import USED, Batch, Format, SourceCard

WIDTH, HEIGHT = 64, 48
SOURCE = Provenance("source")
LABELS = ("mug", "red star", "dog")

BATCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "coco": ("coco", {"annotations": "instances_train.json"}),
    "lvis": ("lvis", {"annotations": "lvis_train.json"}),
    "voc": ("voc", {"annotations": "Annotations"}),
    "yolo": ("yolo", {"annotations": "data.yaml"}),
    "generateu": ("generateu", {"annotations": "generateu_train.json"}),
    "groundingcap": ("odvg", {"annotations": "odvg_train.jsonl"}),
    "odvg-mmdet": ("odvg", {"annotations": "odvg_train.jsonl"}),
    "odvg-opengdino": ("odvg", {"annotations": "odvg_train.jsonl"}),
    "grit": ("grit", {"annotations": "grit_train.parquet"}),
}
"""Format of an export -> format of the batch that reads it, and where its annotations are."""


@pytest.mark.parametrize("name", [one for one in get_args(Format) if one != "scenes"])
def test_every_format_has_a_reader_that_its_fields_fit(name: str) -> None:
    parameters = set(inspect.signature(READERS[name]).parameters) - {"root", "batch"}
    assert parameters == {PARAMETERS.get(field, field) for field in USED[name]}
    assert set(USED[name]) <= Batch.model_fields.keys()


def test_a_field_that_the_format_has_no_use_for_is_a_mistake() -> None:
    batch = {"name": "b", "split": "train", "annotations": "a.json", "list": "val.txt"}
    card = {"name": "x", "licence": "MIT", "format": "coco", "root": "r", "batches": [batch]}
    with pytest.raises(ValidationError, match=r"format coco has no use for `list`.*voc, yolo"):
        SourceCard.model_validate(card)


def truth() -> list[Record]:
    """Four images with one to four boxes each."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(4):
        corners = rng.integers(0, [WIDTH - 20, HEIGHT - 20], size=(number + 1, 2))
        sides = rng.integers(4, 20, size=(number + 1, 2))
        regions = [
            Region((x, y, x + w, y + h), SOURCE, label=LABELS[place % 3])
            for place, ((x, y), (w, h)) in enumerate(
                zip(corners.astype(float).tolist(), sides.tolist(), strict=True)
            )
        ]
        file = f"{number:09d}.jpg"
        records.append(
            Record(
                f"b-{number:09d}", "toy", "b", "train", "MIT", file, "jpg", 1, "0" * 64,
                WIDTH, HEIGHT, regions=tuple(regions),
            )
        )  # fmt: skip
    return records


def draw_images(folder: Path, records: list[Record], shrunk: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        file = io.BytesIO()
        Image.effect_noise((WIDTH // shrunk, HEIGHT // shrunk), 80).save(file, "JPEG")
        (folder / record.file).write_bytes(file.getvalue())


def imported(root: Path, form: str, fields: dict[str, Any]) -> list[Record]:
    card = card_of(root, form, **fields)
    listed = list_batch(card, card.batches[0], root)
    results = SourceChecker(SourceConfig(), card, root)(listed)
    assert all(isinstance(one, Checked) for one in results), results
    return [one.record for one in results if isinstance(one, Checked)]


@pytest.mark.parametrize("export", BATCHES)
def test_the_same_truth_comes_out_of_every_format(export: str, tmp_path: Path) -> None:
    records, (form, fields) = truth(), BATCHES[export]
    WRITERS[export](records, tmp_path)
    draw_images(tmp_path / "images", records)
    read = imported(tmp_path, form, fields)
    assert [one.key for one in read] == [one.key for one in records]
    for one, wanted in zip(read, records, strict=True):
        found = sorted((region.label, region.box_xyxy) for region in one.regions)
        told = sorted((region.label, region.box_xyxy) for region in wanted.regions)
        assert [label for label, _ in found] == [label for label, _ in told]
        np.testing.assert_allclose([box for _, box in found], [box for _, box in told], atol=1e-3)


def test_boxes_of_grit_follow_an_image_that_was_made_smaller(tmp_path: Path) -> None:
    records, (form, fields) = truth(), BATCHES["grit"]
    WRITERS["grit"](records, tmp_path)
    draw_images(tmp_path / "images", records, shrunk=2)
    for one, wanted in zip(imported(tmp_path, form, fields), records, strict=True):
        found = sorted(region.box_xyxy for region in one.regions)
        told = sorted(region.box_xyxy for region in wanted.regions)
        np.testing.assert_allclose(found, np.array(told) / 2, atol=1e-3)


def card_of(root: Path, form: str, **fields: Any) -> SourceCard:
    batch = {"name": "b", "split": "train", "images": "images", **fields}
    return SourceCard.model_validate(
        {"name": "toy", "licence": "MIT", "format": form, "root": str(root), "batches": [batch]}
    )


def mistake(root: Path, form: str, **fields: Any) -> str:
    card = card_of(root, form, **fields)
    with pytest.raises(ValueError, match="source toy, batch b: ") as caught:
        list_batch(card, card.batches[0], root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_folder_that_is_missing_and_its_key_are_named(tmp_path: Path) -> None:
    images = tmp_path / "set" / "images"
    assert f"no folder {tmp_path}/set (root is" in mistake(
        tmp_path / "set", "voc", annotations="xml"
    )
    (tmp_path / "set").mkdir()
    said = mistake(tmp_path / "set", "voc", annotations="xml")
    assert f"no folder of images {images}: mend its `images`, images, in" in said
    images.write_text("a file")
    said = mistake(tmp_path / "set", "voc", annotations="xml")
    assert f"no folder of images {images} (it is a file): mend" in said
    images.unlink()
    images.mkdir()
    said = mistake(tmp_path / "set", "voc", annotations="xml")
    assert f"no folder of annotations {tmp_path}/set/xml: mend its `annotations`, xml, in" in said


def test_a_batch_that_lists_nothing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "xml").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    (tmp_path / "a.jsonl").write_text("\n")
    images = tmp_path / "images"
    assert f"{images} lists no image: mend its `images`" in mistake(tmp_path, "folder")
    said = mistake(tmp_path, "voc", annotations="xml", list="list.txt")
    assert "list.txt lists no image: mend its `list`" in said
    (tmp_path / "names.txt").write_text("dog")
    assert f"{images} lists no image" in mistake(tmp_path, "yolo", annotations="names.txt")
    said = mistake(tmp_path, "odvg", annotations="a.jsonl")
    assert "a.jsonl lists no image: mend its `annotations`" in said


def test_a_batch_without_good_images_or_boxes_is_a_mistake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = card_of(tmp_path, "coco", annotations="a.json")
    (batch,) = card.batches
    require_worth(card, batch, images=2, boxes=1, texts=0, refused={"missing file": 9})
    with pytest.raises(
        ValueError, match=r"b: no image of it can be taken \(9 missing file\): mend"
    ):
        require_worth(card, batch, images=0, boxes=0, texts=0, refused={"missing file": 9})
    with pytest.raises(
        ValueError, match=r"none of its 2 images has a box: mend .*`format: folder`"
    ):
        require_worth(card, batch, images=2, boxes=0, texts=0, refused={})
    assert not caplog.text
    require_worth(card, batch, images=2, boxes=0, texts=1, refused={})
    assert "none of its 2 images has a box, only texts" in caplog.text
    folder = card_of(tmp_path, "folder")
    require_worth(folder, folder.batches[0], images=2, boxes=0, texts=0, refused={})
