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
from opendet.sources.batches import PARAMETERS, READERS, list_batch
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


def draw_images(folder: Path, records: list[Record]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        file = io.BytesIO()
        Image.effect_noise((WIDTH, HEIGHT), 80).save(file, "JPEG")
        (folder / record.file).write_bytes(file.getvalue())


def imported(root: Path, form: str, fields: dict[str, Any]) -> list[Record]:
    batch = {"name": "b", "split": "train", "images": "images", **fields}
    card = SourceCard.model_validate(
        {"name": "toy", "licence": "MIT", "format": form, "root": str(root), "batches": [batch]}
    )
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
