"""A shard's bytes depend on its samples alone, and others can read them too."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world

from opendet import shards
from opendet.curate.shards import write_index, write_part
from opendet.schema import record_from_json, record_to_json
from opendet.shards import (
    BLOCK,
    Member,
    _header,
    check_sample,
    index_text,
    shard_bytes,
    write_shard,
)


def test_same_samples_same_bytes_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = world.samples(7)
    write_part(tmp_path, "one", samples)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    umask = os.umask(0o077)
    write_part(tmp_path, "two", samples[::-1])
    os.umask(umask)
    monkeypatch.undo()
    time.tzset()
    for suffix in (".tar", ".idx"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_layout_is_webdataset(tmp_path: Path) -> None:
    samples = world.samples(6)
    members = write_shard(tmp_path / "a.tar", samples)
    with tarfile.open(tmp_path / "a.tar", "r:") as tar:
        infos = tar.getmembers()
    assert [info.name for info in infos] == [
        f"{s.key}.{extension}" for s in samples for extension in (s.record.format, "json")
    ]
    assert [(info.name, info.offset_data, info.size) for info in infos] == [
        (member.name, member.offset, member.size) for member in members
    ]
    assert all((i.mtime, i.uid, i.gid, i.uname, i.mode) == (0, 0, 0, "", 0o644) for i in infos)
    assert all(info.offset_data == info.offset + BLOCK for info in infos)  # no extended headers


@pytest.mark.parametrize(
    ("key", "size"), [("a", 0), ("b" * 90, 1), ("c-1", 94_783), ("d", 256 << 20)]
)
def test_a_header_is_tarfile_s_own(key: str, size: int) -> None:
    info = tarfile.TarInfo(f"{key}.jpeg")
    info.size = size
    assert _header(Member(key, "jpeg", 0, size)) == info.tobuf(tarfile.USTAR_FORMAT)


def test_gnu_tar_lists_it_without_a_warning(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", world.samples(2))
    done = subprocess.run(
        ["tar", "--list", "--file", str(tmp_path / "a.tar")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (len(done.stdout.splitlines()), done.stderr) == (4, "")


def test_webdataset_reads_it(tmp_path: Path) -> None:
    import webdataset

    samples = world.samples(5)
    write_shard(tmp_path / "a.tar", samples)
    read = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [each["__key__"] for each in read] == [s.key for s in samples]
    for each, sample in zip(read, samples, strict=True):
        assert each[sample.record.format] == sample.content
        assert record_from_json(each["json"]) == sample.record


def test_index_points_at_the_content(tmp_path: Path) -> None:
    samples = world.samples(4)
    members = write_shard(tmp_path / "a.tar", samples)
    tar = (tmp_path / "a.tar").read_bytes()
    head, *lines = index_text(members).splitlines()
    assert head == "v1.2 4"
    for line, sample in zip(lines, samples, strict=True):
        extension, offset, size, name = line.split(" ")[:4]
        assert (extension, name) == (sample.record.format, sample.record.file)
        assert tar[int(offset) :][: int(size)] == sample.content


def test_wids_index(tmp_path: Path) -> None:
    manifest = world.publish(tmp_path / "out", {"a-000000": world.samples(3), "a-000001": []})
    first = (tmp_path / "out" / "index.json").read_bytes()
    contents = [(tmp_path / "out" / f"a-00000{number}.tar").read_bytes() for number in (0, 1)]
    assert json.loads(first) == {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": "toy",
        "shardlist": [
            {
                "url": f"a-00000{number}.tar",
                "nsamples": (3, 0)[number],
                "filesize": len(content),
                "md5sum": hashlib.md5(content).hexdigest(),
            }
            for number, content in enumerate(contents)
        ],
    }
    write_index(tmp_path / "out", "toy", manifest)
    assert (tmp_path / "out" / "index.json").read_bytes() == first


@pytest.mark.parametrize("key", ["", "a.b", "../a", "a/b", "a b", "ä", "a" * 91, "a\n"])
def test_odd_keys_are_refused(tmp_path: Path, key: str) -> None:
    odd = world.renamed(world.samples(1)[0], key)
    with pytest.raises(ValueError, match="must match") as caught:
        write_shard(tmp_path / "a.tar", [odd])
    assert "\n" not in str(caught.value)


def test_bad_samples_are_refused(tmp_path: Path) -> None:
    good = world.samples(1)[0]
    with pytest.raises(ValueError, match="comes twice"):
        write_shard(tmp_path / "a.tar", [good, good])
    with pytest.raises(ValueError, match="not the one that its record names"):
        write_shard(tmp_path / "a.tar", [replace(good, content=good.content + b"!")])
    odd = replace(good, record=replace(good.record, format="pyd"))
    with pytest.raises(ValueError, match="format 'pyd'"):
        write_shard(tmp_path / "a.tar", [odd])


def test_longest_key_fits(tmp_path: Path) -> None:
    members = write_shard(tmp_path / "a.tar", [world.renamed(world.samples(1)[0], "k" * 90)])
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == [member.name for member in members]


def test_a_shard_s_end_is_as_tar_wants_it(tmp_path: Path) -> None:
    """Two empty blocks at least, and whole records of 20 blocks."""
    sizes = {0: 10240, 512: 10240, 9216: 10240, 9728: 20480, 10240: 20480}
    assert {end: shard_bytes(end) for end in sizes} == sizes
    *_, last = write_shard(tmp_path / "some.tar", world.samples(3))
    end = last.offset + -(-last.size // BLOCK) * BLOCK
    assert (tmp_path / "some.tar").stat().st_size == shard_bytes(end)
    write_shard(tmp_path / "ours.tar", [])
    with tarfile.open(tmp_path / "theirs.tar", "w"):
        pass
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_the_index_is_dali_s(tmp_path: Path) -> None:
    members = (Member("a", "png", 512, 5), Member("a", "json", 1536, 7), Member("b", "jpg", 9, 1))
    assert index_text(members) == "v1.2 2\npng 512 5 a.png json 1536 7 a.json\njpg 9 1 b.jpg\n"
    assert index_text(()) == "v1.2 0\n"


def test_refusals_name_the_shard_and_the_sample(tmp_path: Path) -> None:
    good, other = world.samples(2)
    cases = {
        "key 'a b' must match ^[0-9A-Za-z_-]{1,90}$": world.renamed(good, "a b"),
        "a-0000 has format 'gif', not an image's": replace(
            good, record=replace(good.record, format="gif")
        ),
        "the image of a-0000 is not the one that its record names": replace(
            good, content=other.content
        ),
    }
    same_size = replace(good, content=good.content[:-1] + b"!")
    for said, odd in [*cases.items(), (list(cases)[-1], same_size)]:
        with pytest.raises(ValueError, match=f"^{re.escape(f'a.tar: {said}')}$"):
            write_shard(tmp_path / "a.tar", [odd])
    with pytest.raises(ValueError, match=r"^a\.tar: key 'a-0000' comes twice$"):
        write_shard(tmp_path / "a.tar", [good, other, good])
    check_sample(good, where="x")


def test_what_is_too_large_is_refused_and_no_byte_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = world.samples(1)[0]
    text = len(record_to_json(sample.record).encode())
    for limit, size, said in (
        ("MAX_IMAGE_BYTES", len(sample.content), "a.tar: the image of a-0000 is over"),
        ("MAX_TEXT_BYTES", text, "the record of a-0000 is over"),
    ):
        monkeypatch.setattr(shards, limit, size)
        write_shard(tmp_path / "a.tar", [sample])
        monkeypatch.setattr(shards, limit, size - 1)
        with pytest.raises(ValueError, match=f"^{said} {size - 1} bytes$"):
            write_shard(tmp_path / "a.tar", [sample])
        monkeypatch.undo()
