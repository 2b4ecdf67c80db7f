"""The bench of captions: what they say, what writes them, and a run of each arm at a tiny size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opendet.bench import caption_trial as module
from opendet.bench.caption_trial import CaptionTrial, run_caption_trial
from opendet.bench.caption_world import (
    GRID,
    LONGEST,
    PROMPT,
    caption_of,
    captioned,
    cells_of,
    teach_writer,
)
from opendet.bench.captions import comparison
from opendet.bench.synthetic import TIERS, draw_scenes

TINY = CaptionTrial(
    1.0,
    0,
    steps=4,
    batch_size=2,
    train_scenes=6,
    test_scenes=16,
    word_lessons=1,
    sight_lessons=1,
    writer_lessons=1,
)


def test_a_caption_reads_a_scene_like_a_page() -> None:
    names = ("green star", "red circle", "blue square", "red ring")
    boxes = [[40, 40, 60, 60], [0, 4, 10, 14], [80, 0, 96, 16], [40, 88, 56, 96]]
    cells = cells_of(np.array(boxes, np.float32))  # of 16 pixels
    assert cells == [3 * GRID + 3, 0, 5, 5 * GRID + 3]
    assert caption_of(names, cells) == (
        "a red circle left of a blue square above a green star above a red ring"
    )
    assert caption_of(("red ring",), [7]) == "a red ring"
    assert caption_of((), []) == ""


def test_captions_name_all_objects_and_fit() -> None:
    scenes = captioned(draw_scenes(24, seed=3, split="train"))
    writer = teach_writer(seed=0, lessons=0)
    for row, target in enumerate(scenes.batch(range(24)).targets):
        assert target.caption is not None
        for name in scenes.names[row]:
            assert TIERS[name] != "unseen"
            assert target.caption.count(name) == scenes.names[row].count(name)
    longest = " above ".join(["a red circle"] * 8)
    assert len(writer._tokenizer(longest)["input_ids"]) <= LONGEST


def test_the_writer_learns_to_read_slots_and_is_frozen() -> None:
    read = torch.zeros(1, GRID**2, 96)
    losses = []
    for lessons in (0, 12):
        writer = teach_writer(seed=0, lessons=lessons)
        assert not any(parameter.requires_grad for parameter in writer._model.parameters())
        sums, counts = writer.losses(read, PROMPT, ["a red circle"], longest=LONGEST)
        losses.append(float(sums / counts))
    assert losses[1] < losses[0] - 1


BRISK = module.TRAINING.model_copy(update={"checkpoint_every": 1, "log_every": 1})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "TRAINING", BRISK)
        return run_caption_trial(TINY, tmp_path_factory.mktemp("whole"))


def test_a_run_with_captions_is_judged_without_its_language_model(
    undisturbed: dict[str, float],
) -> None:
    assert undisturbed["caption_loss"] > 1
    assert {"ap_rare", "ap_unseen", "right_rare", "agnostic_ap75"} <= undisturbed.keys()


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    undisturbed: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "TRAINING", BRISK)
        batch = module.SceneBatches.__iter__

        def dying(self: object) -> object:
            for number, one in enumerate(batch(self)):  # type: ignore[arg-type]
                if number == 2:
                    raise KeyboardInterrupt
                yield one

        patched.setattr(module.SceneBatches, "__iter__", dying)
        with pytest.raises(KeyboardInterrupt):
            run_caption_trial(TINY, tmp_path / "run")
        patched.setattr(module.SceneBatches, "__iter__", batch)
        again = run_caption_trial(TINY, tmp_path / "run")
    del again["cpu_seconds"]
    assert again == {name: undisturbed[name] for name in again}


def test_the_arm_without_has_no_captioner_and_other_settings(tmp_path: Path) -> None:
    plain = CaptionTrial(0.0, *(getattr(TINY, name) for name in TINY.__slots__[1:]))
    assert plain.settings() != TINY.settings()
    assert TINY.settings()["LlmdetConfig"]["grids"] == {"16": GRID}
    result = run_caption_trial(plain, tmp_path / "plain")
    assert result["caption_loss"] == 0


def test_rows_compare_the_arms_seed_by_seed() -> None:
    scores = dict.fromkeys(("ap", "ap_frequent", "ap_unseen", "right_rare", "agnostic_ap75"), 50.0)
    told = {"caption_loss": 0.5, "cpu_seconds": 30.0}
    arm = [{**scores, **told, "ap_rare": rare} for rare in (60.0, 61.0)]
    other = [{**scores, **told, "ap_rare": rare, "cpu_seconds": 20.0} for rare in (55.0, 58.0)]
    rows = {row.metric: row for row in comparison(arm, other)}
    assert rows["captions - none: AP, rare"].value == 4
    assert rows["captions - none: AP, rare"].holds
    assert rows["captions - none: AP, all names"].holds is None
    assert rows["captions / none: CPU time of a step"].value == 1.5
