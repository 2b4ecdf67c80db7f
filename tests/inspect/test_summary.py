"""Summaries: counts worked by hand, the same in any number of processes, whatever is damaged."""

import io
import json
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.inspect.collection import open_collection
from opendet.inspect.histograms import MOST_BARS, histograms_of, linear_bars
from opendet.inspect.summary import Summary, summary_json, summary_of
from opendet.inspect.summary_compare import comparison_json, comparison_lines
from opendet.inspect.summary_tables import bar, headline, summary_lines
from opendet.inspect.tables import show
from opendet.inspect.tally import Tally, added, score_bin, side_bin
from opendet.record import Provenance, Record, Region
from opendet.schema import write_records
from tests.exports.export_world import mask_of, record
from tests.shard_world import painted, publish, samples, small_build

SCORED = Provenance("finder", score=0.72)


def summed(path: Path, processes: int = 0, *, verify: bool = False) -> Summary:
    return summary_of(open_collection(path), processes=processes, verify=verify)


def printed(summary: Summary) -> str:
    """What a person sees of a summary in a pipe."""
    binary = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(binary, encoding="utf-8")) as out:
        show(*summary_lines(summary))
        out.flush()
        return binary.getvalue().decode()


# --- counting


def test_counts_worked_by_hand() -> None:
    kept = Region((0, 0, 10, 10), SCORED, names=("dog", "hound"), agreement=0.31)
    named = replace(kept, names=("cat",), names_from=Provenance("tagger"), refusal="too small")
    masked = Region((0, 0, 3, 3), Provenance("source"), mask=mask_of_ones())
    one = record(regions=[kept, named], caption="a dog and a cat", licence="CC0-1.0")
    other = record("b.jpg", regions=[replace(masked, refusal="crowd")], split="val")
    tally = Tally()
    for each in (one, other):
        tally.add(each)
    assert (tally.samples, tally.regions, tally.kept, tally.masks) == (2, 3, 1, 1)
    assert tally.without_region == 1
    assert tally.splits == {"train": 1, "val": 1}
    assert tally.licences == {"CC0-1.0": 1, "MIT": 1}
    assert tally.names == {"dog": 1}, "a refused region's name is none to count on"
    assert tally.refusals == {"too small": 1, "crowd": 1}
    assert tally.boxes_by == {"finder": 2, "source": 1}
    assert tally.names_by == {"nobody": 1, "tagger": 1}
    assert tally.box_scores == {14: 2}, "0.72 is in [0.70, 0.75)"
    assert tally.agreements == {6: 2}
    assert tally.sides == {3: 2, 1: 1}, "10 px is in [8, 16), 3 px in [2, 4)"
    assert tally.words == {1: 1}, "five words are in [5, 10)"


@pytest.mark.parametrize(
    ("score", "expected"), [(0.0, 0), (0.049, 0), (0.05, 1), (1.0, 19), (-0.01, -1), (1e300, 2e7)]
)
def test_bins_of_scores(score: float, expected: int) -> None:
    assert score_bin(score) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 1, 1), 0),
        ((0, 0, 0.5, 0.5), -1),
        ((5, 5, 5, 9), -1),
        ((9, 9, 1, 2), -1),
        ((0, 0, float("nan"), 3), -1),
        ((0, 0, 64, 64), 6),
    ],
)
def test_bins_of_boxes(box: tuple[float, float, float, float], expected: int) -> None:
    assert side_bin(box) == expected


@given(st.dictionaries(st.integers(-(10**6), 10**6), st.integers(1, 50), min_size=1))
def test_bars_lose_no_count_and_are_few(counts: dict[int, int]) -> None:
    bars = linear_bars(Counter(counts), 0.05)
    assert sum(one.count for one in bars) == sum(counts.values())
    assert 1 <= len(bars) <= MOST_BARS
    assert bars[0].count
    assert bars[-1].count
    assert all(a.high == pytest.approx(b.low) for a, b in pairwise(bars))


@given(st.lists(st.integers(0, 9)), st.integers(0, 9))
def test_tallies_of_parts_add_up_to_that_of_the_whole(sizes: list[int], cut: int) -> None:
    records = [
        record(f"{n}.jpg", [Region((0, 0, size, size), SCORED, names=(f"n{size}",))])
        for n, size in enumerate(sizes)
    ]

    def tallied(some: list[Record]) -> Tally:
        tally = Tally()
        for each in some:
            tally.add(each)
        return tally

    assert added([tallied(records[:cut]), tallied(records[cut:])]) == tallied(records)


def test_the_same_in_one_process_and_in_two(tmp_path: Path) -> None:
    small_build(tmp_path / "shards")
    told: list[int] = []
    opened = open_collection(tmp_path / "shards")
    alone = summary_of(opened, processes=0, advance=told.append)
    assert told == [5, 10, 15]
    assert summary_of(opened, processes=2) == alone
    assert (alone.tally.samples, alone.expected, alone.troubles) == (15, 15, ())
    assert alone.keys == {f"a-{number:04d}" for number in range(15)}


