"""A training run of the small world: what it returns, and that it goes on where it was ended."""

from dataclasses import replace
from pathlib import Path

import pytest

from opendet.bench import trial as module
from opendet.bench.arms import PARTS
from opendet.bench.harness import Place
from opendet.bench.trial import Point, Trial, run_trial
from opendet.bench.trials import run_trials

TINY = Trial(
    PARTS,
    0,
    (2, 4),
    batch_size=2,
    train_scenes=6,
    test_scenes=16,
    word_lessons=1,
    sight_lessons=1,
)


def without_time(curve: list[Point]) -> list[Point]:
    return [{k: v for k, v in point.items() if k != "cpu_seconds"} for point in curve]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    return list(run_trial(TINY, tmp_path_factory.mktemp("whole"))["curve"])


def test_a_run_is_judged_at_its_milestones(undisturbed: list[Point]) -> None:
    assert [point["step"] for point in undisturbed] == [2, 4]
    assert 0 < undisturbed[0]["cpu_seconds"] < undisturbed[1]["cpu_seconds"]
    assert {"agnostic_ap75", "ap_unseen", "right_rare"} <= undisturbed[1].keys()
    assert undisturbed[1]["cosine"] != undisturbed[1]["cosine_out_of_context"]


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    undisturbed: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = module.judge
    asked = []

    def judge_once(*args: object, **kwargs: object) -> dict[str, float]:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return judge(*args, **kwargs)  # type: ignore[arg-type]

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(module, "judge", judge_once)
        with pytest.raises(KeyboardInterrupt):
            run_trial(TINY, folder)
    result = run_trial(TINY, folder)
    assert without_time(result["curve"]) == without_time(undisturbed)
    assert not folder.exists()


def test_runs_are_kept_units_of_a_bench(undisturbed: list[Point], tmp_path: Path) -> None:
    outcome = run_trials([TINY], Place(tmp_path))[TINY]
    assert without_time(list(outcome.curve)) == without_time(undisturbed)
    again = Place(tmp_path, deadline=0)  # no time for anything new
    assert run_trials([TINY], again) == {TINY: outcome}
    assert run_trials([Trial((), 1, (1,))], again) == {}
    assert (again.done, again.asked) == (1, 2)


def test_the_settings_hold_what_arms_turns_and_no_knob_that_it_leaves_alone() -> None:
    told = TINY.settings()
    assert (told["parts"], told["milestones"]) == (list(PARTS), [2, 4])
    assert told["DetectorConfig"]["cross_layers"] == 4
    assert told["DetectorConfig"]["backbone"] == {"name": "tiny"}
    assert "points" not in told["DetectorConfig"]
    assert replace(TINY, parts=()).settings()["DetectorConfig"]["cross_layers"] == 0
    assert replace(TINY, seed=1).settings() != told
