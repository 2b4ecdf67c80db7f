"""Duplicates: who came first decides, and what comes later changes nothing before it."""

from collections.abc import Iterable
from dataclasses import replace
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from opendet.curate import duplicates
from opendet.curate.duplicates import DuplicateJudge, LookIndex
from opendet.curate.source import SourceConfig
from opendet.record import Record
from opendet.sample import Dropped

# a few centres and a few flipped bits, so that hashes do come close
CODES = st.builds(
    lambda centre, flips: centre ^ sum({1 << flip for flip in flips}),
    st.sampled_from([0, 0xFFFF0000FFFF0000, 0x123456789ABCDEF0]),
    st.lists(st.integers(0, 63), max_size=6),
)


def record(key: str, variant: int, code: int) -> Record:
    """Its bytes are named by the hash and a variant: equal bytes always look the same."""
    return Record(
        key=key,
        source="x",
        batch="b",
        split="train",
        licence="MIT",
        file=f"{key}.jpg",
        format="jpg",
        bytes=1,
        sha256=f"{variant:048x}{code:016x}",
        width=1,
        height=1,
        phash=f"{code:016x}",
    )


def deduplicate(records: Iterable[Record], config: SourceConfig) -> list[Record | Dropped]:
    judge = DuplicateJudge(config)
    return [judge(record) for record in records]


RECORDS = st.lists(
    st.builds(record, st.integers(0, 60).map(str), st.integers(0, 2), CODES), max_size=40
)
CONFIGS = st.builds(
    SourceConfig,
    near_duplicates=st.sampled_from(["drop", "flag", "keep"]),
    near_duplicate_bits=st.integers(0, 8),
)


@given(RECORDS, RECORDS, CONFIGS)
def test_what_comes_later_changes_nothing_before_it(
    first: list[Record], second: list[Record], config: SourceConfig
) -> None:
    outcomes = deduplicate(first + second, config)
    assert outcomes[: len(first)] == deduplicate(first, config)
    assert [one.key for one in outcomes] == [one.key for one in first + second]


@given(RECORDS, CONFIGS)
def test_what_is_left_has_no_twins(records: list[Record], config: SourceConfig) -> None:
    outcomes = deduplicate(records, config)
    left = [one for one in outcomes if isinstance(one, Record)]
    assert len({one.key for one in left}) == len(left)
    assert len({one.sha256 for one in left}) == len(left)
    if config.near_duplicates == "keep":
        assert not any(one.near_duplicate_of for one in left)
        return
    looks = [int(one.phash, 16) for one in left if not one.near_duplicate_of]
    bits = config.near_duplicate_bits
    assert all((a ^ b).bit_count() > bits for i, a in enumerate(looks) for b in looks[:i])
    again = deduplicate([replace(one, near_duplicate_of="") for one in left], config)
    assert again == left


@given(RECORDS, st.integers(0, 8))
def test_flag_marks_what_drop_drops(records: list[Record], bits: int) -> None:
    dropped = deduplicate(records, SourceConfig(near_duplicates="drop", near_duplicate_bits=bits))
    flagged = deduplicate(records, SourceConfig(near_duplicates="flag", near_duplicate_bits=bits))
    # a flagged twin stays, so a later copy of its bytes is an exact duplicate there
    assert [isinstance(one, Dropped) or bool(one.near_duplicate_of) for one in flagged] == [
        isinstance(one, Dropped) for one in dropped
    ]


@given(st.lists(CODES, max_size=40), CODES, st.integers(0, 16), st.sampled_from([0, 3, 100]))
def test_the_index_finds_what_a_search_of_all_finds(
    codes: list[int], code: int, bits: int, few: int
) -> None:
    with patch.object(duplicates, "_FEW", few):  # by numpy, by Python, or by both
        _finds_what_a_search_finds(codes, code, bits)


def _finds_what_a_search_finds(codes: list[int], code: int, bits: int) -> None:
    index = LookIndex(bits)
    for number, known in enumerate(codes):
        index.add(known, str(number))
    distance, number = min(
        (((known ^ code).bit_count(), number) for number, known in enumerate(codes)),
        default=(99, -1),
    )
    assert index.nearest(code) == (str(number) if distance <= bits else None)


def test_the_key_of_a_dropped_record_is_taken_in_every_mode() -> None:
    far = 0xFFFF0000FFFF0000
    records = [record("2", 0, 1), record("0", 0, 0), record("1", 0, 0), record("1", 0, far)]
    for mode in ("drop", "flag", "keep"):
        config = SourceConfig.model_validate({"near_duplicates": mode, "near_duplicate_bits": 1})
        last = deduplicate(records, config)[-1]
        assert isinstance(last, Dropped)
        assert last.reason == "duplicate key"


def test_reasons_name_the_twin() -> None:
    records = [record("a", 1, 0), record("a", 2, 99), record("b", 1, 0), record("c", 1, 1)]
    outcomes = deduplicate(records, SourceConfig(near_duplicates="drop"))
    assert outcomes == [
        records[0],
        Dropped("a", "duplicate key", "a.jpg"),
        Dropped("b", "exact duplicate", "a"),
        Dropped("c", "near duplicate", "a"),
    ]


@given(RECORDS, CONFIGS)
def test_twins_that_are_named_stay(records: list[Record], config: SourceConfig) -> None:
    outcomes = deduplicate(records, config)
    left = {one.key for one in outcomes if isinstance(one, Record)}
    duplicates = ("exact duplicate", "near duplicate")
    for one in outcomes:
        if isinstance(one, Record):
            assert not one.near_duplicate_of or one.near_duplicate_of in left
        elif one.reason in duplicates:
            assert one.detail in left
