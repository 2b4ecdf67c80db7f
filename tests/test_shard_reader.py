"""The reader gives back what was written, and takes nothing else from anybody."""

import io
import pickle
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import shard_world as world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendet.sample import Sample
from opendet.schema import record_to_json
from opendet.shard_reader import read_index, read_shard, shard_entries
from opendet.shards import index_text, write_shard

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
    assert list(read_shard(tmp_path / "a.tar")) == read_index(tmp_path / "a.idx") == []


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
