"""The gates of tiers 2 and 3, on curves written by hand."""

from pathlib import Path

import pytest

from opendet.bench import localisation, whole_model
from opendet.bench.arms import PARTS
from opendet.bench.harness import Row
from opendet.bench.trials import Outcome

GROUPS = ("", "_frequent", "_rare", "_unseen")


def outcome(steps: tuple[int, ...], last: float, *, pace: float = 1.0, **other: float) -> Outcome:
    """A curve that rises in a straight line to `last` in every number."""
    names = ("agnostic_ap75", "right_frequent", "right_rare", "right_unseen", "cosine")
    points = []
    for step in steps:
        value = last * step / steps[-1]
        point = {"step": step, "cpu_seconds": pace * step, "cosine_out_of_context": 0.0}
        point |= dict.fromkeys((*names, *(f"ap{group}" for group in GROUPS)), value)
        points.append(point | {name: own * step / steps[-1] for name, own in other.items()})
    return Outcome(tuple(points), 1, "code")


def by_metric(rows: list[Row]) -> dict[str, Row]:
    return {row.metric: row for row in rows}


def arms(**last: float) -> dict[str, list[Outcome]]:
    """Each arm's number at the end, in the arms' order; the seeds differ from each other."""
    return {
        name: [outcome(localisation.MILESTONES, value + seed) for seed in localisation.SEEDS]
        for name, value in zip(localisation.ARMS, last.values(), strict=True)
    }


def test_odr_must_bring_ten_points_at_half_the_steps() -> None:
    rows = by_metric(list(localisation.gates(arms(base=40, odr=60, mal=75, bvla=76))))
    assert rows["ODR: AP75 agnostic at half the steps"].value == pytest.approx(10)
    assert rows["ODR: AP75 agnostic at half the steps"].holds
    assert rows["ODR: AP75 agnostic at the end"].value == pytest.approx(20)
    assert rows["MAL: names right, frequent"].holds
    few = by_metric(list(localisation.gates(arms(base=40, odr=59, mal=55, bvla=56))))
    assert few["ODR: AP75 agnostic at half the steps"].holds is False
    assert few["MAL: AP75 agnostic"].holds is False
    assert few["MAL: AP(.5,.75) with names"].holds is False


def test_a_dearer_step_is_set_against_more_of_the_others_steps() -> None:
    own = {
        name: [outcome(localisation.MILESTONES, 60, pace=pace) for _ in localisation.SEEDS]
        for name, pace in zip(localisation.ARMS, (1, 1.5, 1, 1), strict=True)
    }
    row = by_metric(list(localisation.gates(own)))["ODR: the same at equal CPU time"]
    assert row.value == pytest.approx(30 - 45)  # 300 steps of 1.5 s are 450 of the other's


def test_gates_wait_for_all_seeds() -> None:
    own = arms(base=40, odr=60, mal=75, bvla=76)
    own["ODR + MAL"].pop()
    assert not [row for row in localisation.gates(own) if "MAL" in row.metric]
    assert list(localisation.curve_rows(own))


def test_all_on_must_beat_all_off_overall_and_on_unseen_names() -> None:
    steps = whole_model.MILESTONES
    full = [outcome(steps, 30 + seed, ap_unseen=12) for seed in range(3)]
    base = [outcome(steps, 24 + seed, ap_unseen=10) for seed in range(3)]
    rows = by_metric(list(whole_model.comparison("all on", full, base)))
    assert rows["all on - all off: AP, all names"].holds
    assert rows["all on - all off: AP, unseen"].holds is False
    assert rows["all on - all off: AP, rare"].holds is None


def test_efficiency_is_a_share_of_the_baselines_steps(tmp_path: Path) -> None:
    steps = whole_model.MILESTONES
    full, base = [outcome(steps, 40.0, pace=1.5)] * 2, [outcome(steps, 10.0)] * 2
    row, time = whole_model.efficiency("all on", full, base, tmp_path)
    assert row.value == pytest.approx(0.25)
    assert row.holds
    assert f"({whole_model.PICTURE})" in row.detail
    assert time.value == pytest.approx(0.25 * 1.5)
    assert (tmp_path / whole_model.PICTURE).stat().st_size < 100_000
    never, _ = whole_model.efficiency("all off", base, full, None)
    assert never.holds is False


def test_a_removed_part_must_not_have_cost_more_than_three_points() -> None:
    steps = whole_model.ENDS
    without = {PARTS[0]: outcome(steps, 34.0), PARTS[1]: outcome(steps, 20.0)}
    rows = by_metric(list(whole_model.removals(outcome(steps, 30.0), without)))
    assert rows["all on - without ODR: AP, all names"].holds is False
    assert rows["all on - without BVLA-M: AP, all names"].holds


def test_the_distiller_must_be_nearer_to_the_text_and_use_the_context() -> None:
    steps = whole_model.ENDS
    rows = list(whole_model.distilling(outcome(steps, 0.6), outcome(steps, 0.5)))
    assert [row.holds for row in rows] == [True, True, True]
    rows = list(whole_model.distilling(outcome(steps, 0.6), outcome(steps, 0.59)))
    assert [row.holds for row in rows] == [False, False, True]
