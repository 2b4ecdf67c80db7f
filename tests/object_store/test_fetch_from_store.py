"""A fetched folder is one version, whole, and nothing of anybody else's is lost for it."""

import errno
import hashlib
import os
import shutil
from collections import Counter, namedtuple
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opendet.files import BusyError, canonical_json, exclusive_lock
from opendet.manifest import ShardName, read_manifest, write_manifest
from opendet.object_store import fetch as fetch_module
from opendet.object_store.errors import StoreError
from opendet.object_store.fetch import fetch
from opendet.object_store.publish import publish
from opendet.object_store.store import Store
from opendet.object_store.version import (
    OBJECTS,
    Version,
    files_of_parts,
    read_version,
    version_name,
)
from opendet.shard_check import verify_shards
from opendet.shard_set import ShardSet
from tests.object_store.store_world import contents, failing, killed_at, memory_store, two_versions
from tests.recorded_steps import recorded_steps


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With both versions; `new` is the current one."""
    made = memory_store()
    for folder in two_versions(tmp_path):
        publish(folder, made, transfers=2)
    return made


def version_of(folder: Path) -> str:
    return Version.of(folder, read_manifest(folder)).digest


def left_beside(folder: Path) -> list[str]:
    return [
        path.name for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}.")
    ]


def test_shards_open_and_pass_verification(store: Store, tmp_path: Path) -> None:
    fetched = tmp_path / "deep" / "shards"
    done = fetch(store, fetched, transfers=2)
    assert (done.parts, done.files, done.came) == (4, 8, 8)
    assert len(ShardSet.open(fetched)) == 10
    assert verify_shards(fetched) == []
    assert left_beside(fetched) == [".shards.lock"]


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file system does that has none."""

    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refused)


def test_everything_is_on_the_disk_before_it_has_its_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fetched"
    fetch(store, folder, version=version_of(tmp_path / "old"), transfers=1)
    refuse_links(monkeypatch)
    steps = recorded_steps(monkeypatch)
    fetch(store, folder, transfers=1)
    renamed = [(place, path) for place, (step, path, _) in enumerate(steps) if step == "rename"]
    kinds = [path.suffix for _, path in renamed]
    assert Counter(kinds) == {".coming": 6, ".copying": 4, ".partial": 1}
    assert kinds[-1] == ".partial"
    for place, path in renamed:
        assert ("fsync", path, steps[place][2]) in steps[:place], path


