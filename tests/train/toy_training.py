"""A detector, a loader and a loss of a few lines, behind the trainer's own interfaces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opendet.data.batch import Batch, Target
from opendet.train import checkpoint
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.randomness import StepDraws
from opendet.train.state import TrainingState

SAMPLES = 10
HERE = Ranks(torch.device("cpu"))


class ToyDetector(nn.Module):
    """Dropout makes it depend on the random numbers of each step, the norm on its buffers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor, sizes_hw: Tensor) -> Tensor:
        features = self.norm(self.backbone(images)).relu().mean((2, 3))
        boxes: Tensor = self.head(self.dropout(features))
        return boxes


class ToyLoader:
    """Ten samples in a new order each epoch, two at a time."""

    def __init__(self) -> None:
        self.position = 0  # batches handed out

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = divmod(self.position, SAMPLES // 2)
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch)).tolist()
        for first in range(2 * start, SAMPLES, 2):
            self.position += 1
            yield toy_batch(order[first : first + 2])

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def toy_batch(samples: list[int]) -> Batch:
    images = torch.stack([_image(sample) for sample in samples])
    sizes = torch.full((len(samples), 2), 8)
    targets = tuple(Target(image.mean() * torch.ones(1, 4), (("thing",),)) for image in images)
    return Batch(tuple(f"toy-{sample}" for sample in samples), images, sizes, sizes, targets)


@dataclass
class ToyReport:
    total: Tensor
    parts: dict[str, Tensor]


class ToyStep(nn.Module):
    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
        boxes = self.detector(batch.images, batch.sizes_hw)
        wanted = torch.cat([target.boxes_cxcywh for target in batch.targets])
        noise = torch.cat([torch.randn(1, 4, generator=draws.of(key)) for key in batch.keys])
        loss = (boxes - wanted - 0.1 * noise).square().mean()
        return ToyReport(loss, {"box": loss})


def toy_state(config: TrainConfig, identity: dict[str, Any] | None = None) -> TrainingState:
    return TrainingState(ToyDetector(), ToyLoader(), identity or {"toy": 1}, config)


def train_toy(folder: Path, config: TrainConfig) -> TrainingState:
    """Train in `folder` from its last checkpoint, as the real trainer does."""
    state = toy_state(config)
    if last := checkpoint.load_latest(folder / "checkpoints"):
        state.restore(last)
    series = Series(folder / "series.csv", start=state.step, config=config, ranks=HERE)
    train_steps(
        state,
        ToyStep(state.detector),
        config,
        ranks=HERE,
        series=series,
        checkpoints=folder / "checkpoints",
    )
    return state


def _image(sample: int) -> Tensor:
    return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(sample))
