"""Long lists of JSON, read object by object: the same as at once, in whatever pieces."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.sources import json_items
from opendet.sources.json_items import read_json_items


@dataclass(frozen=True, slots=True)
class Item:
    a: float
    b: tuple[str, ...] = ()


ITEMS = [{"a": 1, "b": ['[{ä"}]'], "c": {"unused": [None]}}, {"a": 2.5}, {"a": -1e3, "b": []}]


def read(path: Path, content: str | bytes) -> list[Item]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_json_items(Item, path, mend="mend it"))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_pieces_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int, ascii_only: bool
) -> None:
    monkeypatch.setattr(json_items, "CHUNK", chunk)
    content = json.dumps(ITEMS, indent=indent, ensure_ascii=ascii_only)
    expected = [Item(1, ('[{ä"}]',)), Item(2.5), Item(-1000)]
    assert read(tmp_path / "a.json", f" \n{content}\n") == expected


def test_no_items_and_a_file_of_many(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", " [ ] ") == []
    many = [{"a": number, "b": ["x" * 40]} for number in range(50_000)]
    assert len(json.dumps(many)) > 2 * json_items.CHUNK
    assert [item.a for item in read(tmp_path / "a.json", json.dumps(many))] == list(range(50_000))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "0: a list is due, and not ''"),
        ("{}", "0: a list is due, and not '{'"),
        ("[3]", "0: an object is due, and not '3'"),
        ("[", "0: an object is due, and not ''"),
        ('[{"a": 1},]', "1: an object is due, and not ']'"),
        ('[{"a": 1}', "1: `,` or the list's end is due, and not ''"),
        ('[{"a": 1} {"a": 2}]', "1: `,` or the list's end is due, and not '{'"),
        ('[{"a": 1}] x', "1: the file is to end here, and not to go on with 'x'"),
        ('[{"a": 1}, {"a": tru', "1: Expecting value"),
        ('[{"a": 1}, {"a": "x', "1: Unterminated string"),
        ('[{"a": ' + "[" * 100_000, "0: maximum recursion depth"),
        ('[{"a": ' + "9" * 5000 + "}]", "0: Exceeds the limit"),
        (b'[{"a": "\xff"}]', "0: 'utf-8' codec can't decode"),
        ('[{"a": 1}, {"b": []}]', "1.a: Field required"),
        ('[{"a": 1, "b": [1]}]', "0.b.0: Input should be a valid string"),
    ],
)
def test_a_broken_file_names_the_item(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(ValueError, match=r"a\.json: ") as caught:
        read(tmp_path / "a.json", content)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_whole_comes_before_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {')
    items = read_json_items(Item, tmp_path / "a.json")
    assert next(items) == Item(1)
    with pytest.raises(ValueError, match="1: "):
        next(items)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json is missing: mend it"):
        list(read_json_items(Item, tmp_path / "a.json", mend="mend it"))
    with pytest.raises(ValueError, match="is a folder"):
        list(read_json_items(Item, tmp_path))


@pytest.fixture(scope="module")
def fuzz_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "a.json"


@settings(max_examples=200)
@given(st.integers(0, 120), st.binary(max_size=4), st.integers(0, 4))
def test_a_mutated_file_is_read_as_at_once_or_is_one_line(
    fuzz_file: Path, place: int, new: bytes, cut: int
) -> None:
    content = json.dumps(ITEMS).encode()
    content = content[:place] + new + content[place + cut :]
    found = items_or_error(fuzz_file, content)
    if isinstance(found, str):
        assert found.startswith(str(fuzz_file))
        assert "\n" not in found
    else:
        assert [item.a for item in found] == [float(item["a"]) for item in json.loads(content)]


def items_or_error(path: Path, content: bytes) -> Any:
    try:
        return read(path, content)
    except ValueError as error:
        return str(error)


def test_a_byte_order_mark_is_none_of_the_list(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", b'\xef\xbb\xbf[{"a": 1}]') == [Item(1)]
