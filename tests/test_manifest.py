"""A manifest of many parts is cut into pages; nobody who reads it can tell."""

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest

from opendet import manifest as manifests
from opendet.manifest import (
    DroppedEntry,
    FileStamp,
    Manifest,
    PartCommit,
    QuarantinedEntry,
    ShardName,
    commit_text,
    manifest_files,
    read_commit,
    read_manifest,
    write_manifest,
)


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "PARTS_PER_PAGE", 3)


def of_parts(count: int) -> Manifest:
    return Manifest("shards", "f", tuple(_part(number) for number in range(count)))


def _part(number: int) -> PartCommit:
    name = f"b-{number:06d}"
    dropped = (DroppedEntry(f"k{number}", "unwanted", "toy"),)
    files = {f"{name}.tar": FileStamp(number, f"{number:064x}")}
    return PartCommit(ShardName(name, "b", "train"), 2, 1, dropped, (), {"n": 1}, files)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 6, 7])
def test_what_is_written_is_read_and_its_files_are_known(tmp_path: Path, count: int) -> None:
    write_manifest(tmp_path, of_parts(count))
    assert read_manifest(tmp_path) == of_parts(count)
    there = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path).as_posix() for path in there} == set(manifest_files(count))


def test_its_head_does_not_grow_with_what_is_in_its_pages(tmp_path: Path) -> None:
    write_manifest(tmp_path, of_parts(4))
    assert manifest_files(4) == ["manifest/000000.json", "manifest/000001.json", "manifest.json"]
    assert "k0" not in (tmp_path / "manifest.json").read_text()


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "other"])
def test_a_damaged_page_is_found(tmp_path: Path, damage: str) -> None:
    write_manifest(tmp_path, of_parts(7))
    page = tmp_path / "manifest" / "000001.json"
    content = page.read_text()
    match damage:
        case "changed":
            page.write_text(content.replace("k4", "k5"))
        case "cut":
            page.write_text(content[:-40])
        case "gone":
            page.unlink()
        case "other":
            page.write_text((tmp_path / "manifest" / "000000.json").read_text())
    with pytest.raises(ValueError, match=r"000001\.json is (damaged|missing)") as raised:
        read_manifest(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_page_that_lies_elsewhere_is_not_opened(tmp_path: Path) -> None:
    write_manifest(tmp_path, of_parts(4))
    head = tmp_path / "manifest.json"
    head.write_text(head.read_text().replace("manifest/000001.json", "../other/000001.json"))
    with pytest.raises(ValueError, match="is no page of it"):
        read_manifest(tmp_path)


def test_a_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, of_parts(1))
    head = tmp_path / "manifest.json"
    head.write_text(head.read_text().replace('"version": 1', '"version": 3'))
    with pytest.raises(ValueError, match="version 3, this Open-Det reads 1 and 2"):
        read_manifest(tmp_path)


def test_a_commit_record_is_written_and_read(tmp_path: Path) -> None:
    quarantined = (QuarantinedEntry("q", "caption", "ValueError: übrig", 2),)
    commit = replace(_part(0), samples_in=3, quarantined=quarantined, inputs={"a/b": "c"})
    (tmp_path / "commit").write_text(commit_text(commit))
    assert read_commit(tmp_path / "commit") == commit


@pytest.mark.parametrize("counts", [(3, 1), (2, 0), (1, 1), (3, 3), (5, 1)])
def test_a_part_that_does_not_add_up_cannot_be_told(counts: tuple[int, int]) -> None:
    whole = replace(_part(7), samples_in=4, quarantined=(QuarantinedEntry("q", "s", "e", 0),) * 2)
    samples_in, samples_out = counts
    said = f"b-000007: {samples_in} samples in, {samples_out} out, 1 dropped, 2 quarantined"
    with pytest.raises(AssertionError, match=f"^{said}"):
        replace(whole, samples_in=samples_in, samples_out=samples_out)


def test_tallies_add_up_and_splits_are_told_apart() -> None:
    first, second, third = of_parts(3).parts
    second = replace(second, tally={"n": 2, "m": 5}, shard=ShardName("b-000001", "b", "val"))
    manifest = Manifest("shards", "f", (first, second, third))
    assert manifest.tally() == {"n": 4, "m": 5}
    assert manifest.of_split("train") == (first, third)
    assert manifest.of_split("val") == (second,)
    assert manifest.of_split("test") == ()


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (
            '"samples_in": 2',
            '"samples_in": "two"',
            "parts.0.samples_in: Input should be a valid int",
        ),
        ('"sha256": "0', '"other": "0', "parts.0.files.b-000000.tar.sha256: Field required"),
        ('"sha256": "0', '"sha256": "/', "parts.0.files.b-000000.tar.sha256: String should match"),
        ("{", "[", "its root: Invalid JSON: "),
    ],
)
def test_a_damaged_manifest_says_where(tmp_path: Path, old: str, new: str, where: str) -> None:
    """The first of the places, where there are several."""
    write_manifest(tmp_path, of_parts(2))
    head = tmp_path / "manifest.json"
    head.write_text(head.read_text().replace(old, new))
    said = f"{head} is damaged at {where}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}") as raised:
        read_manifest(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_long_name_of_a_page_is_cut(tmp_path: Path) -> None:
    write_manifest(tmp_path, of_parts(4))
    head = tmp_path / "manifest.json"
    head.write_text(head.read_text().replace("manifest/000001.json", "x" * 500))
    with pytest.raises(ValueError, match=rf"is damaged: '{'x' * 120}' is no page of it$"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    said = f"{tmp_path / 'manifest.json'} is missing: build the stage first"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_manifest(tmp_path)


def test_a_disk_that_fails_is_told_with_the_manifest_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Path) -> bytes:
        raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="no disk") as raised:
        read_manifest(tmp_path)
    assert raised.value.filename == str(tmp_path / "manifest.json")
