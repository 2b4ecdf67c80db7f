"""Parquet from elsewhere: what its buffers hold is checked before it is believed."""

from dataclasses import replace
from pathlib import Path

import flow_world as world
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.schema import read_records, records_to_table, write_records

BAD_TEXT = b"ab\xff\xfe"


def text_of_bytes(content: bytes, rows: int) -> pa.Array:
    """A column that calls itself text, whatever the bytes are."""
    offsets = pa.array([len(content) * row for row in range(rows + 1)], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), rows, [None, offsets, pa.py_buffer(content * rows)])


def test_text_that_is_none_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    table = records_to_table([replace(world.record(row), caption="text") for row in range(3)])
    place = table.schema.get_field_index("caption")
    bad = table.set_column(place, table.schema.field(place), text_of_bytes(BAD_TEXT, 3))
    pq.write_table(bad, path)
    with pytest.raises(ValueError, match=r"part\.parquet is no readable Parquet file: ") as refused:
        read_records(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", range(40))
def test_a_flipped_byte_is_read_or_one_line(tmp_path: Path, number: int) -> None:
    path = tmp_path / "part.parquet"
    write_records(path, [world.record(row) for row in range(3)])
    content = bytearray(path.read_bytes())
    content[number * len(content) // 40] ^= 1 << number % 8
    path.write_bytes(content)
    said = refusal(path)
    assert said == "" or (said.startswith(str(path)) and "\n" not in said)


def refusal(path: Path) -> str:
    """What is said of a file that is not read; empty where it is."""
    try:
        read_records(path)
    except ValueError as refused:
        return str(refused)
    return ""
