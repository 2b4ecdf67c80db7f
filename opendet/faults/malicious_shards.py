"""Shards with what no shard of ours has: programs, links, devices, paths, other tar dialects."""

import io
import json
import resource
import tarfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from opendet.faults.malicious_attack import Attack, pickled
from opendet.faults.odd_files import looked_at
from opendet.faults.refusals import refused
from opendet.faults.toy_shards import toy_sample, vouch, write_toy_shards
from opendet.inspect.collection import open_collection
from opendet.manifest import ShardName, read_manifest, write_manifest
from opendet.schema import record_to_json
from opendet.shard_check import verify_shards
from opendet.shard_notes import NoteStore
from opendet.shard_reader import read_shard
from opendet.shard_set import ShardSet

NAME = "a-000000"
"""Of the shard whose tar file is exchanged."""
ROOM = 1 << 30
"""Bytes: who reads something without end is to fail soon, and not to take the machine along."""

Added = Callable[[tarfile.TarFile, Path], None]
"""Adds something to a shard that else is whole; told the canary."""


def _member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> Added:
    """A member of that name; a file of it holds a pickle that fires."""

    def add(tar: tarfile.TarFile, canary: Path) -> None:
        content = pickled(canary) if kind == tarfile.REGTYPE else b""
        header = tarfile.TarInfo(name.replace("CANARY", str(canary)))
        header.type, header.linkname, header.size = kind, link, len(content)
        tar.addfile(header, io.BytesIO(content))

    return add


def _headers(headers: dict[str, str]) -> Added:
    """PAX headers, which may give any path and size to the member behind them."""

    def add(tar: tarfile.TarFile, canary: Path) -> None:
        header = tarfile.TarInfo("a-000099.json")
        header.pax_headers = {
            name: value.replace("CANARY", str(canary)) for name, value in headers.items()
        }
        tar.addfile(header)

    return add


def _long_name(tar: tarfile.TarFile, canary: Path) -> None:
    header = tarfile.TarInfo(f"{'../' * 60}{canary.name}.json")
    tar.addfile(header)


_ADDED: dict[str, tuple[Added, int]] = {
    "a pickle in a shard": (_member("a-000099.pkl"), tarfile.USTAR_FORMAT),
    "Python's pickle by webdataset's name": (_member("a-000099.pyd"), tarfile.USTAR_FORMAT),
    "a PyTorch file in a shard": (_member("a-000099.pth"), tarfile.USTAR_FORMAT),
    "a key that leaves the folder": (_member("../../fired.json"), tarfile.USTAR_FORMAT),
    "a key that is a path": (_member("CANARY.json"), tarfile.PAX_FORMAT),
    "a symbolic link": (
        _member("a-000099.json", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        tarfile.USTAR_FORMAT,
    ),
    "a hard link": (
        _member("a-000099.json", kind=tarfile.LNKTYPE, link="a-000000.json"),
        tarfile.USTAR_FORMAT,
    ),
    "a device": (_member("a-000099.json", kind=tarfile.CHRTYPE), tarfile.USTAR_FORMAT),
    "a pipe in a shard": (_member("a-000099.json", kind=tarfile.FIFOTYPE), tarfile.USTAR_FORMAT),
    "a folder in a shard": (_member("a-000099", kind=tarfile.DIRTYPE), tarfile.USTAR_FORMAT),
    "a PAX path": (_headers({"path": "CANARY.json"}), tarfile.PAX_FORMAT),
    "a PAX size": (_headers({"size": "99999999999"}), tarfile.PAX_FORMAT),
    "a GNU long name": (_long_name, tarfile.GNU_FORMAT),
}  # fmt: skip


def _with_member(added: Added, dialect: int, folder: Path, canary: Path) -> str:
    """The shard is refused as it is, vouched for by its manifest, and by who looks into it."""
    shards = folder / "shards"
    write_toy_shards(shards, shards=2, each=2)
    path = shards / f"{NAME}.tar"
    with tarfile.open(path, "w", format=dialect) as tar:
        for number in range(2):
            _add_sample(tar, number)
        added(tar, canary)
    problem = refused(lambda: list(read_shard(path)), path) or looked_at(path)
    vouch(shards)
    if not problem and not verify_shards(shards):
        problem = "verify found nothing"
    _read_whatever_can_be(shards)
    return problem


def _add_sample(tar: tarfile.TarFile, number: int) -> None:
    sample = toy_sample(number)
    for suffix, content in (
        (sample.record.format, sample.content),
        ("json", record_to_json(sample.record).encode()),
    ):
        header = tarfile.TarInfo(f"{sample.record.key}.{suffix}")
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))


