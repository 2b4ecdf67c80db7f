"""A source whose images lie at an address is the source that it would be on a disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from opendet.build import Build, counts_of
from opendet.object_store import images as images_module
from opendet.object_store.errors import StoreError
from opendet.object_store.image_cache import GIGABYTES
from opendet.object_store.store import Store, open_store
from opendet.sources.card import SourceCard
from tests.cli_world import COCO, make_project, picture, run_cli, write_pictures
from tests.object_store.s3_server import BUCKET


def coco_at(address: str) -> dict[str, Any]:
    [batch] = COCO["batches"]
    return {**COCO, "batches": [{**batch, "images": address}]}


def folder_at(address: str) -> dict[str, Any]:
    batch = {"name": "own", "split": "train", "images": address}
    return {"name": "own", "licence": "MIT", "format": "folder", "batches": [batch]}


def move_images(folder: Path, address: str) -> Store:
    """Bring a folder's images to a store, and from the disk."""
    store = open_store(address)
    for path in folder.glob("*.jpg"):
        store.upload(path, path.name)
        path.unlink()
    return store


def parts_of(project: Path, stage: str) -> dict[str, str]:
    """Every file of a stage's parts -> its hash."""
    parts = Build.open("tiny", root=project).manifest(stage).parts
    return {name: stamp.sha256 for part in parts for name, stamp in part.files.items()}


@pytest.mark.parametrize(
    "stages", [("source",), pytest.param(("--until", "shards"), marks=pytest.mark.slow)]
)
def test_a_build_from_s3_has_the_bytes_of_one_from_a_disk(
    server: str, tmp_path: Path, stages: tuple[str, ...]
) -> None:
    address = f"s3://{BUCKET}/{stages[-1]}"
    here = make_project(tmp_path / "here", COCO)
    there = make_project(tmp_path / "there", coco_at(address))
    for project in (here, there):
        write_pictures(project)
    move_images(there / "pictures", address)
    on_ray = ["--actors", "2"] if len(stages) > 1 else []
    assert run_cli(here, "data", "build", *stages).code == 0
    assert run_cli(there, "data", "build", *stages, *on_ray).code == 0
    last = stages[-1]
    assert parts_of(there, last) == parts_of(here, last)


def test_every_file_at_an_address_is_kept_or_has_a_reason(tmp_path: Path) -> None:
    address = (tmp_path / "store").as_uri()
    store = open_store(address)
    large = picture(5, (400, 300), "PNG")
    files = {
        "a.jpg": picture(0),
        "deep/er/b.png": picture(1, kind="PNG"),
        "broken.jpg": picture(2)[:-40],
        "empty.jpg": b"",
        "notes.txt": b"no image",
        "twin.jpg": picture(0),
        "large.png": large,
        ".hidden.jpg": picture(3),
    }
    for name, content in files.items():
        store.write(content, name)
    config = {"source": {"max_bytes": len(large) - 1}}
    project = make_project(tmp_path / "project", folder_at(address), config)
    assert run_cli(project, "data", "build", "source").code == 0
    build = Build.open("tiny", root=project)
    told = counts_of(build.manifest("source"))
    assert (told["images_in"], told["images_out"]) == (7, 2)
    assert told["dropped"] == {
        "empty file": 1,
        "exact duplicate": 1,
        "file too large": 1,
        "format not allowed": 1,
        "truncated image": 1,
    }
    [record, _] = build.records("source")
    assert record.file == "a.jpg"  # below the address, as a local one is below its root


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Store]:
    """A project whose six images lie in a local store, and that store."""
    address = (tmp_path / "store").as_uri()
    project = make_project(tmp_path / "project", coco_at(address))
    write_pictures(project)
    return project, move_images(project / "pictures", address)


def test_a_changed_object_is_refused_where_no_cache_has_the_old_one(
    stored: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = stored
    assert run_cli(project, "data", "build", "source").code == 0
    build = Build.open("tiny", root=project)
    record = next(build.records("source"))
    old = store.read(record.file)
    for other in (picture(99), old + b"longer", old[:-1]):
        store.write(other, record.file)
        assert build.images().read(record) == old  # the cache's: these bytes were inspected
        with monkeypatch.context() as patch:
            patch.setenv(GIGABYTES, "0")
            with pytest.raises(ValueError, match=f"{record.key}: {record.file} changed since"):
                build.images().read(record)
    shutil.rmtree(project / ".opendet/images")
    with pytest.raises(ValueError, match="changed since"):
        build.images().read(record)
    store.file_system.rm(store.place(record.file))
    with pytest.raises(ValueError, match=r"its image is gone: put p0\.jpg back"):
        build.images().read(record)


def test_a_store_that_fails_ends_the_stage_and_quarantines_nothing(
    stored: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = stored
    monkeypatch.setattr(images_module, "PAUSES_S", ())
    sound = Store.read_beginning

    def fails_at_third(self: Store, name: str, most: int) -> bytes:
        if name == "p3.jpg":
            raise StoreError("the store cannot be reached: check the network")
        return sound(self, name, most)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read_beginning", fails_at_third)
        ended = run_cli(project, "data", "build", "source")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith("the store cannot be reached: check the network")
    assert not (project / "datasets/tiny/source").exists()
    assert run_cli(project, "data", "build", "source").code == 0
    assert counts_of(Build.open("tiny", root=project).manifest("source"))["quarantined"] == 0


def test_an_address_where_nothing_lies_is_told_before_anything_is_built(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", folder_at((tmp_path / "gone").as_uri()))
    ended = run_cli(project, "data", "build", "source")
    assert ended.code == 1
    assert "nothing lies there: mend the address" in ended.err.splitlines()[-1]


def test_an_address_without_images_is_told(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    store.write(b"", ".hidden")
    project = make_project(tmp_path / "project", folder_at(store.address))
    ended = run_cli(project, "data", "build", "source")
    assert ended.code == 1
    assert "lists no image: mend its `images`" in ended.err.splitlines()[-1]


def card(**batch: Any) -> SourceCard:
    batch = {"name": "b", "split": "train", "format": "folder", **batch}
    return SourceCard.model_validate({"name": "x", "licence": "MIT", "batches": [batch]})


def test_variables_stand_in_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    [batch] = card(images="s3://${BUCKET_OF_MINE}/photos").batches
    with pytest.raises(ValueError, match="needs the environment variable BUCKET_OF_MINE"):
        _ = batch.address
    monkeypatch.setenv("BUCKET_OF_MINE", "mine")
    assert batch.address == "s3://mine/photos"
    assert card(images="photos", root="data").batches[0].address == ""


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"images": "s3://b/x", "format": "coco", "annotations": "a.json"}, "needs `root`"),
        ({"images": "s3://b/../x"}, "leaves the batch's root"),
        ({"images": "s3://k:hush@b/x"}, "the address holds a password"),
        (
            {"images": "s3://b/x", "root": "r", "format": "voc", "annotations": "a"},
            "a batch of format voc cannot have its images at an address",
        ),
    ],
)
def test_what_cannot_be_at_an_address(batch: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        card(**batch)


def test_a_password_in_a_card_is_not_repeated(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", folder_at("s3://key:hush@bucket/x"))
    ended = run_cli(project, "data", "build", "source")
    assert ended.code == 1
    assert "holds a password" in ended.line
    assert "hush" not in json.dumps([ended.out, ended.err])
