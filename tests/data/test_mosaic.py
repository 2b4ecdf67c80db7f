"""Mosaics: where tiles and boxes lie, who comes together, the same ones whatever the workers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shard_world as world
import torch
from pydantic import ValidationError

from opendet.data import dataset, transforms
from opendet.data.batch import Batch
from opendet.data.config import LoaderConfig, MixtureSource
from opendet.data.dataset import ExampleSet
from opendet.data.loader import Loader
from opendet.data.mosaic import mosaic, shrunk
from opendet.data.order import Draw
from opendet.data.transforms import Example
from opendet.record import NameJudgement, Provenance
from opendet.shard_set import ShardSet

CONFIG = LoaderConfig(
    shortest_edges=(48,), longest_edge=96, crop=0.0, batch_size=3, drop_last=False, seed=7,
    mosaic={1: 1, 2: 1, 3: 1}, mosaic_least_side=2.0,
)  # fmt: skip


def tile(key: str, size_hw: tuple[int, int], *boxes: tuple[float, ...], **fields: Any) -> Example:
    """White inside of its boxes, grey outside."""
    image = torch.full((3, *size_hw), 50, dtype=torch.uint8)
    for x0, y0, x1, y1 in boxes:
        image[:, int(y0) : int(y1), int(x0) : int(x1)] = 255
    return replace(
        Example(
            key=key,
            image=image,
            boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            names=tuple((f"{key}{number}",) for number in range(len(boxes))),
            original_hw=size_hw,
            caption="of one tile",
        ),
        **fields,
    )


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """Two batches, `a` of people's boxes and `b` of captions alone; an image of `a` says more."""
    told = world.samples(8)
    judged = [NameJudgement(name, Provenance("lvis")) for name in ("owl", "thing", "moth")]
    record = replace(told[1].record, absent=(judged[0], judged[1]), partial=(judged[2],))
    told[1] = replace(told[1], record=record)
    world.publish(tmp_path / "out", {"a-000000": told, "b-000000": world.samples(4, batch="b")})
    return ShardSet.open(tmp_path / "out")


