"""Records survive the disk exactly."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.record import Mask, NameJudgement, Phrase, Provenance, Record, Region, Turn
from opendet.schema import (
    SCHEMA_VERSION,
    _as_judged,
    read_records,
    record_from_json,
    record_to_json,
    records_to_table,
    table_to_records,
    write_records,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
provenances = st.builds(Provenance, texts, texts, texts, st.none() | finite)
regions = st.builds(
    Region,
    st.tuples(finite, finite, finite, finite),
    provenances,
    st.none() | texts,
    st.lists(texts, max_size=2).map(tuple),
    st.booleans(),
    st.none() | st.builds(Mask, texts, provenances),
    st.lists(texts, max_size=3).map(tuple),
    st.none() | provenances,
    texts,
    st.none() | provenances,
    st.none() | finite,
    texts,
    st.none() | finite,
    st.none() | provenances,
    st.none() | finite,
    st.none() | provenances,
    st.none() | provenances,
    texts,
)
judgements = st.lists(st.builds(NameJudgement, texts, provenances), max_size=2).map(tuple)
counts = st.integers(0, 2**31 - 1)
phrases = st.builds(Phrase, counts, counts, st.lists(counts, max_size=3).map(tuple), provenances)
records = st.builds(
    Record,
    key=texts,
    source=texts,
    batch=texts,
    split=texts,
    licence=texts,
    file=texts,
    format=texts,
    bytes=st.integers(0, 2**62),
    sha256=texts,
    width=counts,
    height=counts,
    phash=texts,
    near_duplicate_of=texts,
    source_captions=st.lists(texts, max_size=2).map(tuple),
    caption=texts,
    caption_from=st.none() | provenances,
    phrases=st.lists(phrases, max_size=2).map(tuple),
    regions=st.lists(regions, max_size=2).map(tuple),
    tags=st.lists(texts, max_size=2).map(tuple),
    tags_from=st.none() | provenances,
    conversation=st.lists(st.builds(Turn, texts, texts), max_size=2).map(tuple),
    absent=judgements,
    partial=judgements,
)

PLAIN = Record("k", "s", "b", "train", "CC0-1.0", "k.png", "png", 3, "ab", 4, 5)


@given(st.lists(records, max_size=3))
def test_table_round_trip_is_exact(some: list[Record]) -> None:
    assert table_to_records(records_to_table(some)) == some


@given(records)
def test_json_round_trip_is_exact(record: Record) -> None:
    assert record_from_json(record_to_json(record)) == record


@given(records)
def test_json_is_what_the_standard_library_writes(record: Record) -> None:
    fields = {"record_version": SCHEMA_VERSION, **asdict(record)}
    assert record_to_json(record) == json.dumps(fields, sort_keys=True, ensure_ascii=False)


ODD_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 1.0, 2.5, 2**70, "3", "", [], [1], {}, float("nan"), float("inf")]
)


@given(records, st.data())
def test_the_fast_reader_says_what_pydantic_says(record: Record, data: st.DataObject) -> None:
    """Of a record in which one value was changed for another, or left out, or repeated."""
    fields = json.loads(record_to_json(record))
    inner = fields["regions"] + fields["phrases"]
    where = data.draw(st.sampled_from([fields, *inner]))
    name = data.draw(st.sampled_from(sorted(where)))
    where[name] = data.draw(ODD_VALUES)
    if data.draw(st.booleans()):
        del where[name]
    text = json.dumps(fields)
    assert outcome(record_from_json, text) == outcome(_as_judged, text)


@pytest.mark.parametrize(
    "inside", ['"\\ud800"', '"\xff"', "1e999", "[" * 100_000, "NaN", "01", '"a\x01"', "1 2"]
)
def test_odd_json_is_pydantic_s_to_judge(inside: str) -> None:
    text = record_to_json(PLAIN).replace('"format": "png"', f'"format": {inside}')
    assert outcome(record_from_json, text) == outcome(_as_judged, text)


def outcome(read: Callable[..., Record], text: str) -> str:
    try:
        return repr(read(text, where="k.json"))
    except (ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"


def test_parquet_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    some = [PLAIN, replace(PLAIN, key="m", caption="ünï\n\x00code")]
    write_records(tmp_path / "a.parquet", some)
    write_records(tmp_path / "b.parquet", some)
    assert read_records(tmp_path / "a.parquet") == some
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_no_records_round_trip(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", [])
    assert read_records(tmp_path / "a.parquet") == []


def test_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    table = records_to_table([PLAIN]).replace_schema_metadata({b"opendet.record_version": b"99"})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet has record version 99") as caught:
        read_records(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)
    newer = json.loads(record_to_json(PLAIN)) | {"record_version": 99}
    with pytest.raises(ValueError, match="record version 99"):
        record_from_json(json.dumps(newer))


OF_VERSION_2 = ("tags", "tags_from", "conversation", "absent", "partial")
OF_REGIONS = ("other_labels", "mask", "name_checked", "box_checked")


def test_version_1_is_read(tmp_path: Path) -> None:
    region = Region((0, 0, 2, 3), Provenance("source"), label="star", names=("star",))
    record = replace(PLAIN, regions=(region,), caption="a star")
    fields = json.loads(record_to_json(record)) | {"record_version": 1}
    fields = {name: value for name, value in fields.items() if name not in OF_VERSION_2}
    for one in fields["regions"]:
        for name in OF_REGIONS:
            del one[name]
    assert record_from_json(json.dumps(fields)) == record
    del fields["record_version"]
    table = pa.Table.from_pylist([fields])
    version = {b"opendet.record_version": b"1"}
    pq.write_table(table.replace_schema_metadata(version), tmp_path / "a.parquet")
    assert read_records(tmp_path / "a.parquet") == [record]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"record_version": 1}', '{"record_version": 1, "key": 3}']
)
def test_json_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="member"):
        record_from_json(text, where="member k.json")


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    boxed = replace(PLAIN, regions=(Region((0.125, 0.0, 1.0, 1.0), Provenance("source")),))
    text = record_to_json(boxed)
    assert record_from_json(text) == boxed
    with pytest.raises(ValueError, match=r"^k\.json holds what no record may"):
        record_from_json(text.replace("0.125", number), where="k.json")


def test_half_a_character_is_refused() -> None:
    fields = json.loads(record_to_json(PLAIN))
    with pytest.raises(ValueError, match=r"^k\.json holds what no record may"):
        record_from_json(json.dumps({**fields, "caption": "\ud800"}), where="k.json")


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_records(path, [PLAIN])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"a\.parquet is no readable Parquet"):
        read_records(path)
