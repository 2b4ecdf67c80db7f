"""What is an address, what is none, and what a store says of what it refuses."""

import sys
from pathlib import Path

import pytest

from opendet.object_store.address import is_address
from opendet.object_store.errors import StoreError, told_plainly
from opendet.object_store.store import open_store, part_bytes


@pytest.mark.parametrize("text", ["s3://bucket/x", "file:///tmp", "GS://b", "memory://"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["photos", "/photos", "C:\\photos", "a:b", "s3:/bucket", "://x"])
def test_paths_are_no_addresses(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(ValueError, match="is no address"):
        open_store(text)


@pytest.mark.parametrize("address", ["file://", "file:///", "s3://", "file:///..", "file://."])
def test_an_address_that_names_no_place(address: str) -> None:
    with pytest.raises(ValueError, match="names no place: write one such as") as told:
        open_store(address)
    assert str(told.value).startswith(f"{address} ")


@pytest.mark.parametrize(
    "address",
    ["ftp://user:hush@host/x", "s3://KEY:hush@bucket", "s3://b/x?token=hush", "s3://b::hush"],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="the address holds") as told:
        open_store(address)
    assert "hush" not in str(told.value)


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ValueError, match=r"^s4://bucket: .*s4"):
        open_store("s4://bucket")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ValueError, match=r"^s3://b/x: s3fs is not installed: pip install"):
        open_store("s3://b/x")


def test_names_lie_below_the_address_and_nowhere_else(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path.as_uri()}/deep/")
    store.write(b"content", "a/b.json")
    assert (tmp_path / "deep/a/b.json").read_bytes() == b"content"
    assert store.read("a/b.json") == b"content"
    assert list(store.facts_below("a")) == ["a/b.json"]
    assert store.facts_below("nothing") == {}
    assert store.facts("a/c.json") is None
    with pytest.raises(ValueError, match=r"a/c\.json is missing: publish the data set again"):
        store.read("a/c.json")


def test_a_part_is_large_enough_for_ten_thousand_of_them() -> None:
    assert part_bytes(1) == part_bytes(160_000 * 2**20) == 16 * 2**20
    assert part_bytes(10**12) * 10_000 >= 10**12


class EndpointConnectionError(Exception):
    """As S3's client calls it."""


class NoCredentialsError(Exception):
    """As S3's client calls it."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError("Forbidden"), r"access is denied \(Forbidden\): look at your credentials"),
        (NoCredentialsError("none"), "access is denied"),
        (
            EndpointConnectionError("no answer"),
            r"cannot be reached \(no answer\): check the network",
        ),
        (TimeoutError(), r"cannot be reached \(TimeoutError\)"),
        (RuntimeError("two\nlines"), r"^s3://b: two lines \(RuntimeError\)$"),
    ],
)
def test_errors_are_one_line_that_says_how_to_mend_them(error: Exception, said: str) -> None:
    with pytest.raises(StoreError, match=said) as told, told_plainly("s3://b"):
        raise error
    assert "\n" not in str(told.value)
