"""Pickles: plain data of both Pythons is read, and nothing that a pickle names is ever called."""

import collections
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.sources.plain_pickle import read_plain_pickle

PLAIN = [{"a": 1, "b": [1.5, None, True, "ä", (2, b"\xff\x00")], "c": {3}, "d": frozenset({4})}]


def written(folder: Path, content: bytes) -> Path:
    (folder / "a.p").write_bytes(content)
    return folder / "a.p"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read(tmp_path: Path, protocol: int) -> None:
    assert read_plain_pickle(written(tmp_path, pickle.dumps(PLAIN, protocol))) == PLAIN


def test_texts_of_python_2_are_read(tmp_path: Path) -> None:
    """{'sent': u'caf\\xe9', 'raw': 'caf\\xc3\\xa9', 'ids': set([7L])} as Python 2 wrote it."""
    old = (
        b"\x80\x02}q\x00(U\x04sentq\x01X\x05\x00\x00\x00caf\xc3\xa9q\x02U\x03rawq\x03"
        b"U\x05caf\xc3\xa9q\x04U\x03idsq\x05c__builtin__\nset\nq\x06]q\x07\x8a\x01\x07a\x85q\x08"
        b"Rq\tu."
    )
    assert read_plain_pickle(written(tmp_path, old)) == {"sent": "café", "raw": "café", "ids": {7}}


class Evil:
    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> Any:
        return self.call, self.given


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_not_run(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "proof"
    path = written(tmp_path, pickle.dumps([Evil(os.system, f"touch {proof}")], protocol))
    with pytest.raises(ValueError, match=r"a\.p is no pickle of plain data: it names (posix|nt)"):
        read_plain_pickle(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # the proof that the pickle would have worked
    assert proof.exists()


@pytest.mark.parametrize(
    "thing",
    [
        Evil(eval, "1"),
        Evil(getattr, "a", "upper"),
        Evil(__import__, "os"),
        Evil(bytearray, 5),
        Evil(int, "1"),
        collections.OrderedDict(a=1),
        np.float64(1),
        np.zeros(2),
        Path("a"),
        len,
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, thing: Any) -> None:
    path = written(tmp_path, pickle.dumps({"refs": [thing]}))
    with pytest.raises(ValueError, match=r"it names [\w.]+: fetch it from its authors") as caught:
        read_plain_pickle(path)
    assert "\n" not in str(caught.value)


def test_no_codec_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, b"c_codecs\nencode\n(VZm9v\nVrot13\ntR.")
    with pytest.raises(ValueError, match="bytes in 'rot13'"):
        read_plain_pickle(path)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", b"\x80\x02]q\x00(", b"\x80\xff.", b"\x80\x02Pabc\n.", b"."]
)
def test_broken_bytes_are_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"a\.p is no whole pickle") as caught:
        read_plain_pickle(written(tmp_path, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\x00\x00\x00\x01.",  # remembers a list as number 16,777,216
        b"]p16777216\n.",
        b"\x80\x05\x95" + (1 << 28).to_bytes(8, "little") + b"].",  # a frame of 256 MB
        b"\x80\x05\x8e" + (1 << 28).to_bytes(8, "little") + b"a.",  # bytes
        b"\x80\x05\x96" + (1 << 28).to_bytes(8, "little") + b"a.",  # changeable bytes
        b"\x80\x05\x8d" + (1 << 28).to_bytes(8, "little") + b"a.",  # a text
        b"\x80\x02\x8b" + (1 << 28).to_bytes(4, "little") + b"a.",  # a number
    ],
)
def test_few_bytes_fill_no_memory(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    tracemalloc.start()
    try:
        error_of(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.p is missing: mend it"):
        read_plain_pickle(tmp_path / "a.p", mend="mend it")
    with pytest.raises(ValueError, match="is a folder: name a pickle"):
        read_plain_pickle(tmp_path)


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=200)
@given(st.integers(0, 150), st.binary(max_size=4), st.integers(0, 4), st.integers(0, 4))
def test_a_mutated_file_is_read_or_one_line(
    fuzz_folder: Path, place: int, new: bytes, cut: int, protocol: int
) -> None:
    content = pickle.dumps(PLAIN, protocol)
    path = written(fuzz_folder, content[:place] + new + content[place + cut :])
    said = error_of(path)
    assert not said or said.startswith(str(path))
    assert "\n" not in said


def error_of(path: Path) -> str:
    try:
        read_plain_pickle(path)
    except ValueError as error:
        return str(error)
    return ""
