"""The same batches with any number of workers, and from any point on."""

from pathlib import Path

import numpy as np
import pytest
import shard_world as world
import torch

from opendet.data.batch import Batch
from opendet.data.config import LoaderConfig, MixtureSource
from opendet.data.dataset import ExampleSet
from opendet.data.loader import Loader, Position, State, evaluation_batches
from opendet.shard_set import ShardSet

CONFIG = LoaderConfig(
    shortest_edges=(32, 40), evaluation_edge=40, longest_edge=64, crop_edges=(40,),
    crop_sides=(24, 40), batch_size=4, drop_last=False, seed=7,
)  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("shards") / "out"
    world.small_build(folder, shards=3, each=6)
    return ShardSet.open(folder)


def loader(shards: ShardSet, rank: int = 0, ranks: int = 1, **changes: object) -> Loader:
    config = CONFIG.model_copy(update=changes)
    return Loader(ExampleSet(shards, config), config, rank=rank, world=ranks)


def same(first: Batch, second: Batch) -> bool:
    return (
        first.keys == second.keys
        and torch.equal(first.images, second.images)
        and torch.equal(first.sizes_hw, second.sizes_hw)
        and all(
            torch.equal(a.boxes_cxcywh, b.boxes_cxcywh) and a.names == b.names
            for a, b in zip(first.targets, second.targets, strict=True)
        )
    )


def all_same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(map(same, first, second))


def epochs(of: Loader, count: int) -> list[Batch]:
    return [batch for _ in range(count) for batch in of]


@pytest.mark.parametrize("changes", [{"workers": 1}, {"workers": 2}, {"cache": True}])
def test_workers_and_cache_change_nothing(shards: ShardSet, changes: dict[str, object]) -> None:
    assert all_same(epochs(loader(shards), 3), epochs(loader(shards, **changes), 3))


@pytest.mark.parametrize("drop_last", [True, False])
def test_each_sample_once_an_epoch(shards: ShardSet, drop_last: bool) -> None:
    seen = [key for batch in loader(shards, drop_last=drop_last) for key in batch.keys]
    assert len(seen) == len(set(seen)) == (16 if drop_last else 18)
    assert set(seen) <= set(shards.keys)


def test_ranks_partition_an_epoch(shards: ShardSet) -> None:
    ranks = [epochs(loader(shards, rank, 3, batch_size=2), 1) for rank in range(3)]
    keys = [key for batches in ranks for batch in batches for key in batch.keys]
    assert sorted(keys) == shards.keys
    assert len({len(batches) for batches in ranks}) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_resume_anywhere_equals_undisturbed(shards: ShardSet, workers: int) -> None:
    undisturbed = loader(shards)
    batches: list[Batch] = []
    states: list[State] = [undisturbed.state_dict()]
    for _ in range(2):
        for batch in undisturbed:
            batches.append(batch)
            states.append(undisturbed.state_dict())
    assert len(batches) == 10
    for done in (0, 1, 4, 5, 6, 9, 10) if workers == 0 else (3,):
        resumed = loader(shards, workers=workers)
        resumed.load_state_dict(states[done])
        rest: list[Batch] = []
        while len(rest) < len(batches) - done:
            rest += epochs(resumed, 1)
        assert all_same(rest, batches[done:])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_that_breaks_off_goes_on(shards: ShardSet, workers: int) -> None:
    whole = epochs(loader(shards), 2)
    broken = loader(shards, workers=workers)
    seen: list[Batch] = []
    while len(seen) < len(whole):
        for batch in broken:
            seen.append(batch)
            if len(seen) % 3 == 0:
                break
    assert all_same(seen, whole)


def test_position_counts_what_was_given_out(shards: ShardSet) -> None:
    counted = loader(shards)
    positions = [counted.position, *(counted.position for _ in counted)]
    assert positions == [Position(0, 0), *(Position(0, n) for n in range(1, 5)), Position(1, 0)]


