"""Two ranks hold one pool."""

from pathlib import Path

import pytest
import torch
from deco_world import KNOWN, STEPS, batch_of, build_deco_detector, deco, head_of, names_text, units
from ranks import together
from test_distributed import FixedBatches

from opendet.train.config import TrainConfig
from opendet.train.deco_config import DecoConfig
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.pool_momentum import moved_prototypes
from opendet.train.state import TrainingState
from opendet.train.training_step import TrainingStep

COUNTS = ((3, 0), (0, 5), (2, 2))
"""Crops of each rank in three steps."""


def _crops(step: int, rank: int) -> torch.Tensor:
    return units(COUNTS[step][rank], 10 * step + rank)


def test_each_rank_moves_its_pool_by_the_crops_of_all(tmp_path: Path) -> None:
    """Without DistributedDataParallel, which would copy rank 0's buffers to the others."""

    def work(ranks: Ranks) -> None:
        detector = build_deco_detector()
        objective = deco(detector, momentum=0.5)
        for step in range(len(COUNTS)):
            objective._absorbed = [_crops(step, ranks.rank)]
            objective.finish_step(step, ranks)
        torch.save(head_of(detector).prototypes, tmp_path / f"{ranks.rank}.pt")

    assert together(2, work) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    pool = KNOWN.vectors
    for step in range(len(COUNTS)):
        crops = torch.cat([_crops(step, rank) for rank in range(2)])
        pool = moved_prototypes(pool, crops, DecoConfig(momentum=0.5))
    assert torch.equal(first, pool)


@pytest.mark.slow
def test_training_together_ends_with_one_pool(tmp_path: Path) -> None:
    """One rank has an image without an object: it neither waits for ever nor falls behind."""
    keys = (("known-1", "known-22"), ("empty",))

    def work(ranks: Ranks) -> None:
        config = TrainConfig(steps=STEPS, learning_rate=1e-3, warmup_steps=0, log_every=1)
        detector = build_deco_detector()
        state = TrainingState(detector, FixedBatches(batch_of(*keys[ranks.rank])), {}, config)
        folder = tmp_path / str(ranks.rank)
        series = Series(folder / "series.csv", start=0, config=config, ranks=ranks)
        objective = Objective(ObjectiveConfig(), names_text(), [deco(detector, momentum=0.5)])
        train_steps(
            state,
            TrainingStep(detector, objective),
            config,
            ranks=ranks,
            series=series,
            checkpoints=folder / "kept",
            hooks=objective,
        )
        torch.save(detector.state_dict(), tmp_path / f"{ranks.rank}.pt")

    assert together(2, work) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert not torch.equal(first["prototypes.prototypes"], KNOWN.vectors)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
