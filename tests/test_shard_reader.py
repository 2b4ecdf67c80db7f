"""The reader gives back what was written, and takes nothing else from anybody."""

import hashlib
import io
import pickle
import re
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendet import shard_reader
from opendet.sample import Sample
from opendet.schema import record_to_json
from opendet.shard_reader import (
    read_index,
    read_record,
    read_sample,
    read_shard,
    shard_entries,
)
from opendet.shards import KEY, index_text, write_shard

LONG = "x" * 200
Build = Callable[[tarfile.TarFile, Sample], None]


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


def add_sample(tar: tarfile.TarFile, sample: Sample) -> None:
    add(tar, f"{sample.key}.{sample.record.format}", sample.content)
    add(tar, f"{sample.key}.json", record_to_json(sample.record).encode())


def crafted(path: Path, build: Build, tar_format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        build(tar, world.samples(2)[1])
    return path


def refusal(path: Path) -> str:
    """The one line with which a shard is refused."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        list(read_shard(path))
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    assert len(text) < 400
    return text


def test_round_trip(tmp_path: Path) -> None:
    samples = world.samples(9)
    members = write_shard(tmp_path / "a.tar", samples)
    assert list(read_shard(tmp_path / "a.tar")) == samples
    (tmp_path / "a.idx").write_text(index_text(members))
    assert read_index(tmp_path / "a.idx") == list(shard_entries(tmp_path / "a.tar"))


def test_empty_shard(tmp_path: Path) -> None:
    members = write_shard(tmp_path / "a.tar", [])
    (tmp_path / "a.idx").write_text(index_text(members))
    assert list(read_shard(tmp_path / "a.tar")) == []
    assert read_index(tmp_path / "a.idx") == []


def test_tarfile_s_own_shard_is_read(tmp_path: Path) -> None:
    path = crafted(tmp_path / "a.tar", add_sample)
    assert [sample.key for sample in read_shard(path)] == ["a-0001"]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self._fuse = fuse

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._fuse), "w")


@pytest.mark.parametrize("extension", ["pyd", "pkl", "pickle", "pth", "npy", "PNG", "jpg.pyd", ""])
def test_pickles_are_not_even_read(tmp_path: Path, extension: str) -> None:
    fuse = tmp_path / "fired"
    bomb = pickle.dumps(Bomb(fuse))
    path = crafted(tmp_path / "a.tar", lambda tar, s: add(tar, f"{s.key}.{extension}", bomb))
    assert "neither an image nor a record" in refusal(path)
    assert not fuse.exists()


@pytest.mark.parametrize(
    "name",
    ["../../etc/a.png", "/etc/a.png", "x/a.png", ".png", "a b.png", "pipe:touch fired.png", "ä.png",
     "a\nb.png", "\x1b[31m.png"],
)  # fmt: skip
def test_odd_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(crafted(tmp_path / "a.tar", lambda tar, _: add(tar, name)))
    assert "must match" in message
    assert "\x1b" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_pipe_as_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is missing"):
        list(read_shard(Path("pipe:touch fired")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
     tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.CONTTYPE],
)  # fmt: skip
def test_only_plain_files(tmp_path: Path, kind: bytes) -> None:
    path = crafted(
        tmp_path / "a.tar",
        lambda tar, s: add(tar, f"{s.key}.png", b"", type=kind, linkname="/etc/passwd"),
    )
    assert "is not a plain file" in refusal(path)


def test_extended_headers_are_refused(tmp_path: Path) -> None:
    def build(tar: tarfile.TarFile, sample: Sample) -> None:
        add(tar, f"{sample.key}.png", sample.content, mtime=0.5)

    path = crafted(tmp_path / "a.tar", build, tarfile.PAX_FORMAT)
    assert "is not a plain file" in refusal(path)


def test_sizes_are_capped(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.png")
    header.size = 1 << 40
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    assert "the limit is" in refusal(path)
    header.size = 1 << 20
    path.write_bytes(header.tobuf(tarfile.USTAR_FORMAT))
    assert "cut off" in refusal(path)


def test_what_belongs_together(tmp_path: Path) -> None:
    other = world.painted("a-0001", seed=99)

    def swapped_image(tar: tarfile.TarFile, sample: Sample) -> None:
        add(tar, f"{sample.key}.png", other.content)
        add(tar, f"{sample.key}.json", record_to_json(sample.record).encode())

    def no_record(tar: tarfile.TarFile, sample: Sample) -> None:
        add(tar, f"{sample.key}.png", sample.content)

    def foreign_record(tar: tarfile.TarFile, sample: Sample) -> None:
        add(tar, "b.png", sample.content)
        add(tar, "b.json", record_to_json(sample.record).encode())

    def twice(tar: tarfile.TarFile, sample: Sample) -> None:
        for each in (sample, world.samples(1)[0], sample):
            add_sample(tar, each)

    for number, (build, reason) in enumerate(
        [
            (swapped_image, "not the one that its record names"),
            (no_record, "needs one image and one record"),
            (foreign_record, "is the record of 'a-0001'"),
            (twice, "comes twice"),
        ]
    ):
        assert reason in refusal(crafted(tmp_path / f"{number}.tar", build))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b"{}", b'{"record_version": 1}', b"NaN"]
)
def test_odd_records(tmp_path: Path, text: bytes) -> None:
    def build(tar: tarfile.TarFile, sample: Sample) -> None:
        add(tar, f"{sample.key}.png", sample.content)
        add(tar, f"{sample.key}.json", text)

    refusal(crafted(tmp_path / "a.tar", build))


def test_a_cut_at_every_block_is_noticed(tmp_path: Path) -> None:
    """Without any manifest: this is where tarfile and webdataset see a shorter, healthy shard."""
    write_shard(tmp_path / "whole.tar", world.samples(3))
    whole = (tmp_path / "whole.tar").read_bytes()
    for end in range(0, len(whole), 512):
        (tmp_path / "cut.tar").write_bytes(whole[:end])
        refusal(tmp_path / "cut.tar")


@settings(
    max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8))
def test_fuzzed_shards_raise_nothing_else(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, world.samples(2))
    content = bytearray(path.read_bytes())
    for place, value in edits:
        content[place % len(content)] = value
    path.write_bytes(content)
    message = ""
    try:
        list(read_shard(path))
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


def test_odd_tars_from_elsewhere(shared_data: Path) -> None:
    paths = sorted((shared_data / "tars").iterdir())
    assert paths
    began = time.monotonic()
    for path in paths:
        refusal(path)
    assert time.monotonic() - began < 5


def said_of(path: Path, read: Callable[[Path], object]) -> str:
    """What is refused of a file, without its path."""
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}") as raised:
        read(path)
    assert "\n" not in str(raised.value)
    return str(raised.value).removeprefix(str(path))


def samples_in(path: Path) -> list[Sample]:
    return list(read_shard(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", " is no whole index: expected 'v1.2 <n>' and n lines"),
        ("v1.2 0\n", ""),
        ("v1.2 1\n", " is no whole index: expected 'v1.2 <n>' and n lines"),
        ("v1.3 0\n", " is no whole index: expected 'v1.2 <n>' and n lines"),
        ("v1.2 1\npng 512 5 a.png json 1536 7 a.json\n", ""),
        (
            "v1.2 2\npng 512 5 a.png json 1536 7 a.json png 512 5 b.png json 1536 7 b.json\n",
            " is no whole index: expected 'v1.2 <n>' and n lines",
        ),
        ("v1.2 0\n\n", ": '' is no line of an index"),
        ("v1.2 1\npng 512 x a.png\n", ": 'png 512 x a.png' is no line of an index"),
        ("v1.2 1\npng -1 5 a.png\n", ": 'png -1 5 a.png' is no line of an index"),
        ("v1.2 1\npng 512 5\n", ": member '': its key must match ^[0-9A-Za-z_-]{1,90}$"),
        ("v1.2 1\n" + LONG, f": {LONG[:120]!r} is no line of an index"),
        (f"v1.2 1\n{'jpgs' * 9} 512 5 a.png", f": a.png is indexed as {'jpgs' * 5!r}"),
        ("v1.2 1\npng 512 5 a.pn", ": member 'a.pn' is neither an image nor a record"),
        (
            f"v1.2 1\njpg 5 5 a.{LONG}",
            f": member 'a.{LONG[2:120]}' is neither an image nor a record",
        ),
        ("v1.2 1\npng 5 5 " + LONG, f": member {LONG[:120]!r}: its key must match ^{KEY.pattern}$"),
        ("v1.2 1\npng 512 5 a.png", ": a needs one image and one record (.json)"),
        (f"v1.2 1\npng 5 {10**17} a.png", f": a.png has {10**17} bytes, the limit is {256 << 20}"),
        ("v1.2 1\njson 5 33554433 a.json", ": a.json has 33554433 bytes, the limit is 33554432"),
    ],
)  # fmt: skip
def test_an_index_is_whole_or_its_fault_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.idx"
    path.write_text(text)
    if said:
        assert said_of(path, read_index) == said
    else:
        assert len(read_index(path)) == text.count("\n") - 1


def test_an_index_that_is_no_ascii_is_read_as_what_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(b"v1.2 1\n\xff\n")
    assert said_of(path, read_index) == r": '\\xff' is no line of an index"


def test_an_index_s_offsets_and_sizes_are_those_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    path.write_text("v1.2 1\njson 1536 7 a.json jpeg 512 0 a.jpeg txt 4096 1 a.txt\n")
    [entry] = read_index(path)
    assert entry.key == "a"
    assert (entry.image.offset, entry.image.size, entry.image.extension) == (512, 0, "jpeg")
    assert (entry.record.offset, entry.record.size, entry.record.name) == (1536, 7, "a.json")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for name, read in (("a.tar", samples_in), ("a.idx", read_index)):
        said = said_of(tmp_path / name, read)
        assert said == " is missing: restore it, or build the stage again"


def holding(members: Mapping[str, bytes], **fields: object) -> Build:
    """A shard of these members; the last one's header has these fields."""

    def build(tar: tarfile.TarFile, _: Sample) -> None:
        *others, last = members
        for name in others:
            add(tar, name, members[name])
        add(tar, last, members[last], **fields)

    return build


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    first, sample = world.samples(2)
    text = record_to_json(sample.record).encode()
    end = 512 + -(-len(sample.content) // 512) * 512  # of the first member
    key = r"^[0-9A-Za-z_-]{1,90}$"

    def second(name: str, content: bytes = b"x", **fields: object) -> str:
        members = {"a-0001.png": sample.content, name: content}
        return said_of(crafted(tmp_path / "a.tar", holding(members, **fields)), samples_in)

    assert second("b/c.png") == f": byte {end}: member 'b/c.png': its key must match {key}"
    assert second("b.gif") == f": byte {end}: member 'b.gif' is neither an image nor a record"
    said = f": byte {end}: 'b.png' is not a plain file (type b'2')"
    assert second("b.png", b"", type=b"2") == said
    assert second("a-0001.txt") == ": a-0001 needs one image and one record (.json)"
    assert second("a-0001.json", b"").startswith(": a-0001.json is no JSON: ")
    assert second("a-0001.json", b"[" * 100_000) == ": a-0001.json is nested too deep for a record"
    other = record_to_json(first.record).encode()
    assert second("a-0001.json", other) == ": a-0001.json is the record of 'a-0000'"

    for members, said in (
        ({"a-0001.webp": sample.content, "a-0001.json": text}, "webp is a 'png' in its record"),
        ({"a.json": b"{}"}, " needs one image and one record (.json)"),
        ({"a.png": b"", "a.jpg": b"", "a.json": b"{}"}, " needs one image and one record (.json)"),
    ):
        assert said_of(crafted(tmp_path / "a.tar", holding(members)), samples_in).endswith(said)
    same_size = {"a-0001.png": bytes(len(sample.content)), "a-0001.json": text}
    said = said_of(crafted(tmp_path / "a.tar", holding(same_size)), samples_in)
    assert said == ": the image of a-0001 is not the one that its record names"


def test_one_record_of_a_key(tmp_path: Path) -> None:
    def build(tar: tarfile.TarFile, sample: Sample) -> None:
        add_sample(tar, sample)
        add(tar, f"{sample.key}.json", record_to_json(sample.record).encode())

    said = said_of(crafted(tmp_path / "a.tar", build), samples_in)
    assert said == ": a-0001 needs one image and one record (.json)"


def test_a_key_that_comes_again_is_said(tmp_path: Path) -> None:
    def build(tar: tarfile.TarFile, sample: Sample) -> None:
        for each in (sample, world.samples(1)[0], sample):
            add_sample(tar, each)

    path = crafted(tmp_path / "a.tar", build)
    said = said_of(path, lambda path: list(shard_entries(path)))
    assert said == ": key 'a-0001' comes twice"


def test_the_limits_are_the_largest_that_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = crafted(tmp_path / "a.tar", add_sample)
    [entry] = shard_entries(path)
    for limit, member in (("MAX_IMAGE_BYTES", entry.image), ("MAX_TEXT_BYTES", entry.record)):
        with monkeypatch.context() as patched:
            patched.setattr(shard_reader, limit, member.size)
            assert list(shard_entries(path)) == [entry]
            patched.setattr(shard_reader, limit, member.size - 1)
            where = f": byte {member.offset - 512}: {member.name}"
            said = f"{where} has {member.size} bytes, the limit is {member.size - 1}"
            assert said_of(path, samples_in) == said


def test_a_negative_size_is_no_size(tmp_path: Path) -> None:
    """Tar can say it, in base 256; a reader that believed it would go round for ever."""
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    said = said_of(tmp_path / "a.tar", samples_in)
    assert said == f": byte 0: a.png has -512 bytes, the limit is {256 << 20}"


def test_a_shard_ends_as_it_must(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", world.samples(2))
    whole = (tmp_path / "a.tar").read_bytes()
    *_, last = shard_entries(tmp_path / "a.tar")
    end = last.record.offset + -(-last.record.size // 512) * 512
    ending = f": byte {end}: this is not how a shard ends"
    start = last.record.offset
    for content, said in {
        whole: "",
        whole + bytes(10240): ending,
        whole + b"x": ending,
        whole[:-1]: ending,
        whole[:-1] + b"x": ending,
        whole[: end + 512]: ending,
        whole[:end]: f": byte {end}: the shard is cut off",
        whole[: end + 511]: f": byte {end}: the shard is cut off",
        whole[: end - 1]: f": byte {start - 512}: {last.record.name} is cut off",
        whole[:start]: f": byte {start - 512}: {last.record.name} is cut off",
        whole[: start - 1]: f": byte {start - 512}: the shard is cut off",
        b"": ": byte 0: the shard is cut off",
    }.items():
        (tmp_path / "a.tar").write_bytes(content)
        if said:
            assert said_of(tmp_path / "a.tar", samples_in) == said
        else:
            assert len(samples_in(tmp_path / "a.tar")) == 2


def test_a_header_that_fails_its_checksum_is_said(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", world.samples(1))
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[0] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    assert said_of(tmp_path / "a.tar", samples_in) == ": byte 0: no tar header: bad checksum"


def test_a_jpeg_by_either_name_is_one(tmp_path: Path) -> None:
    """Others write `.jpeg`, and texts beside the record; the record's format is `jpg`."""
    jpeg = world.samples(1)[0]

    def build(tar: tarfile.TarFile, _: Sample) -> None:
        add(tar, f"{jpeg.key}.txt", b"a caption")
        add(tar, f"{jpeg.key}.jpeg", jpeg.content)
        add(tar, f"{jpeg.key}.json", record_to_json(jpeg.record).encode())

    assert samples_in(crafted(tmp_path / "a.tar", build)) == [jpeg]


def test_a_record_is_read_alone_and_from_where_it_lies(tmp_path: Path) -> None:
    samples = world.samples(3)
    write_shard(tmp_path / "a.tar", samples)
    entries = list(shard_entries(tmp_path / "a.tar"))
    with (tmp_path / "a.tar").open("rb") as file:
        assert [read_record(file, entry, where="x") for entry in entries] == [
            sample.record for sample in samples
        ]
        mixed = replace(entries[0], record=entries[1].record)
        with pytest.raises(ValueError, match=r"^x: a-0001\.json is the record of 'a-0001'$"):
            read_record(file, mixed, where="x")
        far = [replace(member, offset=1 << 30) for member in (entries[0].image, entries[0].record)]
        with pytest.raises(ValueError, match=r"^x: a-0000\.json is cut off$"):
            read_record(file, replace(entries[0], record=far[1]), where="x")
        with pytest.raises(ValueError, match=r"^x: a-0000\.jpg is cut off$"):
            read_sample(file, replace(entries[0], image=far[0]), where="x")


def test_an_image_is_compared_with_its_record_to_the_byte(tmp_path: Path) -> None:
    sample = world.samples(2)[1]
    content = sample.content + b"!"
    record = replace(sample.record, sha256=hashlib.sha256(content).hexdigest())

    def build(tar: tarfile.TarFile, _: Sample) -> None:
        add(tar, f"{sample.key}.png", content)
        add(tar, f"{sample.key}.json", record_to_json(record).encode())

    said = said_of(crafted(tmp_path / "a.tar", build), samples_in)
    assert said == ": the image of a-0001 is not the one that its record names"
