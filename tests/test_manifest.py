"""A manifest of many parts is cut into pages; nobody who reads it can tell."""

from pathlib import Path

import pytest

from opendet import manifest as manifests
from opendet.manifest import (
    DroppedEntry,
    FileStamp,
    Manifest,
    PartCommit,
    ShardName,
    manifest_files,
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