def test_the_global_generators_are_left_alone(shards: ShardSet) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    epochs(loader(shards), 2)
    epochs(loader(shards, workers=1), 1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_a_state_of_other_batches_is_refused(shards: ShardSet) -> None:
    state = loader(shards).state_dict()
    for changes in ({"batch_size": 2}, {"seed": 8}, {"drop_last": True}):
        with pytest.raises(ValueError, match=f"loader has {next(iter(changes))} "):
            loader(shards, **changes).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_while_training_is_one_line(tmp_path: Path, workers: int) -> None:
    world.small_build(tmp_path / "out")
    reading = loader(ShardSet.open(tmp_path / "out"), workers=workers)
    for tar in (tmp_path / "out").glob("*.tar"):
        tar.write_bytes(b"")
    with pytest.raises(ValueError, match=r"\A/[^\n]*\.tar was changed while it was in use[^\n]*\Z"):
        next(iter(reading))


def test_too_few_samples(shards: ShardSet) -> None:
    with pytest.raises(ValueError, match=r"lower loader\.batch_size"):
        loader(shards, batch_size=19, drop_last=True)


def test_evaluation_batches_are_plain_and_in_order(shards: ShardSet) -> None:
    examples = ExampleSet(shards, CONFIG)
    batches = list(evaluation_batches(examples, CONFIG))
    assert [key for batch in batches for key in batch.keys] == shards.keys
    assert all_same(batches, list(evaluation_batches(examples, CONFIG)))
    assert all(int(size.min()) == 40 for batch in batches for size in batch.sizes_hw)


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("sources") / "out"
    world.publish(
        folder, {"a-000000": world.samples(9, batch="a"), "b-000000": world.samples(3, batch="b")}
    )
    return ShardSet.open(folder)


MIXED = {
    "mixture": (MixtureSource(batch="a", weight=1), MixtureSource(batch="b", weight=2)),
    "epoch_draws": 18,
    "repeat_threshold": 0.9,
}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mixture_has_its_shares_and_resumes(two_sources: ShardSet, workers: int) -> None:
    undisturbed = loader(two_sources, **MIXED)
    batches: list[Batch] = []
    states: list[State] = [undisturbed.state_dict()]
    for _ in range(2):
        for batch in undisturbed:
            batches.append(batch)
            states.append(undisturbed.state_dict())
    keys = [key for batch in batches for key in batch.keys]
    assert sum(key.startswith("a-") for key in keys) == 12  # a third of twice 18
    for done in range(len(batches)) if workers == 0 else (3,):
        resumed = loader(two_sources, workers=workers, **MIXED)
        resumed.load_state_dict(states[done])
        rest = epochs(resumed, 2)[: len(batches) - done]
        assert all_same(rest, batches[done:])


def test_ranks_share_a_mixture(two_sources: ShardSet) -> None:
    whole = epochs(loader(two_sources, batch_size=4, **MIXED), 1)
    ranks = [epochs(loader(two_sources, r, 2, batch_size=2, **MIXED), 1) for r in range(2)]
    for batch, first, second in zip(whole, *ranks, strict=True):
        assert sorted(batch.keys) == sorted(first.keys + second.keys)


def test_a_state_of_another_number_of_draws_is_refused(two_sources: ShardSet) -> None:
    state = loader(two_sources, **MIXED).state_dict()
    with pytest.raises(ValueError, match="loader has draws 18, this one 12"):
        loader(two_sources).load_state_dict(state)


def test_batches_without_an_object_are_batches(tmp_path: Path) -> None:
    bare = [world.painted(f"a-{index}", seed=index) for index in range(4)]
    world.publish(tmp_path / "out", {"a-000000": bare})
    [batch] = loader(ShardSet.open(tmp_path / "out"))
    assert [target.boxes_cxcywh.shape for target in batch.targets] == [(0, 4)] * 4
    with pytest.raises(ValueError, match=r"\Aloader\.drop_empty leaves no image"):
        loader(ShardSet.open(tmp_path / "out"), drop_empty=True)


def test_shards_without_a_sample_are_one_line(tmp_path: Path) -> None:
    world.publish(tmp_path / "out", {"a-000000": []})
    with pytest.raises(ValueError, match=r"\Athe split train has no samples: [^\n]*\Z"):
        loader(ShardSet.open(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"has no shard of the split 'val'[^\n]*\Z"):
        ShardSet.open(tmp_path / "out", split="val")
