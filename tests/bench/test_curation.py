"""Planted names, the filter that stands for CLIP, a course of trainings, the rows of the bench."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opendet.bench import curation as module
from opendet.bench.curation import GAIN, SEEDS, compared
from opendet.bench.harness import Place, Row
from opendet.bench.planted import (
    CAUGHT,
    LOST,
    PLANTED,
    Course,
    Label,
    Labelled,
    Labels,
    _separation,
    plant,
    refuse,
    run_course,
)
from opendet.bench.synthetic import NAMES, SceneSet, draw_scenes
from opendet.curate.label_value import LabelValueConfig
from opendet.data.batch import RegionRef
from opendet.train.signals import SIGNALS

RAW = Course(filtered=False, rounds=0, seed=0)
TINY = replace(
    RAW, filtered=True, rounds=1, steps=3, batch_size=2, train_scenes=6, test_scenes=4,
    rules=LabelValueConfig(min_agreement=1.0, min_seen=1, max_share=1.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes() -> SceneSet:
    return draw_scenes(96, seed=1, split="test")


def labelled(scenes: SceneSet, labels: Labels) -> Labelled:
    return Labelled(scenes.split, scenes.images, scenes.boxes_xyxy, scenes.names, labels)


def shares(scenes: SceneSet, course: Course) -> tuple[float, float, float]:
    """Of the wrong names those refused, of the right ones, and the wrong among those told."""
    flat = [
        (name, label)
        for names, labels in zip(scenes.names, plant(scenes, course), strict=True)
        for name, label in zip(names, labels, strict=True)
    ]
    wrong = [label.refused for name, label in flat if label.name != name]
    right = [label.refused for name, label in flat if label.name == name]
    told = [label.name != name for name, label in flat if not label.refused]
    return float(np.mean(wrong)), float(np.mean(right)), float(np.mean(told))


def test_names_are_planted_and_refused_as_often_as_is_said(scenes: SceneSet) -> None:
    refused_wrong, refused_right, left = shares(scenes, replace(RAW, filtered=True))
    assert refused_wrong == pytest.approx(CAUGHT, abs=0.08)
    assert refused_right == pytest.approx(LOST, abs=0.04)
    assert left < shares(scenes, RAW)[2] == pytest.approx(PLANTED, abs=0.06)
    swapped = [
        len(set(label.name.split()) & set(name.split()))
        for labels, names in zip(plant(scenes, RAW), scenes.names, strict=True)
        for label, name in zip(labels, names, strict=True)
        if label.name != name
    ]
    assert set(swapped) == {0, 1}
    assert np.mean(swapped) == pytest.approx(0.5, abs=0.1)


def test_a_filter_changes_no_name(scenes: SceneSet) -> None:
    pairs = zip(plant(scenes, RAW), plant(scenes, replace(RAW, filtered=True)), strict=True)
    for raw, kept in pairs:
        assert [one.name for one in raw] == [one.name for one in kept]
        assert not any(one.refused for one in raw)


def test_training_sees_labels_and_not_the_truth(scenes: SceneSet) -> None:
    labels = tuple(
        (Label("a"), Label("b", refused=True), *(Label("c"),) * (len(own) - 2))
        for own in scenes.names
    )
    batch = labelled(scenes, labels).batch([3, 7])
    for row, target in zip((3, 7), batch.targets, strict=True):
        assert target.names[:2] == (("a",), ())
        assert target.partial == ("b",)
        assert len(target.names) == len(target.boxes_cxcywh) == len(scenes.names[row])
        assert target.regions[1] == RegionRef(str(row), 1)


def signals(path: Path, *rows: tuple[Any, ...]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(zip(SIGNALS.names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns, schema=SIGNALS), path)
    return path


def test_what_training_refuses_is_measured(tmp_path: Path, scenes: SceneSet) -> None:
    """Two wrong names and two right ones: one of each is refused."""
    one = replace(scenes, names=((NAMES[0], NAMES[1]), (NAMES[2], NAMES[3])))
    labels = ((Label(NAMES[0]), Label(NAMES[5])), (Label(NAMES[6]), Label(NAMES[3])))
    taught = labelled(one, labels)
    path = signals(
        tmp_path / "signals.parquet",
        ("0", 0, NAMES[0], 9, None, -0.2, 0.5, 0.5),
        ("0", 1, NAMES[5], 9, None, -0.4, 0.5, 0.5),
        ("1", 0, NAMES[6], 9, None, 0.1, 0.5, 0.5),
        ("1", 1, NAMES[3], 9, None, 0.6, 0.5, 0.5),
    )
    rules = LabelValueConfig(min_agreement=0.0, max_share=1.0)
    left, said = refuse(taught, path, rules)
    assert left == (
        (Label(NAMES[0], refused=True), Label(NAMES[5], refused=True)),
        labels[1],
    )
    # of the four pairs of a right and a wrong one three are in order
    assert said == {"against": 2, "precision": 50.0, "recall": 50.0, "separation": 75.0}


def test_separation_of_nothing_is_chance() -> None:
    assert _separation({(0, 0): 1.0}, set()) == 0.5
    assert _separation({(0, 0): 1.0, (0, 1): 0.5}, {(0, 1)}) == 1.0
    assert _separation({(0, 0): 0.5, (0, 1): 0.5}, {(0, 1)}) == 0.0


def test_a_course_trains_twice_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("opendet.bench.planted.shutil.rmtree", lambda _: None)
        result = run_course(TINY, folder)
    first, second = result["trainings"]
    assert second["labels"] == first["labels"] - first["against"] < first["labels"]
    monkeypatch.delattr("opendet.bench.planted.train_steps")  # nothing is trained anew
    assert run_course(TINY, folder) == result
    assert not folder.exists()


def training(ap: float, wrong: float) -> dict[str, float]:
    return {
        "ap": ap, "agnostic_ap": 60.0, "labels": 100, "wrong": wrong, "against": 10,
        "precision": 80.0, "recall": 40.0, "separation": 90.0,
    }  # fmt: skip


def result(*aps: float) -> dict[str, Any]:
    return {"trainings": [training(ap, 40 - 9 * ap / 10) for ap in aps], "cpu_seconds": 100.0}


def by_metric(rows: list[Row]) -> dict[str, Row]:
    return {row.metric: row for row in rows}


def test_the_rows_compare_seed_by_seed() -> None:
    rows = by_metric(
        list(compared([result(20), result(22), result(21)], [result(30, 33)] * 3))
    )  # fmt: skip
    assert rows["AP with names: filtered - raw"].value == pytest.approx(9)
    assert rows["AP with names: filtered - raw"].goal.startswith(f">= {GAIN:g}")
    assert rows["AP with names: filtered - raw"].holds
    assert rows["AP with names: loop - filtered"].value == 3
    assert rows["AP with names: loop - filtered"].holds
    assert "planted 40 %" in rows["names wrong, %, raw"].detail
    assert rows["CPU s of a training"].value == pytest.approx(75)
    lost = by_metric(list(compared([result(27)] * 3, [result(30, 29)] * 3)))
    assert lost["AP with names: filtered - raw"].holds is False
    assert lost["AP with names: loop - filtered"].holds is False


def test_units_wait_for_time(tmp_path: Path) -> None:
    place = Place(tmp_path, deadline=0)
    assert list(module.curation(place)) == []
    assert place.asked == 2 * len(SEEDS)
