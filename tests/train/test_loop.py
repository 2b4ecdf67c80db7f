"""The loop: resume equals no interruption, each sample once an epoch, no step on a NaN."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_training import (
    HERE,
    SAMPLES,
    ToyLoader,
    ToyReport,
    ToyStep,
    toy_batch,
    toy_state,
    train_toy,
)

from opendet.data.batch import Batch
from opendet.faults.trained import kill_until_done
from opendet.train import checkpoint
from opendet.train.checkpoint import load_latest
from opendet.train.config import TrainConfig
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.randomness import StepDraws
from opendet.train.state import TrainingState

CONFIG = TrainConfig(
    steps=40, learning_rate=0.01, warmup_steps=5, clip_norm=1.0, ema_decay=0.9, checkpoint_every=3,
    log_every=2, threads=1,
)  # fmt: skip


def _tensors(folder: Path) -> dict[str, Tensor]:
    last = load_latest(folder / "checkpoints")
    assert last is not None
    assert last.step == CONFIG.steps
    return last.tensors


def _largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _kill_many(tmp_path: Path, at_least: int) -> None:
    start = time.monotonic()
    train_toy(tmp_path / "undisturbed", CONFIG)
    longest = time.monotonic() - start
    undisturbed = _tensors(tmp_path / "undisturbed")
    rng = random.Random(0)
    kills = run = 0
    while kills < at_least:
        folder = tmp_path / str(run)
        kills += kill_until_done(partial(train_toy, folder, CONFIG), rng, longest)
        assert _largest_difference(_tensors(folder), undisturbed) == 0.0
        run += 1


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    _kill_many(tmp_path, at_least=4)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    _kill_many(tmp_path, at_least=50)


def test_a_resumed_series_is_the_undisturbed_one(tmp_path: Path) -> None:
    train_toy(tmp_path / "undisturbed", CONFIG)
    # a run of another length stops early, as a kill does: nothing of its schedule differs
    train_toy(tmp_path / "resumed", CONFIG.model_copy(update={"steps": 20, "decay": "none"}))
    plain = CONFIG.model_copy(update={"decay": "none"})
    train_toy(tmp_path / "resumed", plain)
    train_toy(tmp_path / "plain", plain)
    series = (tmp_path / "resumed" / "series.csv").read_text()
    assert series.splitlines()[0].startswith("step,loss,box,grad_norm,lr")
    steps = [int(line.split(",")[0]) for line in series.splitlines()[1:]]
    assert steps[:6] == [2, 3, 4, 6, 8, 9]  # the logged steps, and those of the checkpoints
    assert steps[-1] == CONFIG.steps
    assert _largest_difference(_tensors(tmp_path / "resumed"), _tensors(tmp_path / "plain")) == 0.0


def test_each_sample_once_an_epoch_over_a_resume(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    class Watched(ToyStep):
        def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
            seen.update(batch.keys)
            return super().forward(batch, draws)

    epochs = 3
    for steps in (7, epochs * SAMPLES // 2):
        config = CONFIG.model_copy(update={"steps": steps})
        state = toy_state(config)
        if last := load_latest(tmp_path / "checkpoints"):
            state.restore(last)
        _train(state, Watched, config, tmp_path)
    assert set(seen.values()) == {epochs}
    assert len(seen) == SAMPLES


def test_a_loss_that_is_not_finite_stops_and_names_the_images(tmp_path: Path) -> None:
    class Poisoned(ToyStep):
        def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
            report = super().forward(batch, draws)
            if "toy-7" in batch.keys:
                return ToyReport(report.total * float("nan"), {"box": report.total * float("nan")})
            return report

    config = CONFIG.model_copy(update={"checkpoint_every": 1})
    with pytest.raises(ValueError, match=r"step \d+: box is nan on the images .*toy-7") as error:
        _train(toy_state(config), Poisoned, config, tmp_path)
    assert "\n" not in str(error.value)
    last = load_latest(tmp_path / "checkpoints")
    assert last is not None
    assert all(tensor.isfinite().all() for tensor in last.tensors.values())


def test_a_forward_pass_that_cannot_go_on_names_the_images(tmp_path: Path) -> None:
    class Broken(ToyStep):
        def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
            raise FloatingPointError("the boxes are nan")

    with pytest.raises(ValueError, match=r"step 0: the boxes are nan on the images toy-\d"):
        _train(toy_state(CONFIG), Broken, CONFIG, tmp_path)


def test_of_several_batches_a_step_the_bad_one_is_named(tmp_path: Path) -> None:
    class Poisoned(ToyStep):
        def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
            report = super().forward(batch, draws)
            return ToyReport(report.total * (float("nan") if "toy-7" in batch.keys else 1), {})

    config = CONFIG.model_copy(update={"accumulate": 3})
    with pytest.raises(ValueError, match=r"loss is nan on the images (toy-\d, )?toy-7(, toy-\d)?:"):
        _train(toy_state(config), Poisoned, config, tmp_path)


def test_accumulated_batches_are_the_large_batch(tmp_path: Path) -> None:
    class Pairs(ToyLoader):
        def __iter__(self) -> Iterator[Batch]:
            while True:
                first, second = self.position, self.position + 1
                self.position += 2
                yield toy_batch(
                    [k % SAMPLES for k in (2 * first, 2 * first + 1, 2 * second, 2 * second + 1)]
                )

    class Halves(Pairs):
        def __iter__(self) -> Iterator[Batch]:
            while True:
                self.position += 1
                yield toy_batch(
                    [(2 * self.position - 2) % SAMPLES, (2 * self.position - 1) % SAMPLES]
                )

    plain = CONFIG.model_copy(update={"steps": 6, "clip_norm": 100.0})
    states = []
    for loader, accumulate in ((Pairs(), 1), (Halves(), 2)):
        config = plain.model_copy(update={"accumulate": accumulate})
        state = toy_state(config)
        state.loader = loader
        state.detector.norm = torch.nn.Identity()  # a batch's statistics are the batch's
        state.detector.dropout = torch.nn.Identity()
        state = TrainingState(state.detector, loader, {}, config)
        _train(state, ToyStep, config, tmp_path / str(accumulate))
        states.append(state)
    large, small = (dict(state.detector.named_parameters()) for state in states)
    for name in large:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6)
    first, second = (list(_losses(tmp_path / str(n) / "series.csv")) for n in (1, 2))
    assert first == pytest.approx(second, rel=1e-4)


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    class Exploding(ToyStep):
        def forward(self, batch: Batch, draws: StepDraws) -> ToyReport:
            report = super().forward(batch, draws)
            root = (report.total - report.total).sqrt()  # 0, with an infinite slope
            return ToyReport(report.total + root, {"box": report.total})

    state = toy_state(CONFIG)
    before = [parameter.detach().clone() for parameter in state.detector.parameters()]
    with pytest.raises(ValueError, match="gradient is nan"):
        _train(state, Exploding, CONFIG, tmp_path)
    after = state.detector.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    state = toy_state(CONFIG, {"train.learning_rate": 0.1, "data.seed": 1})
    checkpoint.save(tmp_path, state.checkpoint(), keep=2)
    last = load_latest(tmp_path)
    assert last is not None
    with pytest.raises(ValueError, match=r"train.learning_rate was 0.1 and is 0.2") as error:
        toy_state(CONFIG, {"train.learning_rate": 0.2, "data.seed": 1}).restore(last)
    assert "data.seed" not in str(error.value)


def test_the_loop_learns(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 150, "clip_norm": 10.0, "checkpoint_every": 1000})
    state = toy_state(config)
    _train(state, ToyStep, config, tmp_path)
    rows = list(_losses(tmp_path / "series.csv"))
    assert sum(rows[-5:]) < 0.3 * sum(rows[:5])


def test_bf16_keeps_weights_in_float32_and_learns(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"amp": "bf16", "steps": 6})
    state = toy_state(config)
    _train(state, ToyStep, config, tmp_path)
    assert {tensor.dtype for tensor in state.detector.parameters()} == {torch.float32}


def _train(state: TrainingState, step: type[ToyStep], config: TrainConfig, folder: Path) -> None:
    train_steps(
        state,
        step(state.detector),
        config,
        ranks=HERE,
        series=Series(folder / "series.csv", start=state.step, config=config, ranks=HERE),
        checkpoints=folder / "checkpoints",
    )


def _losses(path: Path) -> Iterator[float]:
    for line in path.read_text().splitlines()[1:]:
        yield float(line.split(",")[1])
