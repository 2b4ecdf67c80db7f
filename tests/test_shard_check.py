"""Whatever happens to a folder of shards, `verify_shards` and the trainer's reader notice."""

import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world

from opendet.faults.damaged import KINDS, damage, reader_notices, webdataset_notices
from opendet.shard_check import verify_shards
from opendet.shards import write_shard


def count_found(tmp_path: Path, count: int, *, compare: bool) -> Counter[str]:
    whole = tmp_path / "whole"
    world.small_build(whole, shards=3, each=4)
    names = sorted(path.name for path in whole.glob("*.tar"))
    assert verify_shards(whole) == []
    assert not reader_notices(whole)
    found: Counter[str] = Counter()
    for number in range(count):
        broken = tmp_path / "broken"
        shutil.copytree(whole, broken)
        kind = KINDS[number % len(KINDS)]
        damage(broken, kind, random.Random(number))
        found[f"{kind}: verify"] += bool(verify_shards(broken))
        found[f"{kind}: reader"] += reader_notices(broken)
        found[f"{kind}: webdataset"] += compare and webdataset_notices(broken, names)
        found[kind] += 1
        shutil.rmtree(broken)
    return found


def assert_all_found(found: Counter[str]) -> None:
    for kind in KINDS:
        assert found[f"{kind}: verify"] == found[f"{kind}: reader"] == found[kind] > 0


def test_every_mutation_is_found(tmp_path: Path) -> None:
    assert_all_found(count_found(tmp_path, 100, compare=False))


@pytest.mark.slow
def test_a_thousand_mutations_beside_webdataset(tmp_path: Path) -> None:
    found = count_found(tmp_path, 1000, compare=True)
    for kind in KINDS:
        verify, reader, other = (
            found[f"{kind}: {who}"] for who in ("verify", "reader", "webdataset")
        )
        print(f"{kind}: of {found[kind]}: verify {verify}, reader {reader}, webdataset {other}")  # noqa: T201
    assert_all_found(found)


def test_surplus_and_missing_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    (out / "a-000007.tar").write_bytes(b"")
    (out / "a-000001.idx").unlink()
    (out / "a-000002.json").unlink()
    assert [problem.path.name for problem in verify_shards(out)] == [
        "a-000007.tar",
        "a-000001.idx",
        "a-000002.json",
    ]
    (out / "manifest.json").unlink()
    assert [problem.path.name for problem in verify_shards(out)] == ["manifest.json"]


def test_two_shards_may_be_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    damage(out, "swap", random.Random(0))
    assert len(verify_shards(out)) == 2


def test_committed_wrong_from_the_start(tmp_path: Path) -> None:
    """Hashes are right, content is not: what a bug of the writer or a forger would leave."""
    [sample, other] = world.samples(2)
    forged = replace(sample, content=other.content)
    cases = {
        "twice": {"a-000000": [sample], "a-000001": [sample]},
        "split": {"a-000000": [sample, replace(other, record=replace(other.record, split="val"))]},
    }
    for name, parts in cases.items():
        world.publish(tmp_path / name, parts)
        assert len(verify_shards(tmp_path / name)) == 1, name
    with pytest.raises(ValueError, match="not the one that its record names"):
        write_shard(tmp_path / "a.tar", [forged])


def test_commit_record_and_wids_index_must_agree(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    index = json.loads((out / "index.json").read_text())
    index["shardlist"][0]["nsamples"] += 1
    (out / "index.json").write_text(json.dumps(index))
    assert [problem.path.name for problem in verify_shards(out)] == ["index.json"]
    commit = out / "a-000000.json"
    commit.write_text(commit.read_text().replace('"split": "train"', '"split": "val"'))
    assert [problem.path.name for problem in verify_shards(out)] == ["a-000000.json"]
