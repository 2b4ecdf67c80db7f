"""A person's own images: with boxes or without, described by a model or by nobody."""

from pathlib import Path
from typing import Any

import pytest
from clip_world import TINY, samples
from tiny_llava import save_tiny_llava

from opendet.curate.clip import build_clip
from opendet.manifest import read_manifest
from opendet.schema import read_records
from opendet.shard_set import ShardSet
from tests.cli_world import COCO, make_project, picture, run_cli, write_pictures

FOLDER = {
    "name": "mine",
    "licence": "MIT",
    "format": "folder",
    "root": "pictures",
    "batches": [{"name": "own", "split": "train"}],
}


@pytest.fixture(scope="module")
def asks_a_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The sections of a configuration whose captions and descriptions a model writes."""
    llava = save_tiny_llava(tmp_path_factory.mktemp("models") / "tiny-llava")
    model = {"model": str(llava), "device": "cpu", "max_new_tokens": 6}
    section = {"annotator": "vision_language", "vision_language": model}
    return {"caption": section, "describe": section}


def write_folder(project: Path, count: int = 5) -> None:
    (project / "pictures" / "below").mkdir(parents=True)
    for number in range(count):
        (project / "pictures" / "below" / f"{number}.jpg").write_bytes(picture(number))
    (project / "pictures" / "notes.txt").write_text("no image")


def test_a_plain_folder_that_nobody_describes_says_what_to_configure(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", FOLDER)
    write_folder(project)
    ended = run_cli(project, "data", "build")
    assert ended.code == 1
    said = ended.err.splitlines()[-1]
    assert said.startswith("caption kept none of 5 images (empty caption 5): ")
    assert "caption.annotator: vision_language or served" in said
    assert "caption.without_caption: keep" in said


def test_a_plain_folder_is_captioned_and_packed_without_objects(
    tmp_path: Path, asks_a_model: dict[str, Any]
) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    build_clip(samples(), TINY, seed=0, folder=clip)
    config = {**asks_a_model, "clip": {"model": str(clip)}}
    project = make_project(tmp_path / "project", FOLDER, config)
    write_folder(project)
    ended = run_cli(project, "data", "build")
    assert ended.code == 1
    assert "`opendet data build shards` packs them" in ended.err.splitlines()[-1]
    assert run_cli(project, "data", "build", "shards").code == 0
    assert run_cli(project, "data", "verify").code == 0
    shards = ShardSet.open(project / "datasets/tiny/shards", split="train")
    captioned = [shards.record(index) for index in range(len(shards))]
    assert accounted(project) == 6
    assert captioned
    assert all(record.caption and not record.regions for record in captioned)
    assert all(record.caption_from.model == "tiny-llava" for record in captioned)  # type: ignore[union-attr]
    trained = run_cli(project, "train", "--actors", "0")
    assert trained.code == 1
    assert "has an object to learn from" in trained.err.splitlines()[-1]


def test_boxes_without_a_worthy_name_are_named_by_a_model(
    tmp_path: Path, asks_a_model: dict[str, Any]
) -> None:
    project = make_project(tmp_path / "project", COCO, asks_a_model)
    write_pictures(project)
    ended = run_cli(project, "data", "build")
    assert ended.code == 0, ended.err
    assert run_cli(project, "data", "verify").code == 0
    assert accounted(project) == 6
    described = read_records(project / "datasets/tiny/describe/train-000000.parquet")
    regions = [region for record in described for region in record.regions if region.names]
    assert regions
    assert {region.names_from.model for region in regions} == {"tiny-llava"}  # type: ignore[union-attr]
    assert {region.names[0] for region in regions}.isdisjoint({"cat", "dog", "red car"})


def accounted(project: Path) -> int:
    """How many images came in; each stage takes what the one before gave."""
    stages = ("source", "caption", "regions", "describe", "embed", "verify", "filter", "shards")
    parts = [read_manifest(project / "datasets/tiny" / stage).parts for stage in stages]
    came = [sum(part.samples_in for part in one) for one in parts]
    went = [sum(part.samples_out for part in one) for one in parts]
    assert came[1:] == went[:-1]
    return came[0]
