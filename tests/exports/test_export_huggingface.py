"""The Parquet folder as `datasets` reads it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from opendet.build import Build
from opendet.exports.huggingface import write_huggingface
from opendet.exports.huggingface_schema import COLUMNS, schema_of
from opendet.exports.shard_records import ShardRecords
from opendet.record import Phrase, Region
from opendet.sample import Sample
from opendet.shard_set import ShardSet
from tests.cli_world import SCENES, make_project, run_cli
from tests.shard_world import SOURCE, painted, publish, region, samples

datasets = pytest.importorskip("datasets", reason="pip install datasets")


def two_named() -> Sample:
    """A refused region between two that are kept; the caption speaks of all."""
    regions = (
        replace(region((4, 4, 20, 20), "dog"), names=("dog", "hound"), agreement=0.5),
        region((1, 1, 9, 9), "spot", "border"),
        Region((30, 10, 44, 30), SOURCE, names=("cat",), description="a cat", crowd=True),
    )
    sample = painted("a-9999", regions=regions, image_format="jpg")
    phrases = (Phrase(2, 13, (0, 1, 2), SOURCE), Phrase(0, 1, (1,), SOURCE))
    return Sample(replace(sample.record, phrases=phrases, tags=("x",)), content=sample.content)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("hub") / "project", SCENES)
    train = sorted([*samples(9), two_named()], key=lambda one: one.key)
    parts = {"a-000000": train, "b-000000": samples(4, batch="b", split="val")}
    publish(root / "datasets/tiny/shards", parts)
    ended = run_cli(root, "data", "export", "huggingface", "hub")
    assert ended.code == 0, ended.err
    assert ended.out == (
        "hub: 14 images, 11 objects written; huggingface has no place for: 10 other labels; "
        "dropped: 10 refused boxes\n"
    )
    return root


def loaded(folder: Path, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def test_load_dataset_reads_images_and_objects(project: Path, tmp_path: Path) -> None:
    data = loaded(project / "hub", tmp_path)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 10, "val": 4}
    row = data["train"][9]
    assert (row["key"], row["image"].size, row["image"].format) == ("a-9999", (64, 48), "JPEG")
    assert (row["width"], row["height"], row["licence"], row["tags"]) == (64, 48, "CC0-1.0", ["x"])
    objects = row["objects"]
    assert objects["bbox"] == [[4, 4, 16, 16], [30, 10, 14, 20]]
    assert objects["area"] == [256, 280]
    categories = data["train"].features["objects"]["category"].feature
    assert [categories.int2str(one) for one in objects["category"]] == ["dog", "cat"]
    assert objects["other_names"] == [["hound"], []]
    assert (objects["iscrowd"], objects["description"]) == ([False, True], ["", "a cat"])
    assert (objects["score"], objects["agreement"]) == ([None, None], [0.5, None])
    assert row["phrases"] == [
        {"text": "white thing", "start": 2, "end": 13, "objects": [0, 1]},
        {"text": "a", "start": 0, "end": 1, "objects": []},
    ]
    ids = [one for rows in data.values() for each in rows["objects"] for one in each["id"]]
    assert sorted(ids) == list(range(11))


def test_the_features_are_typed(project: Path, tmp_path: Path) -> None:
    features = loaded(project / "hub", tmp_path)["train"].features
    assert isinstance(features["image"], datasets.Image)
    objects = features["objects"]
    assert objects["category"].feature.names == ["cat", "dog", "thing"]
    assert (objects["bbox"].feature.length, objects["bbox"].feature.feature.dtype) == (4, "float64")
    assert {*features} == {*COLUMNS.names}
    assert objects["iscrowd"].feature.dtype == "bool"


def test_our_own_description_is_the_one_that_datasets_would_write() -> None:
    written = json.loads(schema_of(["a"]).metadata[b"huggingface"])["info"]["features"]
    read = datasets.Features.from_dict(written)
    assert read.to_dict() == written
    assert read.arrow_schema.remove_metadata() == COLUMNS


def test_parquet_alone_is_enough(project: Path, tmp_path: Path) -> None:
    path = project / "hub/data/val-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path))
    assert len(rows) == 4
    assert rows[0]["image"].size == (48, 40)


def test_the_images_are_the_sources_own_bytes(project: Path) -> None:
    table = pq.read_table(project / "hub/data/train-00000-of-00001.parquet")
    last = table.to_pylist()[-1]
    assert last["image"] == {"bytes": two_named().content, "path": "a-9999.jpg"}


def test_the_card_is_there(project: Path) -> None:
    text = (project / "hub/README.md").read_text("utf-8")
    assert text.startswith("---\n")
    assert json.loads((project / "hub/croissant.json").read_text("utf-8"))


def test_refused_boxes_and_one_split(project: Path, tmp_path: Path) -> None:
    ended = run_cli(
        project, "data", "export", "huggingface", "all", "--refused", "--split", "train"
    )
    assert ended.code == 0, ended.err
    assert ended.out.startswith("all: 10 images, 15 objects written")
    data = loaded(project / "all", tmp_path)
    assert {*data} == {"train"}
    assert data["train"][9]["phrases"][1]["objects"] == [1]


def test_a_budget_of_bytes_makes_several_files(project: Path, tmp_path: Path) -> None:
    build = Build.open(root=project)
    shards = ShardSet.open(build.stage_folder("shards"))
    records = ShardRecords(shards, refused=False)
    size = sum(len(shards.sample(index).content) for index in range(10))
    for name in ("one", "two"):
        write_huggingface(records, tmp_path / name, build, file_bytes=size // 3)
    names = sorted(path.name for path in (tmp_path / "one/data").glob("train*"))
    count = len(names)
    assert 2 < count < 5
    assert names == [f"train-{n:05d}-of-{count:05d}.parquet" for n in range(count)]
    data = loaded(tmp_path / "one", tmp_path / "cache")
    assert data["train"]["key"][:] == shards.keys[:10]
    for path in sorted((tmp_path / "one/data").iterdir()):
        assert path.read_bytes() == (tmp_path / "two/data" / path.name).read_bytes()


def test_the_image_of_a_damaged_shard_is_one_line(project: Path, tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", SCENES)
    publish(root / "datasets/tiny/shards", {"a-000000": samples(3)})
    shards = ShardSet.open(root / "datasets/tiny/shards")
    records = ShardRecords(shards, refused=False)
    one = next(iter(records))
    assert records.content_of(one) == shards.sample(0).content
    path = root / "datasets/tiny/shards/a-000000.tar"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="was changed while it was in use"):
        records.content_of(one)


def test_no_image_is_one_line(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", SCENES)
    publish(root / "datasets/tiny/shards", {"a-000000": []})
    ended = run_cli(root, "data", "export", "huggingface", "hub")
    assert (ended.code, ended.line) == (1, "the shards have no image that could be exported")
    assert not (root / "hub").exists()


def test_an_image_file_opens(project: Path) -> None:
    from PIL import Image

    table = pq.read_table(project / "hub/data/val-00000-of-00001.parquet")
    for row in table.to_pylist():
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert image.size == (row["width"], row["height"])
