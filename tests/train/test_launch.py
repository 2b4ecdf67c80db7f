"""Who trains: what is asked of workers is met, or refused in one line."""

import pytest
import torch
from pydantic import ValidationError

from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.launch import require_as_told

CPU = torch.device("cpu")


def test_torchrun_must_start_as_many_as_are_asked_for() -> None:
    require_as_told(TrainConfig(), Ranks(CPU, 1, 2))
    require_as_told(TrainConfig(workers=2), Ranks(CPU, 1, 2))
    require_as_told(TrainConfig(workers=4), Ranks(CPU))  # Ray Train starts them
    with pytest.raises(ValueError, match="asks for 4 processes and torchrun has started 2: start"):
        require_as_told(TrainConfig(workers=4), Ranks(CPU, 0, 2))


def test_gpus_are_not_silently_left_out() -> None:
    booked = TrainConfig(workers=2, gpus_per_worker=1)
    require_as_told(booked, Ranks(torch.device("cuda", 1), 1, 2))
    with pytest.raises(ValueError, match="asks for GPUs and rank 1 trains on the CPU"):
        require_as_told(booked, Ranks(CPU, 1, 2))
    with pytest.raises(ValidationError, match="one worker books nothing on Ray"):
        TrainConfig(gpus_per_worker=0.5)