def test_an_older_version_by_its_name_and_back(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    fetch(store, folder, version=version_of(tmp_path / "old"), transfers=2)
    assert contents(folder) == contents(tmp_path / "old")
    forward = fetch(store, folder, transfers=2)
    assert contents(folder) == contents(tmp_path / "new")
    assert forward.came == 4  # the two shards that stayed are taken from the folder
    again = fetch(store, folder, transfers=2)
    assert again.came == 0


def test_a_fetch_that_fails_anywhere_leaves_old_or_new_and_is_resumed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    wanted = (contents(tmp_path / "old"), contents(tmp_path / "new"))
    through, counter = failing(store, -1)
    fetch(through, tmp_path / "whole", transfers=1)
    for number in range(counter.asked):
        folder = tmp_path / f"fetched-{number}"
        fetch(store, folder, version=version_of(tmp_path / "old"), transfers=1)
        through, _ = failing(store, number)
        with suppress(StoreError):  # it asks less often than for an empty folder
            fetch(through, folder, transfers=1)
        assert contents(folder) in wanted
        fetch(store, folder, transfers=1)
        assert contents(folder) == wanted[1]
        assert left_beside(folder) == [f".{folder.name}.lock"]


def copied_in_two_steps(source: Path, target: Path) -> None:
    """A copy that one can die in the middle of."""
    content = source.read_bytes()
    target.write_bytes(content[: len(content) // 2])
    os.fsync(0)
    target.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_a_kill_at_every_step_of_a_fetch_leaves_old_or_new(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # still a step to die at
    if not links:
        refuse_links(monkeypatch)
        monkeypatch.setattr(shutil, "copyfile", copied_in_two_steps)
    wanted = (contents(tmp_path / "old"), contents(tmp_path / "new"))
    folder, before = tmp_path / "fetched", version_of(tmp_path / "old")
    fetch(store, folder, version=before, transfers=1)
    seen: list[bool] = []
    killed = True
    while killed:
        killed = killed_at(len(seen), lambda: fetch(store, folder, transfers=1))
        now = contents(folder)
        assert now in wanted
        seen.append(now == wanted[1])
        fetch(store, folder, transfers=1)
        assert contents(folder) == wanted[1]
        assert left_beside(folder) == [".fetched.lock"]
        fetch(store, folder, version=before, transfers=1)
        assert contents(folder) == wanted[0]
    assert not seen[0]
    assert seen[-1]
    assert seen.index(True) < len(seen) - 2  # some died when it was done but for the clearing up


def test_what_came_before_a_failure_is_not_asked_for_again(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    through, counter = failing(store, -1)
    fetch(through, tmp_path / "whole", transfers=1)
    through, _ = failing(store, counter.asked - 2)
    with pytest.raises(StoreError):
        fetch(through, folder, transfers=1)
    assert not folder.exists()
    assert fetch(store, folder, transfers=1).came in (1, 2)  # the last was under way


@pytest.mark.parametrize("half", [".a-000000.tar.copying", ".a-000000.tar.coming"])
def test_what_was_begun_and_came_by_another_way_does_not_stay(
    store: Store, tmp_path: Path, half: str
) -> None:
    folder = tmp_path / "fetched"
    fetch(store, folder, version=version_of(tmp_path / "old"), transfers=1)
    partial = folder.with_name(f".fetched.{version_of(tmp_path / 'new')[:16]}.partial")
    partial.mkdir()
    (partial / half).write_bytes(b"half of it")
    fetch(store, folder, transfers=1)
    assert contents(folder) == contents(tmp_path / "new")


def test_a_damaged_file_of_an_earlier_fetch_is_not_taken_over(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    fetch(store, folder, transfers=2)
    tar = folder / "a-000000.tar"
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.write_bytes(content)
    assert fetch(store, folder, transfers=2).came == 1
    assert contents(folder) == contents(tmp_path / "new")


@pytest.mark.parametrize(
    ("file", "said"),
    [("notes.txt", "no whole data set"), ("manifest.json", "no whole data set")],
)
def test_a_folder_of_something_else_stays(
    store: Store, tmp_path: Path, file: str, said: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / file).write_text("mine")
    with pytest.raises(ValueError, match=f"{said}: name a folder that is not there yet"):
        fetch(store, folder, transfers=1)
    assert contents(folder) == {file: b"mine"}
    assert left_beside(folder) == []


def test_a_data_set_that_the_store_has_not_stays(store: Store, tmp_path: Path) -> None:
    empty = memory_store()
    publish(tmp_path / "old", empty, transfers=1)
    with pytest.raises(ValueError, match=r"holds a data set that memory://data has not"):
        fetch(empty, tmp_path / "new", transfers=1)
    note = tmp_path / "new" / "notes.txt"
    note.write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt is no part of the data set"):
        fetch(store, tmp_path / "new", transfers=1)
    assert note.exists()


def test_another_stage_stays(store: Store, tmp_path: Path) -> None:
    """At one address they may be of an older Open-Det, which published them side by side."""
    folder, other = tmp_path / "fetched", memory_store()
    fetch(store, folder, transfers=1)
    for earlier in two_versions(tmp_path / "again"):
        write_manifest(earlier, replace(read_manifest(earlier), stage="clip"))
        publish(earlier, other, transfers=1)
    for place in other.file_system.find(other.root):
        store.file_system.pipe_file(place, other.file_system.cat_file(place))
    before = contents(folder)
    with pytest.raises(ValueError, match="fetched holds the stage shards, memory://data clip"):
        fetch(store, folder, transfers=1)
    assert contents(folder) == before
    assert left_beside(folder) == [".fetched.lock"]


def test_what_lies_beside_the_folder_stays(store: Store, tmp_path: Path) -> None:
    """A fetch into another folder of nearly this name, and a user's own."""
    digits = "0123456789abcdef"
    theirs = [f".c.val.{digits}.partial", ".c.my.partial_results", f".c.{digits}.partial.mine"]
    ours = [f".c.{digits}.partial", f".c.{digits}.partial.whole"]
    for name in (*theirs, *ours):
        (tmp_path / name).mkdir()
    (tmp_path / ".c.notes.partial").write_text("mine")
    fetch(store, tmp_path / "c", transfers=1)
    assert sorted(left_beside(tmp_path / "c")) == sorted([*theirs, ".c.lock", ".c.notes.partial"])


def test_a_file_that_goes_while_others_come_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring = fetch_module._fetch_files

    def swept(store: Store, files: Any, half: Path, **how: Any) -> list[int]:
        came = bring(store, files, half, **how)
        (half / "a-000001.tar").unlink()
        return came

    monkeypatch.setattr(fetch_module, "_fetch_files", swept)
    with pytest.raises(ValueError, match=r"a-000001\.tar went missing .*: fetch again"):
        fetch(store, tmp_path / "c", transfers=1)
    assert not (tmp_path / "c").exists()
    monkeypatch.undo()
    assert fetch(store, tmp_path / "c", transfers=1).came == 1


def test_the_root_is_no_folder_to_fetch_into(store: Store) -> None:
    with pytest.raises(ValueError, match="/ is the whole file system: name a folder in it"):
        fetch(store, Path("/"), transfers=1)


def test_one_fetch_into_a_folder_at_a_time(store: Store, tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / ".fetched.lock", what="it"),
        pytest.raises(BusyError, match=f"process {os.getpid()}"),
    ):
        fetch(store, tmp_path / "fetched", transfers=1)


def test_nothing_published_nothing_fetched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data set is published there"):
        fetch(memory_store(), tmp_path / "fetched", transfers=1)
    assert not (tmp_path / "fetched").exists()


def test_a_missing_object_is_named(store: Store, tmp_path: Path) -> None:
    tar = next(name for name in store.facts_below(OBJECTS) if name.endswith(".tar"))
    store.file_system.rm(store.place(tar))
    with pytest.raises(ValueError, match=f"{tar} is missing"):
        fetch(store, tmp_path / "fetched", version="", transfers=2)


def test_a_disk_without_room_is_told_before_anything_comes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 1000))
    with pytest.raises(ValueError, match="has room for 1000 bytes"):
        fetch(store, tmp_path / "fetched", transfers=1)


@pytest.mark.parametrize("digest", ["", "latest", "../../x", "A" * 64, "0" * 63])
def test_a_version_is_called_by_its_hash(store: Store, digest: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        read_version(store, digest)


def test_an_unknown_version_is_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"versions/0{64}\.json is missing: name a version"):
        fetch(store, tmp_path / "fetched", version="0" * 64, transfers=1)


def test_a_hostile_version_writes_nowhere_else(store: Store, tmp_path: Path) -> None:
    """Its hash is right, whoever wrote it: what it names is judged all the same."""
    stamps = Version.of(tmp_path / "old", read_manifest(tmp_path / "old")).files
    for name in ("../outside.json", "/tmp/outside.json", "a-000000.tar", "manifest/../../x.json"):
        hostile = Version({**stamps, name: stamps["index.json"]})
        store.write(hostile.content, version_name(hostile.digest))
        with pytest.raises(ValueError, match="was written by another Open-Det"):
            fetch(store, tmp_path / "deep" / "fetched", version=hostile.digest, transfers=1)


def test_a_hostile_manifest_writes_nowhere_else(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    told = read_manifest(folder)
    part = replace(
        told.parts[0],
        shard=ShardName("../outside", "a", "train"),
        files={
            f"../outside.{kind}": stamp
            for kind, stamp in zip(("idx", "tar"), told.parts[0].files.values(), strict=True)
        },
    )
    write_manifest(folder, replace(told, parts=(part, *told.parts[1:])))
    hostile = Version.of(folder, read_manifest(folder))
    for name, stamp in hostile.files.items():
        store.upload(folder / name, f"{OBJECTS}/{stamp.sha256[:2]}/{stamp.sha256}.json")
    store.write(hostile.content, version_name(hostile.digest))
    with pytest.raises(ValueError, match=r"is no (file|commit record) that a stage would write"):
        fetch(store, tmp_path / "deep" / "fetched", version=hostile.digest, transfers=1)
    assert not list(tmp_path.rglob("outside*"))


def test_a_version_of_another_form_is_refused(store: Store) -> None:
    forms: tuple[object, ...] = ({"format": 2, "files": {}}, {"files": 3}, [])
    for told in forms:
        content = canonical_json(told).encode()
        digest = hashlib.sha256(content).hexdigest()
        store.write(content, version_name(digest))
        with pytest.raises(ValueError, match=r"does not read|another Open-Det"):
            read_version(store, digest)


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a//x", "a/../x", ".x", "a/.x", "", "manifest.json", "index.json", "a\nb",
     "a-000000.json"],
)  # fmt: skip
def test_names_that_no_stage_gives_its_files(tmp_path: Path, name: str) -> None:
    two_versions(tmp_path)
    told = read_manifest(tmp_path / "old")
    [stamp, *_] = told.parts[0].files.values()
    part = replace(told.parts[0], files={name: stamp})
    with pytest.raises(ValueError, match="is no file that a stage would write"):
        files_of_parts(replace(told, parts=(part,)))
    twice = replace(told.parts[1], files=told.parts[0].files)
    with pytest.raises(ValueError, match="is no file that a stage would write"):
        files_of_parts(replace(told, parts=(told.parts[0], twice)))
