"""Writing pages: whole or absent, the same bytes each time, whatever is not whole in the data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.inspect.collection import Collection, open_collection
from opendet.pages import write
from opendet.pages.write import write_pages
from tests.pages.page_world import publish, sample, shards, world


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def value(out: Path, path: str) -> object:
    """The value in a data file."""
    script = (out / path).read_text()
    return json.loads(script[len(f'OpenDet.take("{path}",') : -3])


@pytest.fixture
def toy(tmp_path: Path) -> Collection:
    return open_collection(shards(tmp_path / "toy"))


def test_the_account_says_what_was_written(toy: Collection, tmp_path: Path) -> None:
    made = write_pages(toy, tmp_path / "pages")
    assert (made.samples, made.gone, made.pictures, made.troubles) == (12, 2, 12, 0)
    assert made.index.is_file()
    assert len(list(made.out.rglob("*-small.jpg"))) == 12
    assert len(list(made.out.rglob("*-large.jpg"))) == 12


def test_the_same_bytes_each_time(toy: Collection, tmp_path: Path) -> None:
    one = write_pages(toy, tmp_path / "one", processes=1)
    other = write_pages(toy, tmp_path / "other", processes=1)
    assert contents(one.out) == contents(other.out)


@pytest.mark.slow
def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    many = [sample(f"a-{number:04d}", "a cat") for number in range(900)]
    parts = {f"a-{start:06d}": many[300 * start : 300 * start + 300] for start in range(3)}
    collection = open_collection(publish(tmp_path / "many", parts))
    one = write_pages(collection, tmp_path / "one", processes=1)
    two = write_pages(collection, tmp_path / "two", processes=2)
    assert contents(one.out) == contents(two.out)


def test_a_large_collection_has_small_pictures_alone(toy: Collection, tmp_path: Path) -> None:
    made = write_pages(toy, tmp_path / "pages", large_up_to=5)
    assert not list(made.out.rglob("*-large.jpg"))
    details = value(made.out, "data/a/0000/details-0.js")
    assert isinstance(details, list)
    assert details[0]["large"] == ""
    assert (made.out / details[0]["small"]).is_file()


def test_a_failure_leaves_nothing(
    toy: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(write, "make_side", fail)
    with pytest.raises(OSError, match="No space"):
        write_pages(toy, tmp_path / "pages")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy"]


def test_a_folder_in_use_is_left_alone(toy: Collection, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write_pages(toy, tmp_path / "pages")
    assert contents(tmp_path / "pages") == {"mine.txt": b"mine"}


def test_no_samples_at_all(tmp_path: Path) -> None:
    empty = open_collection(publish(tmp_path / "toy", {"a-000000": []}))
    made = write_pages(empty, tmp_path / "pages", against=empty)
    assert (made.samples, made.pictures) == (0, 0)
    assert "There are no samples here" in made.index.read_text()


def test_a_damaged_shard_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = shards(tmp_path / "toy")
    tar = folder / "a-000001.tar"
    content = bytearray(tar.read_bytes())
    found = content.find(b"\xff\xd8\xff")
    content[found + 300 : found + 340] = b"\0" * 40  # within the first picture
    tar.write_bytes(content)
    made = write_pages(open_collection(folder), tmp_path / "pages")
    assert made.samples == 12
    assert made.pictures == 11
    index = value(made.out, "data/a/0001/index.js")
    assert isinstance(index, dict)
    assert index["fates"] == ["", "not whole"]


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    folder = shards(tmp_path / "toy")
    (folder / "a-000001.tar").unlink()
    made = write_pages(open_collection(folder), tmp_path / "pages")
    assert made.samples == 7
    assert made.troubles >= 1
    assert "a-000001" in made.index.read_text()


def test_a_caption_of_ten_megabytes(tmp_path: Path) -> None:
    long = sample("a-0000", "word " * 2_000_000)
    made = write_pages(
        open_collection(publish(tmp_path / "toy", {"a-000000": [long]})), tmp_path / "pages"
    )
    assert sum(len(content) for content in contents(made.out / "data").values()) < 100_000


def test_a_bare_tar(tmp_path: Path) -> None:
    shards(tmp_path / "toy")
    shutil.copy(tmp_path / "toy" / "a-000000.tar", tmp_path / "alone.tar")
    made = write_pages(open_collection(tmp_path / "alone.tar"), tmp_path / "pages")
    assert (made.samples, made.pictures) == (5, 5)


def test_texts_of_the_data_are_escaped_on_the_overview(tmp_path: Path) -> None:
    hostile = world(2)[1]
    record = replace(hostile.record, licence="<b onclick=x>")
    folder = publish(tmp_path / "toy", {"a-000000": [replace(hostile, record=record)]})
    page = write_pages(open_collection(folder), tmp_path / "pages").index.read_text()
    assert "<b onclick" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<script") == 0


def test_no_page_names_an_address(toy: Collection, tmp_path: Path) -> None:
    out = write_pages(toy, tmp_path / "pages", against=toy).out
    for path in [*out.glob("*.html"), *out.glob("assets/*")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert "http:" not in text, path
        assert "https:" not in text, path
        assert str(tmp_path) not in text, path
