"""Names in words or in a file; what is no list of names is one line."""

from pathlib import Path

import pytest

from opendet.name_list import read_names


def test_in_words() -> None:
    assert read_names("cat, red  dog,,cat , Eiffel Tower") == ("cat", "red dog", "Eiffel Tower")


def test_more_words_than_a_file_s_name_may_have() -> None:
    names = [f"some object {number}" for number in range(400)]
    assert read_names(", ".join(names)) == tuple(names)


def test_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeffcat\n# a comment\n\n  red dog \nsalt, pepper\ncat\n", "utf-8")
    assert read_names(str(path)) == ("cat", "red dog", "salt, pepper")


def test_a_file_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list").write_text("cat\ndog\n")
    monkeypatch.chdir(tmp_path)
    assert read_names("list") == ("cat", "dog")
    assert read_names("lists") == ("lists",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("names.txt", "there is no file names.txt"),
        ("a/b", "there is no file a/b"),
        (" , ", "names nothing"),
        ("# none", "names nothing"),
        ("word " * 40, "is no list of names"),
    ],
)
def test_no_list_is_one_line(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as told:
        read_names(given)
    assert "\n" not in str(told.value)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    for content, said in ((b"", "names nothing"), (b"\xff\xfe", "is not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_names(str(path))
