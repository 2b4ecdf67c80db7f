"""All that a training run is made of between two steps, to a checkpoint and back.

The learning rate and the random numbers of a step are not here: they are functions of the seed and
the step (`optimizer.py`, `randomness.py`).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from opendet.data.batch import Batch
from opendet.model.detector import OpenDetector
from opendet.model.t5_namer import T5Namer
from opendet.train.checkpoint import Checkpoint
from opendet.train.config import TrainConfig
from opendet.train.ema import Ema
from opendet.train.optimizer import HEAD, build_optimizer
from opendet.train.recipe import Identity, require_same_identity
from opendet.train.weights import load_tensors, own_tensors


class BatchSource(Protocol):
    """What the trainer asks of a loader."""

    def __iter__(self) -> Iterator[Batch]:
        """The batches that are left of the current epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch that was handed out, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass
class TrainingState:
    """The objects that change from step to step."""

    detector: nn.Module
    loader: BatchSource
    identity: Identity
    """The configuration and the data. A checkpoint of another one is refused."""
    config: TrainConfig
    warmup: dict[str, float] = field(default_factory=dict)
    """What the namer's warm-up reported before the first step."""
    step: int = 0
    seconds: float = 0.0
    """Spent on the steps so far, over all resumes."""
    head_unfrozen: bool = False
    """Whether the namer's head is trained since a step of this run."""
    optimizer: Optimizer = field(init=False)
    ema: Ema = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.detector, self.config)
        self.ema = Ema(self.detector, self.config.ema_decay)

    def unfreeze_head(self) -> None:
        """Train the namer's whole head from here on; its optimizer state begins anew."""
        assert isinstance(self.detector, OpenDetector)
        namer = self.detector.namer
        assert isinstance(namer, T5Namer)
        _unfreeze_average(self.ema, namer)
        namer.unfreeze_head()
        known = self.optimizer.state
        scale = namer.config.unfrozen_head_lr_scale
        self.optimizer = build_optimizer(self.detector, self.config, head_lr_scale=scale)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in known:
                    self.optimizer.state[parameter] = known[parameter]
        self.head_unfrozen = True

    def checkpoint(self) -> Checkpoint:
        tensors = {
            **_prefixed("model", own_tensors(self.detector)),
            **_prefixed("ema", self.ema.tensors),
            **_prefixed("optimizer", _optimizer_tensors(self.optimizer)),
        }
        state = {
            "identity": self.identity,
            "loader": self.loader.state_dict(),
            "seconds": self.seconds,
            "warmup": self.warmup,
            "head_unfrozen": self.head_unfrozen,
        }
        return Checkpoint(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint. Raises ValueError if it was made of other ingredients."""
        what = f"the checkpoint of step {checkpoint.step}"
        require_same_identity(checkpoint.state["identity"], self.identity, what=what)
        if checkpoint.state["head_unfrozen"]:
            self.unfreeze_head()
        load_tensors(self.detector, _unprefixed("model", checkpoint.tensors), what=what)
        averages = _unprefixed("ema", checkpoint.tensors)
        for name, tensor in self.ema.tensors.items():
            tensor.copy_(averages[name])
        _load_optimizer(self.optimizer, _unprefixed("optimizer", checkpoint.tensors))
        self.loader.load_state_dict(checkpoint.state["loader"])
        self.step = checkpoint.step
        self.seconds = checkpoint.state["seconds"]
        self.warmup = checkpoint.state["warmup"]


def _unfreeze_average(ema: Ema, namer: T5Namer) -> None:
    """The averaged head becomes one matrix too: the mean of products is not the means' product."""
    head = copy.deepcopy(namer.head)
    averages = _unprefixed(HEAD, ema.tensors)
    load_tensors(head, averages, what="the average of the head")
    head.unfreeze()
    for name, tensor in own_tensors(head).items():
        averages[name].copy_(tensor.detach())


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """`<index of the parameter>.<name>` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index in state for name, value in state[index].items()}


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        index, name = path.split(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]  # learning rates follow from the step
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _unprefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): tensor for k, tensor in tensors.items() if k.startswith(start)}
