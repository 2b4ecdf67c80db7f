"""The folder against FiftyOne's documented layout, and in FiftyOne itself where it is installed."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from opendet.exports.fiftyone import to_fiftyone
from tests.cli_world import SCENES, make_project, run_cli
from tests.shard_world import publish, samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("fiftyone") / "project", SCENES)
    parts = {"a-000000": samples(5), "b-000000": samples(3, batch="b", split="val")}
    publish(root / "datasets/tiny/shards", parts)
    ended = run_cli(root, "data", "export", "fiftyone", "out")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("out: 8 images, 5 objects written; fiftyone has no place for:")
    return root / "out"


def documents(folder: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((folder / "samples.json").read_text("utf-8"))["samples"]
    return read


def test_the_folder_has_the_documented_layout(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"metadata.json", "samples.json", "data"}
    metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    assert (metadata["name"], metadata["media_type"]) == ("tiny", "image")
    assert metadata["version"], "without one it would be taken for the format before all versions"
    images = {path.name for path in (folder / "data").iterdir()}
    assert {one["filepath"] for one in documents(folder)} == {f"data/{name}" for name in images}


def test_boxes_are_parts_of_the_image(folder: Path) -> None:
    one = documents(folder)[1]
    assert one["filepath"] == "data/a-0001.png"
    assert (one["tags"], one["opendet_key"]) == (["train"], "a-0001")
    size = one["metadata"]["width"], one["metadata"]["height"]
    assert size == (56, 46)
    [detection] = one["objects"]["detections"]
    assert detection["label"] == "thing"
    x, y, width, height = detection["bounding_box"]
    assert (x * 56, y * 46, width * 56, height * 46) == pytest.approx((4, 3, 20, 14))
    assert detection["confidence"] is None


def test_all_that_a_document_holds_is_a_declared_field(folder: Path) -> None:
    metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    fields = {one["db_field"]: one for one in metadata["sample_fields"]}
    [inner] = fields["objects"]["fields"]
    of_detections = {one["db_field"] for one in inner["fields"]}
    for one in documents(folder):
        assert {*one} == {*fields}
        assert {*one["metadata"]} - {"_cls"} == {
            each["name"] for each in fields["metadata"]["fields"]
        }
        for detection in one["objects"]["detections"]:
            assert {*detection} - {"_cls"} <= of_detections


def test_ids_are_of_24_digits_and_all_different(folder: Path) -> None:
    read = documents(folder)
    ids = [one["_id"]["$oid"] for one in read]
    ids += [each["_id"]["$oid"] for one in read for each in one["objects"]["detections"]]
    assert len({*ids}) == len(ids) == 13
    assert all(len(one) == 24 and int(one, 16) >= 0 for one in ids)
    assert all(0 <= one["_rand"] < 1 for one in read)


def test_nothing_to_show_is_still_json(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", SCENES)
    publish(root / "datasets/tiny/shards", {"a-000000": []})
    assert run_cli(root, "data", "export", "fiftyone", "out").code == 0
    assert documents(root / "out") == []


@pytest.mark.skipif(find_spec("fiftyone") is not None, reason="FiftyOne is installed")
def test_without_fiftyone_there_is_a_line(folder: Path) -> None:
    with pytest.raises(ValueError, match="FiftyOne is not installed: pip install fiftyone"):
        to_fiftyone(folder, "open-det-test")


def test_fiftyone_reads_it(folder: Path) -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    name = "open-det-test"
    if fiftyone.dataset_exists(name):
        fiftyone.delete_dataset(name)
    dataset = to_fiftyone(folder, name)
    try:
        assert len(dataset) == 8
        assert dataset.count("objects.detections") == 5
        assert dataset.match_tags("val").count() == 3
    finally:
        dataset.delete()