# --- what is not whole


def test_troubles_of_one_piece_are_told_in_few_lines(tmp_path: Path) -> None:
    publish(tmp_path / "shards", {"a-000000": samples(9)})
    path = tmp_path / "shards" / "a-000000.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"record_version": 2', b'"record_version": 9'))
    found = summed(tmp_path / "shards")
    assert found.tally.samples == 0
    assert len(found.troubles) == 4
    assert found.troubles[-1] == "a-000000.tar: 6 more things are not whole"
    assert "no samples of 9 that there should be" in headline(found)


def test_a_copy_of_a_shard_is_named(tmp_path: Path) -> None:
    made = samples(4)
    publish(tmp_path / "shards", {"a-000000": made, "a-000001": made})
    assert summed(tmp_path / "shards").troubles == (
        "a-000001: 4 keys come twice, a-0000 is in a-000000 too",
    )


def test_only_verify_reads_every_byte(tmp_path: Path) -> None:
    """A flip within a picture changes no size, header or record."""
    made = small_build(tmp_path / "shards")
    path = tmp_path / "shards" / "a-000001.tar"
    content = bytearray(path.read_bytes())
    content[content.index(made[6].content) + 50] ^= 1
    path.write_bytes(content)
    quick = summed(tmp_path / "shards")
    assert quick.troubles == ()
    assert "not the pictures' bytes" in printed(quick)
    thorough = summed(tmp_path / "shards", verify=True)
    assert f"{path} is damaged: its sha256 is not the manifest's" in thorough.troubles
    assert any(made[6].key in line for line in thorough.troubles)
    assert thorough.tally == quick.tally
    assert "every byte" in printed(thorough)


def test_fewer_samples_than_the_manifest_says(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    publish(folder, {"a-000000": samples(3)})
    other = tmp_path / "other"
    publish(other, {"a-000000": samples(2)})
    for name in ("a-000000.tar", "a-000000.idx"):
        (other / name).replace(folder / name)
    found = summed(folder)
    assert "a-000000.tar: 2 samples instead of 3" in found.troubles
    assert "2 of 3 samples" in headline(found)


# --- showing


def test_what_is_shown_of_a_build(finished: Path) -> None:
    text = printed(summed(finished / "datasets" / "tiny"))
    assert "tiny: 6 samples, as the stage shards has them; 12 regions, 6 kept and 6 refused" in text
    for expected in (
        "train",
        "pictures",
        "MIT",
        "red car",
        "too small",
        "side of the box, px",
        "█",
    ):
        assert expected in text


def test_texts_are_data_and_steer_nothing(tmp_path: Path) -> None:
    name = "\x1b[31mred \u202e[bold]x[/bold] :smile:"
    region = Region((0, 0, 9, 9), Provenance(name), names=(name,), refusal="")
    write_records(tmp_path / "a.parquet", [record(regions=[region], licence=name)])
    text = printed(summed(tmp_path / "a.parquet"))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_no_samples_are_said_to_be_none(tmp_path: Path) -> None:
    publish(tmp_path / "shards", {"a-000000": []})
    found = summed(tmp_path / "shards")
    assert headline(found) == "shards: no samples, as the stage shards has them"
    assert found.troubles == ()
    assert histograms_of(found.tally) == ()
    assert summary_json(found)["samples"] == {"expected": 0, "read": 0}


@pytest.mark.parametrize(("count", "expected"), [(16, "█" * 12), (8, "█" * 6), (1, "▊"), (0, "")])
def test_bars(count: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opendet.inspect.summary_tables._unicode", lambda: True)
    assert bar(count, 16) == expected


def test_json_is_plain_and_whole(finished: Path) -> None:
    found = summary_json(summed(finished / "datasets" / "tiny"))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert again["regions"] == {"all": 12, "kept": 6, "masks": 0}
    assert again["names"] == {"cat": 2, "dog": 2, "red car": 2}
    assert sum(count for *_, count in again["histograms"]["side of the box, px"]) == 12


def test_two_side_by_side(tmp_path: Path) -> None:
    made = samples(6)
    publish(tmp_path / "new", {"a-000000": made})
    extra = [painted("a-0009"), *made[:4]]
    publish(tmp_path / "old", {"a-000000": extra})
    here, there = summed(tmp_path / "new"), summed(tmp_path / "old")
    first, *_ = comparison_lines(here, there)
    assert first == (
        "new against old: 4 samples in both, 2 only in the first, 1 only in the second"
    )
    told = comparison_json(here, there)
    assert told["totals"]["samples"] == [6, 5]
    # 0 and 4 of the new ones have no region, and neither has the extra one
    assert told["names"] == {"thing": [4, 3]}
    assert told["refused regions"] == {"border": [4, 3]}
    assert told["splits"] == {"train": [6, 5]}


def mask_of_ones() -> object:
    import numpy as np

    return mask_of(np.ones((10, 20)))
