"""Models by name: from the hub's cache, laid out as the hub's own library lays it out."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from opendet import OpenDet
from opendet.hub.resolve import resolve_model
from tests.model.naming_worlds import export_named

OLD, NEW = "1" * 40, "2" * 40


def fill_cache(cache: Path, name: str, commits: dict[str, Path], main: str) -> None:
    """models--owner--name: blobs, snapshots of links to them, and what the branch points at."""
    repo = cache / f"models--{name.replace('/', '--')}"
    for commit, folder in commits.items():
        for path in sorted(folder.rglob("*")):
            if path.is_dir():
                continue
            place = repo / "snapshots" / commit / path.relative_to(folder)
            blob = repo / "blobs" / f"{commit[:1]}-{path.name}"
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(path.read_bytes())
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(blob)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(main)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_name_is_found_in_the_cache(cache: Path, tmp_path: Path) -> None:
    models = {
        OLD: export_named(tmp_path / "old", t5=False),
        NEW: export_named(tmp_path / "new", t5=False, aligner=False),
    }
    fill_cache(cache, "ada/owls", models, main=NEW)
    assert resolve_model("ada/owls").name == NEW
    assert resolve_model("ada/owls", "main").name == NEW
    pinned = resolve_model("ada/owls", OLD)
    assert (pinned / "config.json").read_bytes() == (tmp_path / "old/config.json").read_bytes()


def test_a_model_of_the_cache_detects_and_is_saved_as_files(cache: Path, tmp_path: Path) -> None:
    model = export_named(tmp_path / "model", t5=False)
    fill_cache(cache, "ada/owls", {OLD: model}, main=OLD)
    detector = OpenDet.from_pretrained("ada/owls", revision=OLD, device="cpu")
    detector.save_pretrained(tmp_path / "saved")
    weights = tmp_path / "saved" / "model.safetensors"
    assert not weights.is_symlink()
    assert weights.read_bytes() == (model / "model.safetensors").read_bytes()


def test_a_folder_stays_where_it_is(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path)) == tmp_path
    with pytest.raises(ValueError, match="is a folder, which has no revisions"):
        resolve_model(str(tmp_path), "main")


@pytest.mark.parametrize("name", ["owls", "./no/where", "/no/where", "a/b/c", "", "-x/y", "a b/c"])
def test_what_is_neither_a_folder_nor_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name a model's folder, or owner/name") as caught:
        resolve_model(name or "~nobody")
    assert "\n" not in str(caught.value)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file: name the model's folder"):
        resolve_model(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("revision", [None, "v2", OLD])
def test_offline_one_line_says_what_to_do(cache: Path, revision: str | None) -> None:
    with pytest.raises(ValueError, match=r"hf download.*or name a model's folder") as caught:
        resolve_model("ada/owls", revision)
    assert "\n" not in str(caught.value)
    assert "ada/owls" in str(caught.value)


def test_a_damaged_model_of_the_cache_is_told(cache: Path, tmp_path: Path) -> None:
    model = export_named(tmp_path / "model", t5=False)
    (model / "model.safetensors").write_bytes(b"cut")
    fill_cache(cache, "ada/owls", {OLD: model}, main=OLD)
    with pytest.raises(ValueError, match="missing or damaged"):
        OpenDet.from_pretrained("ada/owls", device="cpu")
