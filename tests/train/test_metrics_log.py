"""The series of a run."""

import csv
from pathlib import Path

import pytest
import torch
from toy_training import HERE

from opendet.train.config import TrainConfig
from opendet.train.metrics_log import Series


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_averages_its_steps(tmp_path: Path) -> None:
    series = Series(tmp_path / "series.csv", start=0, config=TrainConfig(), ranks=HERE)
    series.add(1, {"loss": torch.tensor(1.0), "lr": 0.5})
    series.add(2, {"loss": torch.tensor(2.0), "lr": 0.5})
    series.close_row()
    series.add(3, {"loss": torch.tensor(4.0), "lr": 0.25})
    series.save()
    assert _rows(tmp_path / "series.csv") == [
        {"step": "2", "loss": "1.5", "lr": "0.5"},
        {"step": "3", "loss": "4", "lr": "0.25"},
    ]


def test_a_resume_forgets_what_came_after_its_step(tmp_path: Path) -> None:
    config = TrainConfig()
    series = Series(tmp_path / "series.csv", start=0, config=config, ranks=HERE)
    for step in (1, 2, 3):
        series.add(step, {"loss": float(step)})
        series.close_row()
    series.save()
    resumed = Series(tmp_path / "series.csv", start=2, config=config, ranks=HERE)
    resumed.add(3, {"loss": 7.0})
    resumed.save()
    assert [row["loss"] for row in _rows(tmp_path / "series.csv")] == ["1", "2", "7"]


def test_tensorboard_and_dvclive_mirror_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("dvclive")
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(tensorboard=True, dvclive=True)
    series = Series(tmp_path / "series.csv", start=0, config=config, ranks=HERE)
    series.add(1, {"loss": 2.0})
    series.save()
    series.close()
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert "2.0" in (tmp_path / "dvclive" / "metrics.json").read_text()
