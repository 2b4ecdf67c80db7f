"""Whatever happens to a folder of shards, `verify_shards` and the trainer's reader notice."""

import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shard_world as world

from opendet import manifest as manifests
from opendet.faults.damaged import KINDS, damage, reader_notices, webdataset_notices
from opendet.manifest import FileStamp, Manifest, commit_text, read_manifest, write_manifest
from opendet.shard_check import Problem, verify_shards
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
    first, second = (tmp_path / "twice" / f"a-00000{number}.tar" for number in (0, 1))
    said = f"{second}: key 'a-0000' is in {first.stem} too"
    assert verify_shards(tmp_path / "twice") == [Problem(second, said)]
    tar = tmp_path / "split" / "a-000000.tar"
    said = f"{tar}: a-0001 is of the split 'val'"
    assert verify_shards(tmp_path / "split") == [Problem(tar, said)]
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


def restamped(folder: Path, number: int, **fields: Any) -> Path:
    """The shard of a forger: manifest and commit record agree with what lies there now."""
    parts = list(read_manifest(folder).parts)
    part = parts[number]
    files = {name: FileStamp.of(folder / name) for name in part.files}
    parts[number] = replace(part, **({"files": files} | fields))
    (folder / f"{part.shard.name}.json").write_text(commit_text(parts[number]))
    write_manifest(folder, Manifest("shards", "toy", tuple(parts)))
    (folder / "index.json").unlink(missing_ok=True)
    return folder / f"{part.shard.name}.tar"


def test_what_lies_inside_is_compared_with_the_index_and_the_counts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    index = out / "a-000001.idx"
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0], *lines[2:], lines[1]]) + "\n")
    tar = restamped(out, 1)
    assert verify_shards(out) == [Problem(tar, f"{tar}: its .idx speaks of other members")]

    world.small_build(tmp_path / "counted")
    tar = restamped(tmp_path / "counted", 2, samples_in=6, samples_out=6)
    said = f"{tar}: 5 samples, the manifest says 6"
    assert verify_shards(tmp_path / "counted") == [Problem(tar, said)]

    world.publish(tmp_path / "none", {"a-000000": []})
    assert verify_shards(tmp_path / "none") == []
    tar = restamped(tmp_path / "none", 0, samples_in=1, samples_out=1)
    said = f"{tar}: 0 samples, the manifest says 1"
    assert verify_shards(tmp_path / "none") == [Problem(tar, said)]


def test_every_problem_is_told_with_its_path(tmp_path: Path) -> None:
    """All files of a part are looked at, and the other parts, and the list of wids only at last."""
    out = tmp_path / "out"
    world.small_build(out)
    (out / "index.json").write_text("{}")
    (out / "deep").mkdir()
    (out / "deep" / "er").write_text("")
    index, tar, commit = (out / name for name in ("a-000001.idx", "a-000001.tar", "a-000002.json"))
    index.unlink()
    tar.write_bytes(tar.read_bytes()[:-1])
    commit.write_text(commit.read_text().replace('"samples_in": 5', '"samples_in": "five"'))
    size = tar.stat().st_size
    assert verify_shards(out) == [
        Problem(out / "deep" / "er", f"{out}/deep/er is not in the manifest: remove it"),
        Problem(index, f"{index} is missing: restore it, or build the stage again"),
        Problem(tar, f"{tar} is damaged: {size} bytes instead of {size + 1}"),
        Problem(commit, verify_shards(out)[-1].what),
    ]
    assert verify_shards(out)[-1].what.startswith(f"{commit} is damaged at samples_in: ")


def test_a_commit_record_that_says_something_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    commit = out / "a-000000.json"
    shutil.copy(out / "a-000001.json", commit)
    assert verify_shards(out) == [
        Problem(commit, f"{commit} does not say what the manifest says"),
    ]


def test_a_part_of_other_files_is_none_of_shards(tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.small_build(out)
    part = read_manifest(out).parts[0]
    restamped(out, 0, files={"a-000000.tar": part.files["a-000000.tar"]})
    assert [problem.path.name for problem in verify_shards(out)] == [
        "a-000000.idx",
        "a-000000.json",
    ]
    assert "is no part of packed shards" in verify_shards(out)[1].what


def test_a_manifest_that_is_gone_or_of_many_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "PARTS_PER_PAGE", 1)
    out = tmp_path / "out"
    world.small_build(out)
    assert (out / "manifest" / "000002.json").is_file()
    assert verify_shards(out) == []
    path = out / "manifest.json"
    path.unlink()
    assert verify_shards(out) == [Problem(path, f"{path} is missing: build the stage first")]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b"\xff", b'{"name": "toy"}']
)
def test_a_list_of_wids_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def read(path: Path, encoding: str | None) -> str:
        return path.read_bytes().decode(encoding or "ascii")

    out = tmp_path / "out"
    world.small_build(out, shards=1, each=2)
    path = out / "index.json"
    whole = path.read_text()
    path.write_bytes(content)
    assert verify_shards(out) == [Problem(path, f"{path} does not say what the manifest says")]
    path.write_text(whole.replace('"toy"', '"übrig"'), encoding="utf-8")
    assert verify_shards(out) == [], "it may have any name"
    with monkeypatch.context() as elsewhere:  # a locale that is not UTF-8
        elsewhere.setattr(Path, "read_text", lambda path, encoding="ascii": read(path, encoding))
        assert verify_shards(out) == []
    path.unlink()
    assert verify_shards(out) == [], "and be missing"
