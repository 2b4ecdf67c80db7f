"""Whatever goes wrong in a publication, readers see the old version or the new."""

import logging
import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest

from opendet.files import BusyError
from opendet.manifest import Manifest, PartCommit, ShardName, read_manifest, write_manifest
from opendet.object_store import upload as upload_module
from opendet.object_store.errors import StoreError
from opendet.object_store.fetch import fetch
from opendet.object_store.pointer import CURRENT, read_pointer, sole_publisher
from opendet.object_store.publish import Published, publish
from opendet.object_store.store import Store, open_store
from opendet.object_store.version import OBJECTS, Version, files_of_parts, object_name
from opendet.work import WorkFolder
from tests.object_store.store_world import (
    Fault,
    as_seen,
    contents,
    copied,
    failing,
    killed_at,
    memory_store,
    two_versions,
)

NEVER = -1


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process leaves what it wrote to the kernel, which takes care of the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def put(folder: Path, store: Store, *, verify: bool = False) -> Published:
    return publish(folder, store, transfers=2, verify=verify)


def missing_objects(folder: Path, store: Store) -> int:
    """How many objects of a version the store lacks, or has half of."""
    manifest = read_manifest(folder)
    files = {**files_of_parts(manifest), **Version.of(folder, manifest).files}
    there = {name: facts.bytes for name, facts in store.facts_below(OBJECTS).items()}
    wanted = {object_name(name, stamp): stamp.bytes for name, stamp in files.items()}
    return sum(there.get(name) != size for name, size in wanted.items())


