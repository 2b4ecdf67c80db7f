"""A shard: a WebDataset tar file whose bytes depend on nothing but its samples.

A sample is two adjacent members, the image's own bytes as `<key>.<format>` and its record as
`<key>.json`. Samples are sorted by key; every header has the same owner, mode and time. Beside
`<shard>.tar` lies `<shard>.idx`, the index that NVIDIA's DALI reads and that `opendet.shard_set`
uses for random access; beside all shards lies `index.json`, the list that wids reads.

`opendet.shard_reader` reads one shard, `opendet.shard_set` a folder of them,
`opendet.shard_check` looks for damage.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import BinaryIO

from opendet.files import canonical_json
from opendet.manifest import Manifest
from opendet.sample import Sample
from opendet.schema import record_to_json

KEY = re.compile(r"[0-9A-Za-z_-]{1,90}")
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
TEXT_EXTENSIONS = ("json", "txt")
MAX_IMAGE_BYTES = 256 << 20
MAX_TEXT_BYTES = 32 << 20
BLOCK = 512
WIDS_INDEX = "index.json"
_BARE = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_HEAD, _TAIL = _BARE[100:124], b"\0" + _BARE[136:148] + b" " * 8 + _BARE[156:]
"""What every header has between the name and the size, and after it, its checksum as blanks."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file inside a tar file."""

    key: str
    extension: str
    offset: int
    """Of its content's first byte in the tar file."""
    size: int
    """Bytes."""

    @property
    def name(self) -> str:
        return f"{self.key}.{self.extension}"


def write_shard(path: Path, samples: Iterable[Sample]) -> tuple[Member, ...]:
    """Write the samples, sorted by key, and return the members in the file's order.

    The same samples in any order give the same bytes. Raises ValueError for a sample that no
    reader would take: an odd or repeated key, or content that its record does not describe.
    """
    ordered = sorted(samples, key=lambda sample: sample.key)
    for before, after in pairwise(ordered):
        if before.key == after.key:
            raise ValueError(f"{path.name}: key {after.key!r} comes twice")
    for sample in ordered:
        check_sample(sample, where=path.name)
    with path.open("wb") as file:
        members = tuple(member for sample in ordered for member in _add(file, sample))
        file.write(b"\0" * (shard_bytes(file.tell()) - file.tell()))
    return members


def check_sample(sample: Sample, *, where: str) -> None:
    """Raises ValueError, naming `where`, if the key is odd or the record tells of another image."""
    record, content = sample.record, sample.content
    if not KEY.fullmatch(record.key):
        raise ValueError(f"{where}: key {record.key!r} must match ^{KEY.pattern}$")
    if record.format not in IMAGE_EXTENSIONS:
        raise ValueError(f"{where}: {record.key} has format {record.format!r}, not an image's")
    if len(content) > MAX_IMAGE_BYTES:
        raise ValueError(f"{where}: the image of {record.key} is over {MAX_IMAGE_BYTES} bytes")
    if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
        raise ValueError(f"{where}: the image of {record.key} is not the one that its record names")


def shard_bytes(end: int) -> int:
    """Size of a tar file whose last member ends at byte `end`: two empty blocks, whole records."""
    return -(-(end + 2 * BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def index_text(members: Sequence[Member]) -> str:
    """DALI's index (v1.2): a line a sample, with `extension offset size name` of each member."""
    lines = [
        " ".join(f"{m.extension} {m.offset} {m.size} {m.name}" for m in group)
        for _, group in groupby(members, key=lambda member: member.key)
    ]
    return "\n".join([f"v1.2 {len(lines)}", *lines]) + "\n"


def wids_text(folder: Path, name: str, manifest: Manifest) -> str:
    """The wids index of the manifest's shards; reads each of them once, for its md5."""
    shards = [
        {
            "url": f"{part.shard.name}.tar",
            "nsamples": part.samples_out,
            "filesize": part.files[f"{part.shard.name}.tar"].bytes,
            "md5sum": _md5_of(folder / f"{part.shard.name}.tar"),
        }
        for part in manifest.parts
    ]
    return canonical_json(
        {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "name": name,
            "shardlist": shards,
        }
    )


def _add(file: BinaryIO, sample: Sample) -> list[Member]:
    text = record_to_json(sample.record).encode()
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"the record of {sample.key} is over {MAX_TEXT_BYTES} bytes")
    return [
        _add_member(file, sample.key, sample.record.format, sample.content),
        _add_member(file, sample.key, "json", text),
    ]


def _add_member(file: BinaryIO, key: str, extension: str, content: bytes) -> Member:
    member = Member(key, extension, file.tell() + BLOCK, len(content))
    file.write(_header(member))
    file.write(content)
    file.write(b"\0" * (-member.size % BLOCK))
    return member


def _header(member: Member) -> bytes:
    """The block that `tarfile` makes of a bare TarInfo of this name and size, and takes ten times
    as long for: mode 0644, owner 0, no names and time 0, so that it tells nothing of this machine.
    """
    name, size = member.name.encode("ascii"), b"%011o" % member.size
    block = b"".join((name.ljust(100, b"\0"), _HEAD, size, _TAIL))
    # The sum of all bytes, its own place counted as blanks.
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
