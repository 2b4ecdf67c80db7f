"""What words of a command line stand for: in order, and what is no image counted."""

from pathlib import Path

import pytest

from opendet.media.inputs import Camera, Film, expand
from tests.cli_world import picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.jpg, a.png, clip.mp4 and notes.txt; below/c.webp; a hidden one; made/, of drawings."""
    for below in ("below", "made", ".hidden"):
        (tmp_path / "shots" / below).mkdir(parents=True)
    shots = tmp_path / "shots"
    (shots / "b.jpg").write_bytes(picture(1))
    (shots / "a.png").write_bytes(picture(2, kind="PNG"))
    (shots / "below" / "c.webp").write_bytes(picture(3, kind="WEBP"))
    (shots / "made" / "b.png").write_bytes(picture(4, kind="PNG"))
    (shots / ".hidden" / "d.jpg").write_bytes(picture(5))
    (shots / "clip.MP4").write_bytes(b"a film, by its name")
    (shots / "notes.txt").write_text("no image")
    (shots / "lies.jpg").write_text("no image either")
    monkeypatch.chdir(tmp_path)
    return shots


def names(shown: tuple[object, ...]) -> list[str]:
    return [str(one.path if isinstance(one, Film) else one) for one in shown]


def test_a_folder_stands_for_what_is_below_it_in_order(folder: Path) -> None:
    found = expand(["shots"], without=folder / "made")
    inside = ["a.png", "b.jpg", "below/c.webp", "clip.MP4"]
    assert names(found.shown) == [f"shots/{name}" for name in inside]
    assert isinstance(found.shown[-1], Film)
    assert found.skipped == 2, "notes.txt and lies.jpg; what is hidden or drawn is not looked at"


def test_words_keep_their_order_and_a_mistyped_one_its_place(folder: Path) -> None:
    found = expand(["shots/b.jpg", "gone.jpg", "shots/below", "0", "shots/notes.txt"])
    assert found.shown[3] == Camera(0)
    assert names(found.shown[:3]) == ["shots/b.jpg", "gone.jpg", "shots/below/c.webp"]
    assert found.shown[4] == Path("shots/notes.txt"), "named by somebody, and told as no image"
    assert found.skipped == 0


def test_a_pattern_stands_for_what_matches(folder: Path) -> None:
    assert names(expand(["shots/**/*.webp"]).shown) == ["shots/below/c.webp"]
    assert names(expand(["shots/*.j*"]).shown) == ["shots/b.jpg"]
    assert expand(["shots/*.j*"]).skipped == 1
    assert names(expand(["no/*.jpg"]).shown) == ["no/*.jpg"], "told as a file that is not there"


def test_a_file_that_looks_like_a_pattern_or_a_number_is_itself(folder: Path) -> None:
    for name in ("7", "[1].jpg"):
        (folder.parent / name).write_bytes(picture(6))
    assert expand(["7", "[1].jpg"]).shown == (Path("7"), Path("[1].jpg"))


def test_a_file_that_cannot_be_read_is_not_passed_over(folder: Path) -> None:
    (folder / "a.png").chmod(0)
    try:
        assert "shots/a.png" in names(expand(["shots"]).shown)
    finally:
        (folder / "a.png").chmod(0o644)


def test_nothing_to_see_is_one_line(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no image and no film there among 1 files: name some"):
        expand(["shots/empty"])