def _read_whatever_can_be(shards: Path) -> None:
    """By its index, which knows nothing of what was added."""
    opened = ShardSet.open(shards)
    for index in range(len(opened)):
        refused(partial(opened.sample, index))


def _record_of_another(folder: Path, _: Path) -> str:
    """The record beside an image has a key that leaves the folder."""
    sample = toy_sample(0)
    evil = replace(sample.record, key="../../fired", file="/etc/passwd")
    path = folder / f"{NAME}.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for suffix, content in (("png", sample.content), ("json", record_to_json(evil).encode())):
            header = tarfile.TarInfo(f"{sample.record.key}.{suffix}")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return refused(lambda: list(read_shard(path)), path) or looked_at(path)


def _named(name: str, folder: Path, _: Path) -> str:
    """A shard that the manifest calls by a program's line, or by a path that leaves the folder."""
    shards = folder / "shards"
    write_toy_shards(shards, shards=1, each=2)
    manifest = read_manifest(shards)
    part = manifest.parts[0]
    files = {f"{name}.{suffix}": part.files[f"{NAME}.{suffix}"] for suffix in ("tar", "idx")}
    evil = replace(part, shard=ShardName(name, "a", "train"), files=files)
    write_manifest(shards, replace(manifest, parts=(evil,)))
    with chdir(folder):
        problem = refused(lambda: ShardSet.open(shards), shards)
        if not problem and not verify_shards(shards):
            problem = "verify found nothing"
        collection = open_collection(shards)
        found = [one for piece in collection.pieces for one in collection.samples(piece)]
    return problem or ("" if collection.troubles or found else "the inspector said nothing")


def _address(folder: Path, _: Path) -> str:
    """What webdataset would give to a shell, wherever a path is asked for."""
    told = "pipe:touch fired"
    with chdir(folder):
        for read in (read_shard, ShardSet.open, open_collection):
            problem = refused(lambda read=read: list(read(Path(told))), told)  # type: ignore[misc]
            if problem:
                return f"{read.__name__}: {problem}"
    return ""


def _index_of_wids(folder: Path, _: Path) -> str:
    """wids reads `index.json`; ours is for it alone, and nobody here follows its addresses."""
    shards = folder / "shards"
    write_toy_shards(shards, shards=1, each=2)
    index = json.loads((shards / "index.json").read_text())
    index["shardlist"][0]["url"] = "pipe:touch fired"
    (shards / "index.json").write_text(json.dumps(index))
    with chdir(folder):
        opened = ShardSet.open(shards)
        opened.sample(0)
        return "" if verify_shards(shards) else "verify found nothing"


def _folder_link(folder: Path, _: Path) -> str:
    """The tar file itself is a link to a device that never ends."""
    shards = folder / "shards"
    write_toy_shards(shards, shards=1, each=2)
    (shards / f"{NAME}.tar").unlink()
    (shards / f"{NAME}.tar").symlink_to("/dev/zero")
    return refused(lambda: ShardSet.open(shards), shards) or (
        "" if verify_shards(shards) else "verify found nothing"
    )


def _hash_that_is_a_path(folder: Path, _: Path) -> str:
    """What is noted of a shard lies below its sha256, which here leads to what never ends."""
    shards = folder / "shards"
    write_toy_shards(shards, shards=1, each=2)
    manifest = read_manifest(shards)
    part = manifest.parts[0]
    evil = replace(part.files[f"{NAME}.tar"], sha256="/dev/zero")
    parts = (replace(part, files={**part.files, f"{NAME}.tar": evil}),)
    write_manifest(shards, replace(manifest, parts=parts))
    kept = NoteStore(folder / "verified")
    with _in_little_room():
        return refused(lambda: ShardSet.open(shards, kept=kept), shards) or (
            "" if verify_shards(shards) else "verify found nothing"
        )


@contextmanager
def _in_little_room() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + ROOM
    known = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([room, *known]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


SHARDS = (
    *(Attack(name, partial(_with_member, *added)) for name, added in _ADDED.items()),
    Attack("a record whose key leaves the folder", _record_of_another),
    Attack("a shard called by a program's line", partial(_named, "pipe:touch fired; true")),
    Attack("a shard called by a path", partial(_named, "../fired")),
    Attack("a pipe: address", _address),
    Attack("a pipe: address in wids' index", _index_of_wids),
    Attack("a shard that is a link to a device", _folder_link),
    Attack("a sha256 that is a path", _hash_that_is_a_path),
)
