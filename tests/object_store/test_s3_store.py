"""The promises on S3, against a server that speaks it."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.object_store import store as store_module
from opendet.object_store.errors import StoreError
from opendet.object_store.fetch import fetch
from opendet.object_store.pointer import CURRENT, RacedError, move_pointer, read_pointer
from opendet.object_store.publish import publish
from opendet.object_store.store import Store, open_store
from opendet.object_store.upload import Digests
from tests.object_store.s3_server import BUCKET, SECRET
from tests.object_store.store_world import as_seen, contents, two_versions
from tests.shard_world import small_build


@pytest.fixture
def store(server: str, request: pytest.FixtureRequest) -> Store:
    return open_store(f"s3://{BUCKET}/{abs(hash(request.node.name))}")


def test_published_grown_and_fetched(store: Store, tmp_path: Path) -> None:
    old, new = two_versions(tmp_path)
    first = publish(old, store, transfers=4)
    assert as_seen(store, tmp_path / "fetched") == contents(old)
    assert publish(new, store, transfers=4).sent == 6
    assert publish(new, store, transfers=4).sent == 0
    assert publish(new, store, transfers=4, verify=True).sent == 0
    assert as_seen(store, tmp_path / "fetched") == contents(new)
    fetch(store, tmp_path / "fetched", version=first.version, transfers=4)
    assert contents(tmp_path / "fetched") == contents(old)


def test_of_two_publications_one_wins_and_the_other_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = two_versions(tmp_path)
    third = tmp_path / "third"
    small_build(third, shards=1)
    rivals = [third, new]
    sound = Store.write
    rival = open_store(store.address)

    def meddled(self: Store, content: bytes, name: str, **conditions: str) -> None:
        if self is store and name == CURRENT:  # at the worst moment
            publish(rivals[-1], rival, transfers=1)
        sound(self, content, name, **conditions)

    monkeypatch.setattr(Store, "write", meddled)
    while rivals:  # where nothing was there, and where something was
        with pytest.raises(RacedError, match="another publication came first"):
            publish(old, store, transfers=1)
        assert as_seen(store, tmp_path / "fetched") == contents(rivals.pop())


def test_of_many_at_once_every_winner_replaced_the_one_before(store: Store) -> None:
    """A pointer that many move at once goes from each version to the next and loses none."""
    won: list[tuple[str, str]] = []

    def moves(number: int) -> None:
        mine = open_store(store.address)
        for turn in range(3):
            before = read_pointer(mine)
            version = f"{number:032x}{turn:032x}"
            try:
                move_pointer(mine, before, version)
            except RacedError:
                continue
            won.append((before.version if before else "", version))

    threads = [threading.Thread(target=moves, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replaced = [before for before, _ in won]
    assert won
    assert len(set(replaced)) == len(replaced), "two publications replaced the same version"


def test_an_answer_that_got_lost_is_no_lost_race(store: Store) -> None:
    """The client asks again, and its own first request has moved the pointer."""
    move_pointer(store, None, "1" * 64)
    move_pointer(store, None, "1" * 64)
    with pytest.raises(RacedError):
        move_pointer(store, None, "2" * 64)


class NotOfferedError(Exception):
    """As S3's client raises it."""

    def __init__(self) -> None:
        self.response = {"Error": {"Code": "NotImplemented"}}


