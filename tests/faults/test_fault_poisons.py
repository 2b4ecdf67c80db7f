"""Poison samples: each class is told from a good one, and a wrong fate would be seen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.faults import poisoned, poisoned_source
from opendet.faults.odd_files import (
    judge_images,
    looked_at,
    policy,
    refused_as_shard,
    shared_data,
)
from opendet.faults.poisoned_source import fates_of, poisoned_sources, wrong_of
from opendet.faults.poisons import Poison, Wanted, poisons
from opendet.faults.rows import Effort, Tally
from opendet.faults.toy_build import write_shard
from opendet.faults.toy_project import encoded, picture
from opendet.faults.toy_shards import write_toy_shards
from opendet.record import Record

CLASSES = {poison.name: poison for poison in poisons()}


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_ends_as_it_must(name: str, tmp_path: Path) -> None:
    assert wrong_of(CLASSES[name], tmp_path) == ("", 0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("CMYK", Wanted(colour=(10, 10, 200))),
        ("turned by EXIF", Wanted(size=(64, 48))),
        ("a box of NaN", Wanted(counted={"box.inverted": 1}, box_xyxy=None)),
        ("a key twice", Wanted()),
        ("an empty caption", Wanted(refusal="captions.json")),
        ("JSON not UTF-8", Wanted()),
    ],
)
def test_another_end_is_a_problem(name: str, wrong: Wanted, tmp_path: Path) -> None:
    assert wrong_of(replace(CLASSES[name], wanted=wrong), tmp_path)[0]


def test_a_crash_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyError("oh")

    monkeypatch.setattr(poisoned_source, "sourced", crash)
    assert wrong_of(CLASSES["CMYK"], tmp_path)[0] == "KeyError: 'oh'"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda records: records[:-1], id="one is lost"),
        pytest.param(lambda records: [*records, records[-1]], id="one is doubled"),
        pytest.param(lambda records: [*records[:-1], records[0]], id="one in another's place"),
    ],
)
def test_a_part_that_is_not_what_its_commit_record_says_is_a_problem(
    changed: Callable[[Sequence[Record]], Sequence[Record]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(folder: Path, shard: str, records: Sequence[Record]) -> None:
        write_shard(folder, shard, changed(records))

    monkeypatch.setattr(poisoned, "write_shard", write)
    shown = poisoned.raising_samples(Effort(tmp_path, share=0.01))
    assert not shown.good
    assert "samples unaccounted for" in shown.problems[0]
    assert not shown.figure.startswith("0 ")


def test_without_other_projects_files_the_row_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one: tuple[Poison, ...] = (CLASSES["an empty file"],)
    monkeypatch.setattr(poisoned_source, "poisons", lambda: one)
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(tmp_path))
    assert shared_data() is None
    shown = poisoned_sources(Effort(tmp_path))
    assert shown.holds
    assert shown.tries == 1
    assert "set OPENDET_SHARED_DATA" in shown.figure


def test_fates_of_files_follow_the_policy(tmp_path: Path) -> None:
    jpeg, small = encoded(picture(1)), encoded(picture(2, (8, 40)))
    files = {"a": jpeg, "b": jpeg, "c": b"GIF89a", "d": small, "e": jpeg[:-200], "f": b""}
    fates = fates_of(tmp_path, files)
    assert fates == {
        "a": "kept as 64x48",
        "b": "exact duplicate",
        "c": "format not allowed",
        "d": "image too small",
        "e": "truncated image",
        "f": "empty file",
    }
    whole = {"status": "ok", "size": [64, 48], "frames": 1}
    assert "kept as 64x48" in policy(jpeg, whole, set())
    assert policy(jpeg, {**whole, "size": [64, 8]}, set()) == ["image too small"]
    assert policy(jpeg, {**whole, "status": "OSError: truncated"}, set()) == ["truncated image"]
    assert policy(b"GIF89a", whole, set()) == ["format not allowed"]


def test_a_fate_that_is_not_the_policys_is_a_problem(shared_data: Path) -> None:
    tally = Tally()
    judge_images(tally, shared_data / "odd_images", lambda named: dict.fromkeys(named, "lost"))
    assert tally.tries > 200
    assert not tally.good


def test_a_shard_of_ours_is_no_odd_tar(tmp_path: Path) -> None:
    write_toy_shards(tmp_path / "shards", shards=1, each=2)
    path = tmp_path / "shards" / "a-000000.tar"
    assert refused_as_shard(path) == "it was taken"
    assert looked_at(path) == "the inspector found nothing wrong"
    path.write_bytes(path.read_bytes()[:-5000])
    assert not refused_as_shard(path)
    assert not looked_at(path)
