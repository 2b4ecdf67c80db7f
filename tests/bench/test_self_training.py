"""The annotator whose errors are known, OWL-ST's thresholds, and the rows of the bench."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from opendet.bench import self_training as module
from opendet.bench import student
from opendet.bench.aligned_training import HELD_OUT
from opendet.bench.harness import Place, Row
from opendet.bench.imperfect import Errors, Thresholds, annotate, kept, labelled
from opendet.bench.self_training import (
    OWL_ST,
    SEEDS,
    STRICT,
    comparison,
    learn,
    thresholds_compared,
)
from opendet.bench.student import Lesson, _worth, score_of
from opendet.bench.synthetic import NAMES, SceneBatches, SceneSet, draw_scenes
from opendet.evaluation.ap import Predictions
from opendet.train.state import TrainingState
from opendet.train.training_step import TrainingStep

TINY = Lesson(
    OWL_ST, 0, steps=3, batch_size=2, train_scenes=8, test_scenes=16
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes() -> SceneSet:
    return draw_scenes(96, seed=1, split="test")


def test_without_errors_it_says_the_truth(scenes: SceneSet) -> None:
    found = annotate(scenes, Errors(0, 0, 0, (1e-6, 1e-6)), seed=0)
    assert score_of(scenes, found) == {"ap50": 100, "ap": 100}
    for row, one in enumerate(found):
        assert [NAMES[kind] for kind in one.classes] == list(scenes.names[row])


@pytest.mark.parametrize(
    "errors",
    [
        Errors(0.4, 0, 0, (1e-6, 1e-6)),
        Errors(0, 0.4, 0, (1e-6, 1e-6)),
        Errors(0, 0, 3, (1e-6, 1e-6)),
        Errors(0, 0, 0, (0.1, 0.2)),
    ],
    ids=["missed", "misnamed", "invented", "shaken"],
)
def test_each_error_costs_something(scenes: SceneSet, errors: Errors) -> None:
    assert score_of(scenes, annotate(scenes, errors, seed=0))["ap"] < 97


def test_errors_come_as_often_as_they_should(scenes: SceneSet) -> None:
    objects = sum(map(len, scenes.names))
    found = annotate(scenes, Errors(missed=0.35, invented=0), seed=0)
    assert sum(len(one.scores) for one in found) / objects == pytest.approx(0.65, abs=0.06)
    invented = annotate(scenes, Errors(missed=1, invented=1), seed=0)
    assert np.mean([len(one.scores) for one in invented]) == pytest.approx(1, abs=0.3)
    for one in (*found, *invented):
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy <= 96).all()
        assert (one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2] >= 1).all()
        assert ((one.scores >= 0) & (one.scores <= 1)).all()


def test_it_errs_image_by_image_the_same_each_time(scenes: SceneSet) -> None:
    first, again = (annotate(scenes, Errors(), seed=3) for _ in range(2))
    few = replace(
        scenes, images=scenes.images[:9], boxes_xyxy=scenes.boxes_xyxy[:9], names=scenes.names[:9]
    )
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.boxes_xyxy, other.boxes_xyxy)
    assert np.array_equal(annotate(few, Errors(), seed=3)[8].scores, first[8].scores)
    assert not np.array_equal(annotate(scenes, Errors(), seed=4)[0].scores, first[0].scores)


def test_labels_are_the_sure_boxes_of_images_with_a_surer_one(scenes: SceneSet) -> None:
    boxes = np.tile([1.0, 2.0, 30.0, 40.0], (3, 1))
    said = Predictions(boxes, np.array([0.05, 0.2, 0.31]), np.array([1, 2, 3]))
    sure = kept(said, Thresholds(box=0.1, image=0.3))
    assert sure is not None
    assert sure.classes.tolist() == [2, 3]
    assert kept(said, Thresholds(box=0.1, image=0.5)) is None
    assert kept(Predictions(), OWL_ST) is None
    few = replace(
        scenes, images=scenes.images[:3], boxes_xyxy=scenes.boxes_xyxy[:3], names=scenes.names[:3]
    )
    labels = labelled(few, [said, Predictions(), said], OWL_ST)
    assert len(labels) == 2
    assert np.array_equal(labels.images[1], scenes.images[2])
    assert labels.names == ((NAMES[2], NAMES[3]),) * 2
    assert np.array_equal(labels.boxes_xyxy[0], boxes[:2])


def test_a_student_is_a_kept_unit(tmp_path: Path) -> None:
    [result] = learn([TINY], Place(tmp_path)).values()
    assert result["labels"]["images"] <= 8
    assert 0 <= result["student"]["ap"] <= result["student"]["ap50"] <= 100
    held_out = draw_scenes(16, seed=HELD_OUT, split="test")
    said = annotate(held_out, Errors(), seed=HELD_OUT)
    assert result["annotator"] == score_of(held_out, said)
    again = Place(tmp_path, deadline=0)
    assert learn([TINY, replace(TINY, seed=1)], again) == {TINY: result}
    assert not list(tmp_path.glob("run-*"))


class BegunError(Exception):
    """The student stands before its first step."""


def test_a_student_learns_what_the_annotator_says_and_not_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, learned = student._begin, []

    def watched(
        lesson: Lesson, labels: SceneSet, folder: Path, device: torch.device
    ) -> tuple[TrainingState, TrainingStep]:
        state, _ = begin(lesson, labels, folder, device)
        assert isinstance(state.loader, SceneBatches)
        learned.extend([labels, state.loader._scenes])
        raise BegunError

    monkeypatch.setattr(student, "_begin", watched)
    with pytest.raises(BegunError):
        student.teach_student(TINY, tmp_path / "run")
    truth = draw_scenes(TINY.train_scenes, seed=TINY.seed, split="test")
    said = annotate(truth, TINY.errors, seed=TINY.seed)
    wanted = labelled(truth, said, TINY.thresholds)
    used = [row for row, one in enumerate(said) if kept(one, TINY.thresholds)]
    assert len(learned) == 2
    for labels in learned:
        assert np.array_equal(labels.images, truth.images[used])
        assert labels.names == wanted.names
        assert labels.names != tuple(truth.names[row] for row in used)
        assert all(map(np.array_equal, labels.boxes_xyxy, wanted.boxes_xyxy))
        for row, boxes in zip(used, labels.boxes_xyxy, strict=True):
            assert not np.array_equal(boxes, truth.boxes_xyxy[row])


def test_a_label_is_right_by_its_name_and_by_its_place(scenes: SceneSet) -> None:
    """One right label, one with another name, one too far from its object; and an image that is
    not used, whose only label would be right."""
    boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [0, 40, 20, 60]], np.float32)
    truth = replace(
        scenes,
        images=scenes.images[:2],
        boxes_xyxy=(boxes, boxes[:1]),
        names=((NAMES[0], NAMES[1], NAMES[2]), (NAMES[0],)),
    )
    told = boxes.astype(np.float64)
    told[2, [0, 2]] += 10  # of 600 pixels 200 in both: IoU 1/3
    said = Predictions(told, np.array([0.9, 0.8, 0.7]), np.array([0, 5, 2]))
    unsure = Predictions(told[:1], np.array([0.2]), np.array([0]))
    worth = _worth(truth, [said, unsure], OWL_ST)
    assert worth == {"images": 1, "boxes": 3.0, "right": 33.33}
    right = replace(said, classes=np.array([0, 1, 2]))
    assert _worth(truth, [right, unsure], OWL_ST)["right"] == 66.67
    assert _worth(truth, [Predictions(), unsure], OWL_ST)["right"] == 0


def result(student: float, annotator: float = 30.0, images: float = 100) -> dict[str, object]:
    return {
        "annotator": {"ap50": annotator, "ap": annotator / 2},
        "student": {"ap50": student, "ap": student / 2},
        "labels": {"images": images, "boxes": 3.0, "right": 55.0},
        "cpu_seconds": 10.0,
    }


def by_metric(rows: list[Row]) -> dict[str, Row]:
    return {row.metric: row for row in rows}


def test_the_student_must_win_in_every_seed() -> None:
    rows = by_metric(list(comparison([result(40), result(31), result(35)])))
    assert rows["AP50, student - annotator"].holds
    assert rows["AP50, student - annotator"].value == pytest.approx(16 / 3)
    assert "+10.0, +1.0, +5.0" in rows["AP50, student - annotator"].detail
    lost = by_metric(list(comparison([result(40), result(29.9), result(50)])))
    assert lost["AP50, student - annotator"].holds is False
    early = by_metric(list(comparison([result(40)])))
    assert early["AP50, student - annotator"].holds is None  # two seeds are still to come


def test_stricter_labels_stand_beside_them_once_all_are_there(tmp_path: Path) -> None:
    rows = by_metric(list(thresholds_compared([result(40)] * 3, [result(30, images=40)] * 3)))
    assert rows["labels, images: from 0.1 / 0.3 - from 0.5 / 0.7"].value == pytest.approx(60)
    assert rows["AP50, student: labels from 0.1 / 0.3 - from 0.5 / 0.7"].value == 10
    place = Place(tmp_path, deadline=0)
    assert list(module.self_training(place)) == []
    assert place.asked == 2 * len(SEEDS)
    assert STRICT.box > OWL_ST.box