def test_boxes_go_where_their_tiles_go() -> None:
    first = tile("a", (20, 30), (3, 4, 13, 14))
    half = tile("b", (40, 60), (20, 20, 60, 40))
    tall = tile("c", (40, 20), (0, 20, 20, 40))
    whole = mosaic([first, half, tall, first], first=first, least_side=0)
    assert whole.size_hw == whole.original_hw == (60, 60)  # cells of the median, 30 x 30
    assert whole.key == "a"
    assert whole.caption is None
    assert whole.names == (("a0",), ("b0",), ("c0",), ("a0",))
    wanted = [[3, 4, 13, 14], [40, 10, 60, 20], [0, 45, 15, 60], [33, 34, 43, 44]]
    torch.testing.assert_close(whole.boxes_xyxy, torch.tensor(wanted).float())
    for x0, y0, x1, y1 in wanted:  # each box is around what it was around
        assert whole.image[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > 200
        assert whole.image[:, y0:y1, max(x0 - 3, 0) : x0].float().sum() < 255 * 3 * (y1 - y0)
    assert whole.image[:, 21:30].max() == 0  # what tiles leave of their cells


def test_what_is_too_small_to_be_seen_is_no_box() -> None:
    one = tile("a", (20, 20), (1, 1, 18, 3), (5, 5, 15, 15))
    assert mosaic([one], first=one, least_side=2).names == one.names
    whole = mosaic([one], first=one, least_side=3)
    assert whole.names == (("a1",),)
    assert torch.equal(whole.boxes_xyxy, one.boxes_xyxy[1:])
    nothing = tile("a", (20, 20))
    assert mosaic([nothing] * 4, first=nothing, least_side=4).boxes_xyxy.shape == (0, 4)


def test_absent_is_what_no_tile_shows_or_may_show() -> None:
    first = tile("a", (20, 20), (1, 1, 9, 9), absent=("owl", "moth", "b0"))
    second = tile("b", (20, 20), (1, 1, 9, 9), absent=("owl", "a0"), partial=("moth",))
    whole = mosaic([first, second, first, first], first=first, least_side=0)
    assert whole.absent == ("owl",)
    assert whole.partial == ("moth",)


def test_shares_and_sides_are_checked() -> None:
    for wrong in ({7: 1.0}, {0: 1.0}, {2: 0.0}, {2: -1.0}):
        with pytest.raises(ValidationError):
            LoaderConfig(mosaic=wrong)
    assert LoaderConfig.model_validate({"mosaic": {"2": 1}}).mosaic == {2: 1.0}
    assert not LoaderConfig().mosaic
    owl = LoaderConfig(mosaic={1: 1, 2: 1, 3: 1, 4: 1, 6: 1}).mosaic
    assert sum(side * side for side in owl) / len(owl) == 13.2


def test_a_tile_is_augmented_as_a_small_image() -> None:
    small = shrunk(LoaderConfig(), 3)
    assert (small.shortest_edges[0], small.longest_edge) == (160, 444)
    assert (small.crop_edges, small.crop_sides) == ((133, 166, 200), (128, 200))
    assert shrunk(LoaderConfig(shortest_edges=(4,)), 6).shortest_edges == (1,)


def test_shares_come_as_asked_and_an_image_alone_is_as_without(shards: ShardSet) -> None:
    examples, plain = ExampleSet(shards, CONFIG), ExampleSet(shards, _without(CONFIG))
    sides: Counter[int] = Counter()
    for epoch in range(8):
        for sample in range(8):
            shown = examples.example(Draw(sample), epoch=epoch)
            alone = plain.example(Draw(sample), epoch=epoch)
            assert shown.key == alone.key
            if torch.equal(shown.image, alone.image):
                assert torch.equal(shown.boxes_xyxy, alone.boxes_xyxy)
                assert shown.caption == alone.caption
                sides[1] += 1
            else:
                assert shown.caption is None
                sides[2] += 1
                assert 44 <= min(shown.size_hw) <= 60  # as large as an image alone
    assert 9 <= sides[1] <= 35  # a third of 64 but for one time in a thousand


def test_a_caption_comes_alone_and_is_nobody_s_companion(shards: ShardSet) -> None:
    sources = (
        MixtureSource(batch="a", weight=1, kind="box"),
        MixtureSource(batch="b", weight=1, kind="image"),
    )
    examples = ExampleSet(shards, CONFIG.model_copy(update={"mixture": sources, "mosaic": {2: 1}}))
    kinds: dict[str, set[str]] = {"box": set(), "image": set()}
    for draw in examples.plan().order(seed=0, epoch=0):
        shown = examples.example(draw, epoch=0)
        kinds[shown.kind].add(shown.key[0])
        assert (shown.caption is None) == (shown.kind == "box")
    assert kinds == {"box": {"a"}, "image": {"b"}}


def test_what_is_known_of_names_reaches_the_batch(shards: ShardSet) -> None:
    alone = Loader(ExampleSet(shards, _without(CONFIG)), _without(CONFIG))
    targets = {
        key: target
        for batch in alone
        for key, target in zip(batch.keys, batch.targets, strict=True)
    }
    assert targets["a-0001"].absent == ("owl", "thing")
    assert targets["a-0001"].partial == ("moth", "spot")  # there is a spot that the filter refused
    assert targets["a-0002"].absent == ()
    assert targets["a-0002"].partial == ("spot",)
    assert targets["a-0004"].partial == ()  # it shows nothing
    config = CONFIG.model_copy(update={"mosaic": {3: 1}})
    shown = [target for batch in Loader(ExampleSet(shards, config), config)
             for target in batch.targets]  # fmt: skip
    told = {target.absent for target in shown}
    assert told == {(), ("owl",)}  # every mosaic shows a thing
    assert all("moth" in target.partial for target in shown if target.absent)
    assert {name for target in shown for name in target.partial} == {"moth", "spot"}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(shards: ShardSet, workers: int) -> None:
    config = CONFIG.model_copy(update={"workers": workers, "crop": 0.5, "flip": 0.5})
    serial = _content(shards, config.model_copy(update={"workers": 0}), epochs=2)
    assert _content(shards, config, epochs=2) == serial
    assert serial[: len(serial) // 2] != serial[len(serial) // 2 :]


def test_a_loader_taken_up_goes_on(shards: ShardSet) -> None:
    whole = _content(shards, CONFIG, epochs=1)
    for done in (1, 3):
        begun = Loader(ExampleSet(shards, CONFIG), CONFIG)
        for _, _ in zip(range(done), begun, strict=False):
            state = begun.state_dict()
        resumed = Loader(ExampleSet(shards, CONFIG), CONFIG)
        resumed.load_state_dict(state)
        assert [_bytes(batch) for batch in resumed] == whole[done:]


def test_companions_come_as_often_as_an_epoch_draws_them(shards: ShardSet) -> None:
    sources = (
        MixtureSource(batch="a", weight=3, kind="box"),
        MixtureSource(batch="b", weight=1, kind="box"),
    )
    examples = ExampleSet(shards, CONFIG.model_copy(update={"mixture": sources}))
    examples.plan()
    companions = examples._companions
    assert companions is not None
    drawn = Counter(companions.draw(0, 4000, np.random.default_rng(0)))
    assert sorted(drawn) == list(range(12))
    assert sum(drawn[sample] for sample in range(8)) == pytest.approx(3000, abs=100)


def test_a_sample_comes_in_other_company_and_at_another_place_each_time(
    shards: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[str, ...], int]] = []

    def watched(tiles: Sequence[Example], *, first: Example, least_side: float) -> Example:
        place = next(number for number, tile in enumerate(tiles) if tile is first)
        seen.append((tuple(tile.key for tile in tiles if tile is not first), place))
        return mosaic(tiles, first=first, least_side=least_side)

    monkeypatch.setattr(dataset, "mosaic", watched)
    examples = ExampleSet(shards, CONFIG.model_copy(update={"mosaic": {2: 1}}))
    for epoch in range(24):
        assert examples.example(Draw(3), epoch=epoch).key == "a-0003"
    company = {keys for keys, _ in seen}
    assert len(seen) == 24
    assert len(company) >= 20  # three of eight images: 512 kinds of company
    assert {place for _, place in seen} == {0, 1, 2, 3}
    again, other = (examples.example(Draw(sample), epoch=0).key for sample in (3, 5))
    assert seen[24] == seen[0]
    assert (again, other) == ("a-0003", "a-0005")
    assert seen[25] != seen[0]


def _without(config: LoaderConfig) -> LoaderConfig:
    return config.model_copy(update={"mosaic": {}})


def _bytes(batch: Batch) -> tuple[object, ...]:
    return (
        batch.keys,
        batch.images.numpy().tobytes(),
        tuple((t.boxes_cxcywh.numpy().tobytes(), t.names, t.absent) for t in batch.targets),
    )


def _content(shards: ShardSet, config: LoaderConfig, *, epochs: int) -> list[tuple[object, ...]]:
    loader = Loader(ExampleSet(shards, config), config)
    return [_bytes(batch) for _ in range(epochs) for batch in loader]


def test_what_is_too_small_or_cut_off_may_still_be_there() -> None:
    """Its box goes, and its name is taught neither as there nor as wrong."""
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [50.0, 50.0, 60.0, 60.0]])
    whole = Example("a-0", torch.zeros(3, 64, 64), boxes, (("ring",), ("dot",)), (64, 64))
    joined = mosaic([whole] * 4, first=whole, least_side=16.0)
    assert joined.names == (("ring",),) * 4
    assert joined.partial == ("dot",)
    cut = transforms.crop(whole, top=30, left=30, height=34, width=34, keep_share=0.5)
    assert (cut.names, cut.partial) == ((("dot",),), ("ring",))
    away = transforms.crop(whole, top=45, left=45, height=19, width=19, keep_share=0.5)
    assert (away.names, away.partial) == ((("dot",),), ())
