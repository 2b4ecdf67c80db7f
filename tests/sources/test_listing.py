"""Entries: keys that fit, names that stay below the root, text without control characters."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.sources.folder import list_folder
from opendet.sources.listing import clean_text, entry_of, in_order, key_of

KEY = re.compile(r"[0-9A-Za-z_-]{1,90}")
BATCH = "b" * 30


@given(st.text(min_size=1))
def test_every_name_has_a_key_that_fits(name: str) -> None:
    key = key_of(BATCH, name)
    assert KEY.fullmatch(key)
    assert key.startswith(f"{BATCH}-")
    entry_of(BATCH, "images", name).file.encode()


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
def test_sanitised_keys_stay_apart(names: list[str]) -> None:
    names = [f"{name}é.jpg" for name in names]  # é has to go, so that each key has a hash
    assert len({key_of("b", name) for name in names}) == len(names)


def test_keys() -> None:
    assert key_of("train", "a/b.jpg").startswith("train-a_b-")
    assert key_of("train", "000042.jpg") == "train-000042"
    assert len(key_of("train", "x" * 500 + ".jpg")) == 90
    assert key_of("train", "x" * 500 + "1.jpg") != key_of("train", "x" * 500 + "2.jpg")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../../etc/passwd", "file outside the root"),
        ("a/../../b.jpg", "file outside the root"),
        ("/etc/passwd", ""),  # below the folder all the same: `images//etc/passwd`
        ("a\x00.jpg", "unusable file name"),
        ("a\n.jpg", "unusable file name"),
        ("\udcff.jpg", "unusable file name"),
        ("x" * 300, "unusable file name"),
        ("a b/ü.jpg", ""),
        ("..jpg", ""),
    ],
)
def test_names_that_leave_the_root_are_never_opened(name: str, problem: str) -> None:
    assert entry_of("b", "images", name).problem == problem


def test_an_absolute_name_without_a_folder_leaves_the_root() -> None:
    assert entry_of("b", "", "/etc/passwd").problem == "file outside the root"


def test_the_second_of_two_entries_with_one_key_is_a_problem() -> None:
    names = ["b.jpg", "a.png", "a.jpg"]
    entries = in_order(entry_of("x", "", name) for name in names)
    assert [(entry.file, entry.problem) for entry in entries] == [
        ("a.jpg", ""),
        ("a.png", "duplicate key"),
        ("b.jpg", ""),
    ]


@given(st.text(st.characters(min_codepoint=0)))
def test_clean_text_is_printable_utf8_and_idempotent(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", clean)
    assert clean_text(clean) == clean


def test_clean_text_keeps_markup() -> None:
    assert clean_text(" a\x00<b>dog</b>\n\t cat ") == "a <b>dog</b> cat"


def test_a_folder_lists_every_file_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("z.jpg", "sub/a.jpg", ".hidden.jpg", ".git/x.jpg", "notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "images" / "linked.jpg").symlink_to(tmp_path / "images" / "z.jpg")
    (tmp_path / "images" / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    entries = list_folder(tmp_path, batch="b", images="images")
    assert [entry.file for entry in entries] == [
        "images/linked.jpg",
        "images/notes.txt",
        "images/sub/a.jpg",
        "images/z.jpg",
    ]
    assert entries == list_folder(tmp_path, batch="b", images="images")


def test_a_name_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "bad\udcff.jpg").touch()
    (entry,) = list_folder(tmp_path, batch="b", images="")
    assert entry.problem == "unusable file name"
    entry.file.encode()