def test_a_store_without_conditions_takes_the_last(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sound = Store.write

    def older(self: Store, content: bytes, name: str, **conditions: str) -> None:
        if conditions:
            cause = OSError("A header you provided implies functionality")
            cause.__cause__ = NotOfferedError()
            raise StoreError("not implemented") from cause
        sound(self, content, name)

    monkeypatch.setattr(Store, "write", older)
    move_pointer(store, None, "3" * 64)
    pointer = read_pointer(store)
    assert pointer is not None
    assert pointer.version == "3" * 64
    assert "of two at once the last wins" in caplog.text


def test_a_large_file_comes_in_parts_and_is_known_by_its_tag(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PART_BYTES", 5 * 2**20)  # the least that S3 takes
    path = tmp_path / "large.tar"
    path.write_bytes(bytes(range(256)) * (11 * 2**12))
    store.upload(path, "large.tar")
    facts = store.facts("large.tar")
    assert facts is not None
    assert facts.tag.endswith("-3")
    assert facts.tag == Digests.of(path).tag
    assert store.sha256_of("large.tar") == Digests.of(path).sha256
    small = tmp_path / "small.tar"
    small.write_bytes(path.read_bytes()[: 2 * 5 * 2**20 - 1])
    for one in (small, tmp_path / "empty"):
        one.touch()
        store.upload(one, one.name)
        arrived = store.facts(one.name)
        assert arrived is not None
        assert arrived.tag == Digests.of(one).tag
    store.download("large.tar", tmp_path / "back.tar")
    assert (tmp_path / "back.tar").read_bytes() == path.read_bytes()


def test_tags_that_are_no_hashes_cost_a_reading(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of objects that the store encrypts with a key of its own."""
    old, _ = two_versions(tmp_path)
    sound = store_module._facts
    monkeypatch.setattr(store_module, "_facts", lambda told: replace(sound(told), tag="kms"))
    publish(old, store, transfers=2)
    monkeypatch.undo()
    assert as_seen(store, tmp_path / "fetched") == contents(old)


def test_a_bucket_that_is_not_there(server: str, tmp_path: Path) -> None:
    old, _ = two_versions(tmp_path)
    nowhere = open_store("s3://no-such-bucket/x")
    line = "s3://no-such-bucket/x: there is no such bucket: make it first, or mend the address"
    with pytest.raises(StoreError, match=line):
        publish(old, nowhere, transfers=1)
    with pytest.raises(StoreError, match=line):
        fetch(nowhere, tmp_path / "fetched", transfers=1)


def run_publish(folder: Path, address: str, **environment: str) -> "subprocess.Popen[str]":
    """In a process of its own, that a client keeps no connection of another test."""
    import os

    code = (
        "import sys; from pathlib import Path\n"
        "from opendet.console import exit_code_of\n"
        "from opendet.object_store.publish import publish\n"
        "from opendet.object_store.store import open_store\n"
        "def work():\n"
        f"    publish(Path({str(folder)!r}), open_store({address!r}), transfers=2)\n"
        "    return 0\n"
        "sys.exit(exit_code_of(work))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the store cannot be reached"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "access is denied"),
    ],
)
def test_one_line_without_a_network_and_without_keys(
    server: str, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    old, _ = two_versions(tmp_path)
    ran = run_publish(old, f"s3://{BUCKET}/x", AWS_EC2_METADATA_DISABLED="true", **environment)
    _, told = ran.communicate()
    assert ran.returncode == 1
    [line] = told.splitlines()
    assert said in line
    assert SECRET not in told


@pytest.mark.slow
def test_killed_at_any_time_readers_see_old_or_new(store: Store, tmp_path: Path) -> None:
    old, new = two_versions(tmp_path)
    publish(old, store, transfers=2)
    begin = time.monotonic()
    assert run_publish(new, f"s3://{BUCKET}/elsewhere").wait() == 0
    whole = time.monotonic() - begin
    wanted = (contents(old), contents(new))
    kills = 6
    for kill in range(kills):
        mine = open_store(f"{store.address}-{kill}")
        publish(old, mine, transfers=2)
        running = run_publish(new, mine.address)
        time.sleep(whole * (0.5 + 0.5 * kill / kills))  # the first half is Python's imports
        running.kill()
        running.wait()
        assert as_seen(mine, tmp_path / f"after-{kill}") in wanted
        publish(new, mine, transfers=2)
        assert as_seen(mine, tmp_path / f"after-{kill}") == wanted[1]
