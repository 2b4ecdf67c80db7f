"""Several ranks train as one process would: equal weights, one curve, one set of files."""

import csv
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import begin, ended, kill, together
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from trainee import RECIPE, HashTower, publish_even_shards

from opendet import shard_set
from opendet.data.batch import Batch, Target
from opendet.shard_notes import Notes, hash_and_note
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks, device_of, own_gpu
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.recipe import Recipe
from opendet.train.run import train
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from opendet.train.weights import own_tensors
from tests.model.worlds import NAMES, build_detector, no_targets

HERE = Ranks(torch.device("cpu"))
STEPS = 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shards"
    publish_even_shards(folder)
    return folder


def _recipe(**loader: Any) -> Recipe:
    """Without dropout, which draws on each rank by itself."""
    plain = {"shortest_edges": (36,), "crop": 0.0, "crop_sides": RECIPE.loader.crop_sides}
    return replace(
        RECIPE,
        train=RECIPE.train.model_copy(update={"steps": STEPS, "log_every": 1}),
        loader=RECIPE.loader.model_copy(update=plain | loader),
        detector=RECIPE.detector.model_copy(update={"dropout": 0.0}),
    )


def _train(recipe: Recipe, shards: Path, work: Path, ranks: Ranks) -> None:
    train(recipe, shards, work, clip=HashTower(), ranks=ranks)


