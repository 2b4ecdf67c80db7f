"""The namer's head is frozen, then trained: at its step, at its rate, and over a resume."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ranks import together
from safetensors.torch import load_file
from torch import Tensor
from trainee import HashTower, changed, publish_even_shards, run

from opendet.train.distributed import Ranks
from opendet.train.optimizer import HEAD
from opendet.train.recipe import Recipe
from opendet.train.run import train

STEPS, UNFROZEN = 8, 4
ALL = "model/model.safetensors", "series.csv", f"checkpoints/step-{STEPS:08d}.safetensors"


def _recipe(**values: object) -> Recipe:
    recipe = changed(steps=STEPS, checkpoint_every=1, keep=20, **values)
    schedule = {"unfreeze_head_at": UNFROZEN / STEPS, "unfrozen_head_lr_scale": 0.25}
    return replace(recipe, namer=recipe.namer.model_copy(update=schedule))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    publish_even_shards(folder / "shards")
    run(folder / "shards", folder / "work", _recipe())
    return folder


def _step(world: Path, step: int) -> dict[str, Tensor]:
    return load_file(world / "work" / "checkpoints" / f"step-{step:08d}.safetensors")


def test_the_base_stands_still_and_then_moves(world: Path) -> None:
    steps = [_step(world, step) for step in range(STEPS + 1)]
    base = [step[f"model.{HEAD}.base"] for step in steps]
    assert all(torch.equal(base[0], other) for other in base[: UNFROZEN + 1])
    assert not torch.equal(base[UNFROZEN], base[UNFROZEN + 1])
    up = [step[f"model.{HEAD}.lora_b"] for step in steps]
    assert up[UNFROZEN].any()
    assert not any(later.any() for later in up[UNFROZEN + 1 :])  # it is in the base from there on


def test_what_the_head_says_moves_by_its_learning_rate_alone(world: Path) -> None:
    """Adam's first step moves each weight by the learning rate: had the state stayed, by less."""
    before, after = _step(world, UNFROZEN), _step(world, UNFROZEN + 1)
    recipe = _recipe()
    strength = recipe.namer.lora_alpha / recipe.namer.lora_rank
    merged = before[f"model.{HEAD}.base"] + strength * (
        before[f"model.{HEAD}.lora_b"] @ before[f"model.{HEAD}.lora_a"]
    )
    rate = 0.25 * recipe.train.learning_rate
    moved = after[f"model.{HEAD}.base"] - merged * (1 - rate * recipe.train.weight_decay)
    assert float(moved.abs().max()) == pytest.approx(rate, rel=1e-3)


def test_the_average_takes_over_the_merged_head(world: Path) -> None:
    before, after = _step(world, UNFROZEN), _step(world, UNFROZEN + 1)
    recipe = _recipe()
    strength = recipe.namer.lora_alpha / recipe.namer.lora_rank
    merged = before[f"ema.{HEAD}.base"] + strength * (
        before[f"ema.{HEAD}.lora_b"] @ before[f"ema.{HEAD}.lora_a"]
    )
    decay = (1 + UNFROZEN) / (10 + UNFROZEN)
    wanted = decay * merged + (1 - decay) * after[f"model.{HEAD}.base"]
    torch.testing.assert_close(after[f"ema.{HEAD}.base"], wanted)
    assert not after[f"ema.{HEAD}.lora_b"].any()


@pytest.mark.parametrize("last", [UNFROZEN - 1, UNFROZEN, UNFROZEN + 2])
def test_a_resume_is_exact_before_at_and_after(world: Path, tmp_path: Path, last: int) -> None:
    kept = tmp_path / "checkpoints"
    kept.mkdir()
    for step in range(last + 1):
        for path in (world / "work" / "checkpoints").glob(f"step-{step:08d}.*"):
            (kept / path.name).write_bytes(path.read_bytes())
    rows = (world / "work" / "series.csv").read_text()
    (tmp_path / "series.csv").write_text(rows)
    vectors = "text_vectors.safetensors"
    (tmp_path / vectors).write_bytes((world / "work" / vectors).read_bytes())
    run(world / "shards", tmp_path, _recipe())
    for name in ALL:
        assert (tmp_path / name).read_bytes() == (world / "work" / name).read_bytes(), name


def test_two_ranks_unfreeze_together(world: Path, tmp_path: Path) -> None:
    def work(ranks: Ranks) -> None:
        recipe = _recipe()
        halved = replace(recipe, loader=recipe.loader.model_copy(update={"batch_size": 2}))
        train(halved, world / "shards", tmp_path, clip=HashTower(), ranks=ranks)

    assert together(2, work) == [0, 0]
    last = load_file(tmp_path / "checkpoints" / f"step-{STEPS:08d}.safetensors")
    assert not last[f"model.{HEAD}.lora_b"].any()
