"""Peers: what a reader sees of a folder is counted as it is."""

import io
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from opendet.faults import peer_kills
from opendet.faults.peer_kills import seen_in
from opendet.faults.peer_writers import EACH, SHARDS, wanted_keys, write, write_input
from opendet.faults.rows import Effort


def shard(path: Path, keys: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for key in keys:
            header = tarfile.TarInfo(f"{key}.txt")
            header.size = 1
            tar.addfile(header, io.BytesIO(b"x"))


def test_a_folder_is_counted_as_a_reader_finds_it(tmp_path: Path) -> None:
    keys = sorted(wanted_keys())
    assert seen_in(tmp_path / "none").lost == len(keys)
    shard(tmp_path / "0.tar", keys)
    assert seen_in(tmp_path).whole
    shard(tmp_path / "1.tar", keys[:3])
    seen = seen_in(tmp_path)
    assert (seen.lost, seen.doubled, seen.cut, seen.temporary) == (0, 3, 0, 0)
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:2048])
    (tmp_path / "2.tar.tmp").touch()
    seen = seen_in(tmp_path)
    assert (seen.lost, seen.doubled, seen.cut) == (len(keys) - 3, 2, 1)
    assert seen.temporary == 1


def test_the_input_has_every_sample_once(tmp_path: Path) -> None:
    write_input(tmp_path / "in")
    rows = [r for p in sorted((tmp_path / "in").iterdir()) for r in pq.read_table(p).to_pylist()]
    assert len(rows) == SHARDS * EACH
    assert {row["id"] for row in rows} == wanted_keys()


def test_shard_writer_writes_all_where_nobody_kills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opendet.faults.peer_writers.SECONDS", 0)
    monkeypatch.setattr("webdataset.utils.enforce_security", False)  # tests switch it on
    write_input(tmp_path / "in")
    write("ShardWriter", tmp_path / "in", tmp_path / "out")
    assert seen_in(tmp_path / "out").whole
    with pytest.raises(ValueError, match="no writer is called"):
        write("x", tmp_path / "in", tmp_path / "out")


@pytest.mark.slow
def test_a_killed_shard_writer_is_counted(tmp_path: Path) -> None:
    told = peer_kills.killed_peer(Effort(tmp_path), "ShardWriter", 2)
    assert told.startswith("ShardWriter, 2 tries, ")
    assert "0 of 192 samples lost" in told