def test_two_ranks_with_half_the_batch_are_one_with_the_batch(shards: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    halves = _recipe(batch_size=2)
    assert together(2, lambda ranks: _train(halves, shards, two, ranks)) == [0, 0]
    _train(_recipe(batch_size=4), shards, one, HERE)
    curve, expected = _series(two), _series(one)
    assert len(curve) == STEPS
    for row, wanted in zip(curve, expected, strict=True):
        for name in wanted.keys() - {"matched"}:  # a mean over ranks, not of a common count
            assert row[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-6), name
        assert 2 * row["matched"] == wanted["matched"]
    weights, wanted_weights = (load_file(w / "model" / "model.safetensors") for w in (two, one))
    for name, wanted_tensor in wanted_weights.items():
        torch.testing.assert_close(weights[name], wanted_tensor, rtol=1e-3, atol=1e-4)


def _series(work: Path) -> list[dict[str, float]]:
    with (work / "series.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


class FixedBatches:
    """The same batch for ever."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert not state


def _batch(key: str, target: Target) -> Batch:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(len(key)))
    return Batch((key,), images, torch.tensor([[64, 64]]), torch.tensor([[64, 64]]), (target,))


BATCHES = (
    _batch("full", Target(torch.tensor([[0.4, 0.4, 0.3, 0.3]]), ((NAMES[0],),))),
    _batch("empty", no_targets()),
)
CAPTIONED = _batch("told", Target(torch.zeros(0, 4), (), kind="image", caption="a red star"))
BOTH_FULL = (BATCHES[0], replace(BATCHES[0], keys=("second",)))


def _train_on(batch: Batch, folder: Path, ranks: Ranks, scale: float = 1.0) -> dict[str, Tensor]:
    config = TrainConfig(steps=3, learning_rate=1e-3, warmup_steps=0, log_every=1)
    torch.manual_seed(6)
    rows = scale * functional.normalize(torch.randn(len(NAMES), 32), dim=-1)
    detector = build_detector()
    state = TrainingState(detector, FixedBatches(batch), {}, config)
    series = Series(folder / "series.csv", start=0, config=config, ranks=ranks)
    step = TrainingStep(detector, Objective(ObjectiveConfig(), TextVectors(NAMES, rows)))
    train_steps(state, step, config, ranks=ranks, series=series, checkpoints=folder / "kept")
    return {name: tensor.detach() for name, tensor in own_tensors(state.detector).items()}


@pytest.mark.parametrize(
    "batches",
    [BATCHES, BATCHES[1:] * 2, (BATCHES[0], CAPTIONED)],
    ids=["one rank", "both ranks", "a caption alone on one rank"],
)
def test_a_batch_without_objects_does_not_hang(
    batches: tuple[Batch, Batch], tmp_path: Path
) -> None:
    def work(ranks: Ranks) -> None:
        weights = _train_on(batches[ranks.rank], tmp_path / str(ranks.rank), ranks)
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()},
            tmp_path / f"{ranks.rank}.safetensors",
        )

    assert together(2, work) == [0, 0]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    before = own_tensors(build_detector())
    assert first.keys() == before.keys()
    for name, tensor in first.items():
        assert tensor.isfinite().all()
        assert torch.equal(tensor, second[name]), name
    assert any(not torch.equal(first[name], before[name]) for name in first)
    assert (tmp_path / "0" / "kept").is_dir()
    assert not (tmp_path / "1").exists(), "rank 0 alone writes"


def test_killed_ranks_go_on_and_end_as_undisturbed(shards: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, loader=RECIPE.loader.model_copy(update={"batch_size": 2}))

    def work(folder: Path, ranks: Ranks) -> None:
        _train(recipe, shards, folder, ranks)

    assert together(2, lambda ranks: work(tmp_path / "undisturbed", ranks)) == [0, 0]
    broken = tmp_path / "broken"
    processes = begin(2, lambda ranks: work(broken, ranks))
    while not (broken / "checkpoints" / "step-00000004.json").exists():
        time.sleep(0.01)
    kill(processes)
    assert 0 not in ended(processes)
    assert together(2, lambda ranks: work(broken, ranks)) == [0, 0]
    for name in ("model/model.safetensors", "series.csv"):
        assert (broken / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    with pytest.raises(ValueError, match="ranks was 2 and is 1"):
        work(broken, HERE)


def test_ranks_hash_each_shard_once_and_a_restart_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, shards = tmp_path / "hashed", tmp_path / "shards"
    publish_even_shards(shards, shards=3)

    def counting(path: Path, *others: Any) -> tuple[str, Notes]:
        with told.open("a") as file:
            file.write(f"{path.name}\n")
        return hash_and_note(path, *others)

    monkeypatch.setattr(shard_set, "hash_and_note", counting)
    for _ in range(2):
        run = together(2, lambda ranks: _train(_recipe(), shards, tmp_path / "work", ranks))
        assert run == [0, 0]
        assert sorted(told.read_text().split()) == [f"a-{n:06d}.tar" for n in range(3)]
        shutil.rmtree(tmp_path / "work/model")  # so that it has to go on


def test_every_rank_names_the_batch_that_one_of_them_could_not_learn_from(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> None:
        scale = float("nan") if ranks.rank else 1.0
        with pytest.raises(ValueError, match=r"^step 0: .* on the images second: look") as error:
            _train_on(BOTH_FULL[ranks.rank], tmp_path / str(ranks.rank), ranks, scale)
        assert "\n" not in str(error.value)

    assert together(2, work) == [0, 0]


def test_an_image_that_the_network_cannot_take_is_named(tmp_path: Path) -> None:
    broken = replace(BATCHES[0], images=BATCHES[0].images * float("nan"))
    with pytest.raises(ValueError, match=r"^step 0: .* on the images full: look") as error:
        _train_on(broken, tmp_path, HERE)
    assert "\n" not in str(error.value)


def test_a_rank_that_is_left_alone_says_so_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def work(ranks: Ranks) -> None:
        ranks.wait()
        if ranks.rank == 1:
            raise ValueError("the image is broken")
        ranks.wait()

    assert 0 not in together(2, work)
    assert "ValueError: rank 0 lost another rank" in capfd.readouterr().err


def test_each_rank_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_gpu(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_gpu(torch.device("cuda:1")) == torch.device("cuda", 1)
    assert device_of("cpu") == torch.device("cpu")
