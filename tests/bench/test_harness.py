"""The harness: rows, verdicts, units that are kept, and the record."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from opendet.bench import records
from opendet.bench.__main__ import BENCHES, GROUPS, chosen, main
from opendet.bench.harness import Place, Row, at_least, at_most, code_of, paired, run_bench
from opendet.bench.machine import machine
from opendet.bench.timing import compare

TOLD = {"command": "make bench BENCH=one", "machine": "a machine", "date": "2026-01-01"}


def test_a_paired_gate_asks_for_the_size_and_for_two_errors() -> None:
    assert paired("m", [11, 12, 13], [1, 2, 3], 5).holds  # 10 each: error 0
    assert not paired("m", [5, 6, 7], [1, 2, 3], 5).holds  # 4 < 5
    noisy = paired("m", [30, 0, 0], [0, 0, 0], 5)  # 10, with an error of 10
    assert noisy.value == pytest.approx(10)
    assert not noisy.holds


def test_a_gate_that_bounds_a_loss_asks_for_the_size_alone() -> None:
    assert paired("m", [1, 2, 3], [2, 3, 4], -2, allowing=True).holds
    assert not paired("m", [1, 2, 3], [4, 5, 6], -2, allowing=True).holds


def test_one_seed_never_passes_a_paired_gate() -> None:
    assert paired("m", [10.0], [0.0], 5).holds is False


def test_goals_hold_at_the_bound() -> None:
    assert at_least("m", 4, 4).holds
    assert not at_least("m", 3.99, 4).holds
    assert at_most("m", 4, 4).holds
    assert not at_most("m", 4.01, 4).holds


def test_a_unit_is_worked_once_until_its_settings_or_its_code_change(tmp_path: Path) -> None:
    worked = []

    def work() -> int:
        worked.append(1)
        return len(worked)

    assert Place(tmp_path).unit({"seed": 0}, "v1", work, what="a") == 1
    again = Place(tmp_path)
    assert again.unit({"seed": 0}, "v1", work, what="a") == 1
    assert (again.done, again.reused, again.asked) == (1, 1, 1)
    assert Place(tmp_path).unit({"seed": 1}, "v1", work, what="a") == 2
    assert Place(tmp_path).unit({"seed": 0}, "v2", work, what="a") == 3
    assert Place(tmp_path, device="cuda").unit({"seed": 0}, "v1", work, what="a") == 4


def test_a_unit_that_fails_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Place(tmp_path).unit({}, "v", lambda: 1 / 0, what="a")
    assert Place(tmp_path).unit({}, "v", lambda: 7, what="a") == 7


def test_no_unit_begins_after_the_deadline_but_kept_ones_are_told(tmp_path: Path) -> None:
    Place(tmp_path).unit({"seed": 0}, "v", lambda: 5, what="a")

    def bench(place: Place) -> Iterator[Row]:
        results = [place.unit({"seed": seed}, "v", lambda: 6, what="a") for seed in range(3)]
        yield Row("results", str(results))

    rows = run_bench(bench, Place(tmp_path, deadline=-math.inf))
    assert rows[0].value == "[5, None, None]"
    assert (rows[1].metric, rows[1].value, rows[1].holds) == ("units done", "1 of 3", False)


def test_a_benchs_rows_replace_its_older_ones_and_no_others(tmp_path: Path) -> None:
    records.record(tmp_path, "two", [Row("a", 1.0)], **TOLD)
    records.record(tmp_path, "one", [Row("a", 1.0), Row("b", 2.0)], **TOLD)
    records.record(tmp_path, "one", [at_least("a", 3.0, 4)], **TOLD)
    records.record(tmp_path, "one", [Row("a", 9.0)], **{**TOLD, "command": "on a GPU"})
    told = [(one["name"], one["metric"], one["value"]) for one in records.read(tmp_path)]
    assert told == [("one", "a", 3.0), ("one", "a", 9.0), ("two", "a", 1.0)]
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| a | 3 | >= 4 | missed |  |" in page
    assert page.count("## one") == 2
    assert "**0 of 1 goals hold.** Missed are:\n\n- [one](#one): a: 3, goal >= 4\n\n## one" in page
    records.record(tmp_path, "one", [at_least("a", 5.0, 4)], **TOLD)
    assert "**1 of 1 goals hold.**\n\n## one" in (tmp_path / "benchmarks.md").read_text()


def test_the_same_rows_in_another_order_of_benches_give_the_same_bytes(tmp_path: Path) -> None:
    for folder, names in (("x", ("one", "two")), ("y", ("two", "one"))):
        for name in names:
            records.record(tmp_path / folder, name, [Row("a", 1 / 3)], **TOLD)
    for file in ("benchmarks.json", "benchmarks.md"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_a_number_that_json_does_not_know_is_kept_in_words(tmp_path: Path) -> None:
    records.record(tmp_path, "one", [at_least("a", math.nan, 4)], **TOLD)
    [one] = json.loads((tmp_path / "benchmarks.json").read_text())
    assert (one["value"], one["holds"]) == ("nan", False)


def test_the_code_of_a_module_is_that_of_what_it_imports() -> None:
    assert code_of("opendet.bench.harness") == code_of("opendet.bench.harness")
    assert code_of("opendet.bench.records") != code_of("opendet.files")


def test_the_median_of_ratios_forgives_a_slow_round() -> None:
    calls = []
    found = compare(lambda: calls.append("ours"), lambda: calls.append("theirs"), rounds=3)
    warm, rounds = calls[:2], calls[2:]
    assert warm == ["ours", "theirs"]
    assert rounds == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert found.ours > 0
    assert found.ratio > 0


def test_the_machine_is_told_without_its_name() -> None:
    assert "cores of" in machine()
    assert os.uname().nodename not in machine()


def test_an_unknown_bench_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"no bench no-such; there are .*tier1") as refusal:
        chosen(["tier1", "no-such"])
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="torch sees no GPU here"):
        main(["tier1-exact", "--device", "cuda"])


def test_groups_name_benches_that_there_are() -> None:
    for members in GROUPS.values():
        assert set(members) <= set(BENCHES)
    assert chosen([*GROUPS, *GROUPS]) == chosen(list(GROUPS))
