"""Croissant files are valid, and mlcroissant reads the records that were written."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.build import Build
from opendet.cards.about import DatasetAbout
from opendet.cards.about_build import about_build
from opendet.cards.croissant import croissant_of
from opendet.cards.data_files import shard_files
from opendet.cards.dataset_card import write_dataset_cards
from opendet.shard_set import ShardSet
from tests.cards.card_world import ABOUT, EMPTY, HOSTILE
from tests.cli_world import picture

mlcroissant = pytest.importorskip("mlcroissant", reason="pip install mlcroissant")

ROWS: list[dict[str, Any]] = [
    {
        "image": {"bytes": picture(1), "path": "a.jpg"},
        "key": "a",
        "width": 64,
        "objects": {
            "bbox": [[1.0, 2.0, 3.5, 4.0], [0.0, 0.0, 9.0, 9.0]],
            "label": ["cat", HOSTILE],
        },
        "phrases": [{"text": "a cat", "start": 0}, {"text": "two", "start": 6}],
        "made": {"by": {"model": "m"}, "sure": True},
        "tags": ["x", "y"],
    },
    {
        "image": {"bytes": picture(2), "path": "b.jpg"},
        "key": "b",
        "width": 32,
        "objects": {"bbox": [], "label": []},
        "phrases": [],
        "made": {"by": {"model": "n"}, "sure": False},
        "tags": [],
    },
]


def exported(folder: Path, about: DatasetAbout, **tables: Sequence[dict[str, Any]]) -> Path:
    """A folder as an export leaves it: split -> rows."""
    (folder / "data").mkdir(parents=True)
    schema = pa.Table.from_pylist(ROWS).schema
    for split, rows in tables.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    write_dataset_cards(folder, about)
    return folder / "croissant.json"


def troubles(path: Path | dict[str, Any]) -> tuple[set[str], set[str]]:
    """Errors are raised; (errors, warnings) that are told."""
    issues = mlcroissant.Dataset(jsonld=path).metadata.ctx.issues
    return issues.errors, issues.warnings


def plain(value: Any) -> Any:
    """A record of mlcroissant's without the names of its record set."""
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def test_an_export_is_valid_and_its_records_come_back(tmp_path: Path) -> None:
    about = replace(ABOUT, published="2026-11-22")
    path = exported(tmp_path / "out", about, train=ROWS[:1], val=ROWS[1:])
    assert troubles(path) == (set(), set())
    found = [plain(one) for one in mlcroissant.Dataset(jsonld=path).records("samples")]
    assert [one.pop("image").size for one in found] == [(64, 48), (64, 48)]
    for one, row, split in zip(found, ROWS, ("train", "val"), strict=True):
        wanted = {key: row[key] for key in row if key != "image"}
        made = {"by.model": row["made"]["by"]["model"], "sure": row["made"]["sure"]}
        assert one == {**wanted, "made": made, "split": split}


def test_one_split_can_be_asked_for(tmp_path: Path) -> None:
    path = exported(tmp_path / "out", ABOUT, train=ROWS[:1], val=ROWS[1:])
    chosen = mlcroissant.Dataset(jsonld=path).records("samples", filters={"samples/split": "val"})
    assert [plain(one)["key"] for one in chosen] == ["b"]


def test_without_a_date_that_alone_is_missed(tmp_path: Path) -> None:
    errors, (warning,) = troubles(exported(tmp_path / "out", ABOUT, train=ROWS))
    assert not errors
    assert "datePublished" in warning


@pytest.mark.parametrize("about", [ABOUT, EMPTY])
def test_it_is_valid_without_files(about: DatasetAbout) -> None:
    assert troubles(croissant_of(replace(about, published="2026-11-22"))) == (set(), set())


def test_what_mlcroissant_does_with_it_changes_no_other() -> None:
    before = json.dumps(croissant_of(ABOUT))
    troubles(croissant_of(ABOUT))
    assert json.dumps(croissant_of(ABOUT)) == before


def test_models_are_told_with_their_licences() -> None:
    told = croissant_of(ABOUT)["rai:machineAnnotationTools"]
    assert told == ["a/known 12ab, licence: Apache-2.0", f"b/{HOSTILE}, licence: unknown"]


def test_a_known_licence_is_an_address_and_another_is_as_the_data_says() -> None:
    assert croissant_of(ABOUT)["license"] == [
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "my own | terms",
    ]
    assert croissant_of(EMPTY)["license"] == ["unknown"]


def test_each_file_is_told_with_what_it_weighs_and_hashes_to(tmp_path: Path) -> None:
    path = exported(tmp_path / "out", ABOUT, train=ROWS)
    [file] = [one for one in json.loads(path.read_text())["distribution"] if "sha256" in one]
    content = (path.parent / file["contentUrl"]).read_bytes()
    assert file["contentSize"] == f"{len(content)} B"
    assert file["sha256"] == hashlib.sha256(content).hexdigest()


def released(project: Path, folder: Path) -> tuple[Build, Path]:
    """The build's cards with its shards beside them."""
    build = Build.open("tiny", root=project)
    folder.mkdir()
    (folder / "shards").symlink_to(build.stage_folder("shards"))
    about = replace(about_build(build), files=shard_files(build), published="2026-11-22")
    write_dataset_cards(folder, about)
    return build, folder / "croissant.json"


def test_shards_are_valid_with_the_hashes_of_the_manifest(finished: Path, tmp_path: Path) -> None:
    build, path = released(finished, tmp_path / "out")
    assert troubles(path) == (set(), set())
    told = {
        one["contentUrl"]: one["sha256"]
        for one in json.loads(path.read_text())["distribution"]
        if "sha256" in one
    }
    assert told == {
        f"shards/{name}": stamp.sha256
        for part in build.manifest("shards").parts
        for name, stamp in part.files.items()
        if name.endswith(".tar")
    }


READ = """
import json, sys, mlcroissant
data = mlcroissant.Dataset(jsonld=sys.argv[1])
sizes = {one["images/key"].decode(): one["images/image"].size for one in data.records("images")}
found = list(data.records("records"))
told = {one["records/key"].decode(): json.loads(one["records/record"])["key"] for one in found}
print(json.dumps([sizes, told]))
"""


@pytest.mark.slow
def test_the_members_of_shards_come_back(finished: Path, tmp_path: Path) -> None:
    """In a process of its own: mlcroissant unpacks tar files in a cache that it finds at import."""
    build, path = released(finished, tmp_path / "out")
    environment = {**os.environ, "CROISSANT_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", READ, str(path)], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    sizes, told = json.loads(ran.stdout)
    keys = ShardSet.open(build.stage_folder("shards")).keys
    assert sizes == {key: [64, 48] for key in keys}
    assert told == {key: key for key in keys}
