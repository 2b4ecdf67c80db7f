"""Rows of the fault suite: what holds, how often is tried, and what the record says."""

import json
import threading
import time
from pathlib import Path

import pytest

from opendet.faults import __main__ as program
from opendet.faults.record import Row, order_of, page, record
from opendet.faults.rows import AT_ONCE, MOST_PROBLEMS, Effort, Fault, Shown, Tally
from opendet.faults.table import FAULTS


def fault(shown: Shown, number: str = "R1") -> Fault:
    return Fault(number, "something breaks", "it goes on", lambda effort: shown)


def test_a_bar_is_met_by_every_try_and_by_at_least_one() -> None:
    assert Shown(3, 3, "").holds
    assert not Shown(3, 2, "").holds
    assert not Shown(0, 0, "").holds


def test_a_tally_tells_the_first_problems_and_counts_all() -> None:
    tally = Tally()
    for number in range(9):
        tally.add(f"try {number}" if number else "")
    shown = tally.shown("nine tries", "others: 0")
    assert (shown.tries, shown.good, shown.peers) == (9, 1, "others: 0")
    assert shown.problems == tuple(f"try {number}" for number in range(1, 1 + MOST_PROBLEMS))


def test_a_share_of_the_tries_and_none_after_the_deadline(tmp_path: Path) -> None:
    assert len(list(Effort(tmp_path).tries(200))) == 200
    assert len(list(Effort(tmp_path, share=0.1).tries(200))) == 20
    assert len(list(Effort(tmp_path, share=0.1).tries(5))) == 2
    assert list(Effort(tmp_path, deadline=time.monotonic() - 1).tries(200)) == []


def test_numbers_are_in_their_order_and_each_is_there_once() -> None:
    numbers = [fault.number for fault in FAULTS]
    assert numbers == sorted(set(numbers), key=order_of)
    assert sorted(["R10", "R7b", "R7", "R2"], key=order_of) == ["R2", "R7", "R7b", "R10"]


def test_the_page_says_what_a_bound_is_of() -> None:
    head, _, _ = page([]).partition("| |")
    assert "bound the rate of failure at 3/N" in head
    assert "A try of R2 or R10 is a whole run" in head
    assert {"R2", "R10"} < {fault.number for fault in FAULTS}


def test_a_row_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    record(tmp_path, Row(fault(Shown(2, 1, "half")), Shown(2, 1, "half"), 1.0))
    record(tmp_path, Row(fault(Shown(1, 1, "x"), "R10"), Shown(1, 1, "x"), 2.0, share=0.1))
    record(tmp_path, Row(fault(Shown(2, 2, "all")), Shown(2, 2, "all"), 3.0))
    record(tmp_path, Row(fault(Shown(1, 1, "few")), Shown(1, 1, "few"), 1.0, share=0.1))
    rows = json.loads((tmp_path / "faults.json").read_text())
    assert [(one["number"], one["verdict"]) for one in rows] == [("R1", "holds"), ("R10", "holds")]
    written = (tmp_path / "faults.md").read_text()
    assert written == page(rows)
    assert "| R1 | something breaks | it goes on | 2 of 2 | holds | all |" in written
    assert "2 s, short" in written


@pytest.mark.parametrize(
    ("shown", "verdict", "code"),
    [
        (Shown(2, 2, "fine"), "holds", 0),
        (Shown(2, 1, "half", problems=("try 1: lost",)), "missed", 1),
        (Shown(0, 0, "", unmeasured="strace is not installed"), "not measured", 1),
    ],
)
def test_the_program_ends_with_1_unless_every_bar_is_met(
    shown: Shown,
    verdict: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "FAULTS", (fault(shown),))
    assert program.main(["R1", "--docs", str(tmp_path)]) == code
    printed = capsys.readouterr().out
    assert verdict in printed
    assert all(problem in printed for problem in shown.problems)
    assert json.loads((tmp_path / "faults.json").read_text())[0]["verdict"] == verdict


def test_a_row_whose_time_was_up_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "FAULTS", (fault(Shown(2, 2, "two of two hundred")),))
    assert program.main(["--budget-minutes", "0", "--docs", str(tmp_path)]) == 1
    assert "not finished" in capsys.readouterr().out
    missed = Row(fault(Shown(2, 1, "half")), Shown(2, 1, "half"), 1.0, cut=True)
    assert missed.verdict == "missed"


def test_a_row_that_breaks_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(effort: Effort) -> Shown:
        raise RuntimeError("a run ended with 3\nand more")

    rows = (Fault("R1", "something breaks", "it goes on", broken), fault(Shown(2, 2, "fine"), "R2"))
    monkeypatch.setattr(program, "FAULTS", rows)
    assert program.main(["--docs", str(tmp_path)]) == 1
    assert "R1: RuntimeError: a run ended with 3 and more" in capsys.readouterr().out
    told = json.loads((tmp_path / "faults.json").read_text())
    assert [one["verdict"] for one in told] == ["missed", "holds"]


def test_tries_that_came_to_less_than_they_must_have() -> None:
    tally = Tally(3, 3)
    tally.require(3, 3, "kills")
    assert tally.shown("").holds
    tally.require(2, 3, "kills")
    assert tally.shown("").problems == ("2 kills, at least 3 were to be",)


def test_a_number_that_no_fault_has() -> None:
    with pytest.raises(ValueError, match="no fault R99; there are R1, "):
        program.chosen(["R99"])


def test_several_tries_go_on_at_a_time_and_none_after_the_deadline(tmp_path: Path) -> None:
    met = threading.Barrier(AT_ONCE, timeout=20)

    def work(number: int) -> int:
        met.wait()  # none ends before the others have begun
        return number * number

    assert list(Effort(tmp_path).at_once(2 * AT_ONCE, work)) == [n * n for n in range(2 * AT_ONCE)]
    late = Effort(tmp_path, deadline=time.monotonic() - 1)
    assert list(late.at_once(6, work)) == []


def test_many_tries_are_counted_at_once() -> None:
    tally = Tally()
    tally.add_all(100, "one", "two")
    tally.add_all(10)
    assert (tally.tries, tally.good, tally.problems) == (110, 108, ["one", "two"])
