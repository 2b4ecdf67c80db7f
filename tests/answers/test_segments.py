"""Answers on disk: what was added is found, by whoever looks; what is damaged is no answer."""

import json
import multiprocessing
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.answers.segments import Segments, key_of, line_of


def key(text: str) -> str:
    return sha256(text.encode()).hexdigest()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(value=json_values, name=st.text())
def test_a_line_has_one_end_and_gives_its_key_and_value_back(value, name):
    line = line_of(key(repr(name)), value)
    assert line.count(b"\n") == 1
    assert key_of(line) == bytes.fromhex(key(repr(name)))
    assert json.loads(line[74:-1]) == value


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place, bit):
    line = bytearray(line_of(key("a"), "a cat sits on a mat, and so on and on"))
    place %= len(line) - 1
    line[place] ^= 1 << bit
    assert key_of(bytes(line)) is None


def test_what_one_adds_another_finds_at_once(tmp_path: Path):
    writer, reader = Segments(tmp_path), Segments(tmp_path)
    assert reader.find([key("a")]) == {}
    writer.add({key("a"): {"text": "ein Kätzchen"}})
    assert reader.find([key("a"), key("b")]) == {key("a"): {"text": "ein Kätzchen"}}
    reader.add({key("b"): 2})
    assert writer.find([key("b")]) == {key("b"): 2}
    assert len(list(tmp_path.glob("*.jsonl"))) == 2  # nobody adds to another's segment


def test_a_killed_writers_last_line_is_no_answer_and_harms_none(tmp_path: Path):
    writer = Segments(tmp_path)
    writer.add({key("a"): 1, key("b"): 2})
    [segment] = tmp_path.glob("*.jsonl")
    whole = segment.read_bytes()
    for cut in range(len(whole) + 1):
        segment.write_bytes(whole[:cut])
        found = Segments(tmp_path).find([key("a"), key("b")])
        assert len(found) == whole[:cut].count(b"\n")
        assert found.items() <= {key("a"): 1, key("b"): 2}.items()


def test_a_line_that_is_still_being_written_is_read_once_it_is_whole(tmp_path: Path):
    line = line_of(key("a"), "text")
    segment = tmp_path / "other.jsonl"
    segment.write_bytes(line[:40])
    reader = Segments(tmp_path)
    assert reader.find([key("a")]) == {}
    segment.write_bytes(line)
    assert reader.find([key("a")]) == {key("a"): "text"}


def test_damage_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = [line_of(key(name), name) for name in "abc"]
    (tmp_path / "x.jsonl").write_bytes(lines[0] + b"0" * 90 + b"\n" + lines[2])
    assert Segments(tmp_path).find(map(key, "abc")) == {key("a"): "a", key("c"): "c"}
    assert "1 damaged answers are passed over" in caplog.text


def _write(folder: Path, writer: int) -> None:
    segments = Segments(folder)
    for number in range(50):
        segments.add({key(f"{writer}-{number}"): "x" * 3000 + str(number)})


def test_many_writers_at_once_lose_nothing(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, writer)) for writer in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    reader = Segments(tmp_path)
    keys = [key(f"{writer}-{number}") for writer in range(3) for number in range(50)]
    assert len(reader.find(keys)) == len(reader) == 150
