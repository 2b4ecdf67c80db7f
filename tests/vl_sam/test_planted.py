"""An object that is planted in synthetic attention is found; the published order of parts."""

import numpy as np
import pytest
import torch

from opendet.annotators.segment import PointPair
from opendet.bench.vl_sam_memory import Way, gigabytes
from opendet.bench.vl_sam_parts import ARMS, FOUND, WHOLE, _rows, best_iou, shares
from opendet.bench.vl_sam_world import THINGS, WORDS, drawn_scene, planted_attention, region_filler
from opendet.vl_sam.refinement import mask_on_map

WAYS: tuple[Way, ...] = ("hooks", "all heads")


def found_of(count: int, *, collapse: float, noise: float = 1.0, arm: str = WHOLE) -> int:
    found = 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        scene = drawn_scene(rng)
        layers = list(planted_attention(scene, rng, noise, collapse))
        found += best_iou(scene, layers, ARMS[arm]) >= FOUND
    return found


@pytest.mark.parametrize("collapse", [0.0, 4.0])
def test_planted_objects_are_found(collapse: float) -> None:
    assert found_of(12, collapse=collapse) >= 11


@pytest.mark.slow
@pytest.mark.parametrize("collapse", [0.0, 4.0])
def test_planted_objects_are_found_in_95_of_100_cases(collapse: float) -> None:
    assert found_of(100, collapse=collapse) >= 95


def test_nothing_is_found_where_nothing_is_planted() -> None:
    """So that the numbers above are the method's, and not the segmenter's."""
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = drawn_scene(rng)
        other = drawn_scene(rng)  # attention to where something else was
        layers = list(planted_attention(other, rng, 1.0))
        found += best_iou(scene, layers, ARMS["+ outer point"]) >= FOUND
    assert found <= 4


def test_without_regularisation_collapsing_attention_leads_nowhere() -> None:
    assert found_of(8, collapse=4.0, arm="flow") <= 4
    assert found_of(8, collapse=4.0, arm="+ regularised") >= 7


def test_a_benchs_unit_has_every_arm_and_scene() -> None:
    told = shares(1.0, 0.0, scenes=2)
    assert list(told) == list(ARMS)
    assert all(len(found) == 2 and set(found) <= {0, 1} for found in told.values())
    assert shares(1.0, 0.0, scenes=2) == told


def test_arms_come_in_their_order_and_each_beside_the_one_before() -> None:
    told = {arm: [1, 0] if arm == "flow" else [1, 1] for arm in sorted(ARMS)}
    rows = list(_rows(told, "sound, noise 1", goal=0.95))
    assert [row.metric.removeprefix("sound, noise 1: ") for row in rows] == list(ARMS)
    assert [row.value for row in rows] == [1, 0.5, 1, 1, 1, 1]
    assert rows[0].detail == ""
    assert rows[1].detail.startswith("-0.50 (error 0.5)")
    assert rows[2].detail.startswith("+0.50")
    assert [row.holds for row in rows] == [None] * 5 + [True]


# --- the world


def test_attention_is_causal_and_sums_to_one() -> None:
    rng = np.random.default_rng(0)
    layers = list(planted_attention(drawn_scene(rng), rng, 2.0, 4.0))
    for layer in layers:
        assert torch.allclose(layer.sum(-1), torch.ones(layer.shape[:2]), atol=1e-5)
        assert bool((layer.triu(1) == 0).all())
    early = layers[0][-1, 100:, WORDS].mean()  # a diffuse head
    assert early > 5 * layers[0][-1, 100:, WORDS + 20].mean()


def test_things_lie_apart_and_the_segmenter_knows_part_thing_and_more() -> None:
    rng = np.random.default_rng(3)
    scene = drawn_scene(rng)
    assert len(scene.things) == THINGS
    assert int(sum(thing.astype(int) for thing in scene.things).max()) == 1
    rows, columns = np.nonzero(scene.target)
    middle = float(np.median(columns)), float(np.median(rows))
    corner = (0.0, 0.0)
    for heeds in (True, False):
        [drawn] = region_filler(scene.image, heeds_outside=heeds)([PointPair(middle, corner)])
        assert drawn is not None
        mask = mask_on_map(drawn.code, scene.image.size)
        assert mask[int(middle[1]), int(middle[0])]
        assert (mask & ~scene.target).sum() <= 0.02 * scene.target.sum()
        assert (mask & scene.target).sum() >= 0.8 * scene.target.sum()


@pytest.mark.slow
def test_hooks_take_a_part_of_the_memory_that_all_heads_take() -> None:
    kept = {way: gigabytes(way, layers=8, tokens=600) for way in WAYS}
    assert kept["hooks"] < kept["all heads"] / 2