def test_a_reader_gets_what_was_published_to_the_byte(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    done = put(old, store)
    assert as_seen(store, tmp_path / "fetched") == contents(old)
    assert (done.parts, done.sent, done.files) == (3, 8, 8)  # tar and idx each, manifest, index


def test_growth_sends_what_is_new_and_a_second_run_nothing(tmp_path: Path) -> None:
    old, new = two_versions(tmp_path)
    store = memory_store()
    put(old, store)
    grown, again = put(new, store), put(new, store)
    assert grown.sent == 6  # two shards of two files, manifest, index
    assert (again.sent, again.version) == (0, grown.version)
    assert as_seen(store, tmp_path / "fetched") == contents(new)


@pytest.mark.parametrize("fault", get_args(Fault))
def test_a_request_that_fails_anywhere_leaves_old_or_new(tmp_path: Path, fault: Fault) -> None:
    old, new = two_versions(tmp_path)
    first = memory_store()
    put(old, first)
    through, counter = failing(copied(first), NEVER)
    put(new, through)
    wanted = (contents(old), contents(new))
    seen_old = 0
    for number in range(counter.asked):
        store = copied(first)
        through, _ = failing(store, number, fault)
        with pytest.raises(StoreError, match="went wrong"):
            publish(new, through, transfers=1)
        seen = as_seen(store, tmp_path / f"after-{number}")
        assert seen in wanted, f"request {number}: a mix"
        seen_old += seen == wanted[0]
        missing = missing_objects(new, store)
        assert put(new, store).sent == missing, f"request {number}: sent again, or not"
        assert as_seen(store, tmp_path / f"after-{number}") == wanted[1]
    # The pointer is moved by the last request, and that alone shows the new version.
    assert seen_old == counter.asked - (fault == "unanswered")


def test_a_kill_at_every_step_of_a_local_publication_leaves_old_or_new(tmp_path: Path) -> None:
    old, new = two_versions(tmp_path)
    address = (tmp_path / "store").as_uri()
    put(old, open_store(address))
    wanted = (contents(old), contents(new))
    steps, killed = [as_seen(open_store(address), tmp_path / "first")], True
    while killed:  # each goes on where the one before died, a few steps further
        killed = killed_at(len(steps), lambda: publish(new, open_store(address), transfers=1))
        steps.append(as_seen(open_store(address), tmp_path / f"after-{len(steps)}"))
        assert steps[-1] in wanted
    assert len(steps) > 5
    assert steps[0] == wanted[0]
    assert steps[-1] == wanted[1]
    put(new, open_store(address))
    assert not [path for path in (tmp_path / "store").rglob(".*") if path.name != ".lock"]


def test_two_publications_into_one_local_folder_do_not_meet(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = open_store((tmp_path / "store").as_uri())
    with sole_publisher(store), pytest.raises(BusyError, match=f"process {os.getpid()}"):
        put(old, store)
    put(old, store)


def test_without_conditions_the_last_of_two_publications_is_seen_whole(tmp_path: Path) -> None:
    old, new = two_versions(tmp_path)
    store = memory_store()
    before = read_pointer(store)
    put(new, store)  # meanwhile, between the other's first look and its last request
    assert before is None
    put(old, store)
    assert as_seen(store, tmp_path / "fetched") == contents(old)


def test_damaged_shards_never_leave(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    tar = old / "a-000001.tar"
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    store = memory_store()
    with pytest.raises(ValueError, match=r"a-000001\.tar is not what the manifest says"):
        put(old, store)
    tar.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="missing or cut short"):
        put(old, store)
    assert read_pointer(store) is None


def test_a_store_that_keeps_other_bytes_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    sound = Store.upload

    def flips(self: Store, path: Path, name: str) -> None:
        sound(self, path, name)
        place = self.place(name)
        content = bytearray(self.file_system.cat_file(place))
        content[-1] ^= 1
        self.file_system.pipe_file(place, bytes(content))

    monkeypatch.setattr(Store, "upload", flips)
    with pytest.raises(ValueError, match="is not what was sent"):
        put(old, store)
    monkeypatch.undo()
    assert read_pointer(store) is None
    # What was left there has the right size, and yet is not taken for the file.
    put(old, store)
    assert as_seen(store, tmp_path / "fetched") == contents(old)


def test_what_was_damaged_in_the_store_is_found_by_readers_and_mended(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    put(old, store)
    name = next(name for name in store.facts_below(OBJECTS) if name.endswith(".tar"))
    content = bytearray(store.read(name))
    content[-1] ^= 1
    store.write(bytes(content), name)
    with pytest.raises(ValueError, match=r"is damaged: publish the data set again with --verify"):
        fetch(store, tmp_path / "fetched", transfers=2)
    assert not (tmp_path / "fetched").exists()
    assert put(old, store).sent == 0  # taken by its size
    assert put(old, store, verify=True).sent == 1
    assert as_seen(store, tmp_path / "fetched") == contents(old)


def test_what_somebody_removed_is_sent_again(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    put(old, store)
    gone = sorted(store.facts_below(OBJECTS))[0]
    store.file_system.rm(store.place(gone))
    assert put(old, store).sent == 1
    assert as_seen(store, tmp_path / "fetched") == contents(old)


def test_a_version_before_that_cannot_be_read_costs_another_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = two_versions(tmp_path)
    store = memory_store()
    put(old, store)
    [version] = store.facts_below("versions")
    store.write(b"{}", version)
    with caplog.at_level(logging.WARNING):
        assert put(new, store).sent == 6
    assert "every object that is there is looked at again" in caplog.text
    assert as_seen(store, tmp_path / "fetched") == contents(new)


def test_a_damaged_pointer_is_named(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    for content in (b"", b"[]", b'{"version": 3}', b'{"version": "../../x"}'):
        store.write(content, CURRENT)
        with pytest.raises(ValueError, match=r"current\.json is damaged: remove it"):
            put(old, store)


def test_trusted_objects_cost_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth reads what is new, whatever lies there already."""
    old, new = two_versions(tmp_path)
    store = memory_store()
    put(old, store)
    read: list[Path] = []
    sound = upload_module.Digests.of

    def noted(path: Path) -> upload_module.Digests:
        read.append(path)
        return sound(path)

    monkeypatch.setattr(upload_module.Digests, "of", noted)
    put(new, store)
    assert {path.name for path in read} == {
        *(f"a-00000{n}.{kind}" for n in (2, 3) for kind in ("tar", "idx")),
        "manifest.json",
        "index.json",
    }


def test_one_object_for_files_of_equal_bytes(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    store = memory_store()
    elsewhere = replace(store, root="/elsewhere")
    assert put(old, store).files == put(old, elsewhere).files
    assert len(store.facts_below(OBJECTS)) == 8


def test_the_output_of_any_stage_but_source(tmp_path: Path) -> None:
    """Such as a model, whose files lie in folders of their own."""
    work = WorkFolder(tmp_path / "work")

    def write(folder: Path) -> None:
        (folder / "model" / "namer").mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
        (folder / "model/namer/weights.safetensors").write_bytes(b"weights")

    for stage in ("train", "source"):
        files = work.write_part("whole", write)
        part = PartCommit(ShardName("whole", "", ""), 0, 0, (), (), {}, files)
        work.commit(part)
        work.publish(tmp_path / stage, Manifest(stage, "f", (part,)))
    store = memory_store()
    for _ in range(2):
        put(tmp_path / "train", store)
        assert as_seen(store, tmp_path / "fetched") == contents(tmp_path / "train")
    with pytest.raises(ValueError, match="has drawn images beside what its manifest names"):
        put(tmp_path / "source", store)


@pytest.mark.parametrize("verify", [False, True])
def test_another_stage_has_an_address_of_its_own(tmp_path: Path, verify: bool) -> None:
    store, (old, _) = memory_store(), two_versions(tmp_path)
    put(old, store)
    manifest = read_manifest(old)
    write_manifest(old, replace(manifest, stage="clip"))
    before = {path: store.file_system.cat_file(path) for path in store.file_system.find("/data")}
    with pytest.raises(ValueError, match="holds the stage shards: publish clip to an address of"):
        put(old, store, verify=verify)
    assert before == {
        path: store.file_system.cat_file(path) for path in store.file_system.find("/data")
    }


def test_the_web_is_for_fetching(tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    put(old, open_store((tmp_path / "store").as_uri()))
    handler = partial(QuietHandler, directory=str(tmp_path / "store"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        web = open_store(f"http://127.0.0.1:{server.server_port}")
        assert as_seen(web, tmp_path / "fetched") == contents(old)
        with pytest.raises(ValueError, match="is for fetching: publish to the store's own address"):
            put(old, web)
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
