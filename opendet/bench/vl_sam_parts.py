"""VL-SAM's parts on attention with an object planted in it: how often is the object found? And
what its attention takes of memory.

The arms are the published ablation's, each with one part more than the one before: attention as it
is, flow through the layers, its regularisation, weighted heads, the outer point, refinement. The
attention is synthetic (`vl_sam_world`): what it says of the parts holds where attention is like it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from opendet.bench.harness import Place, Row, at_least, code_of, mean_and_error
from opendet.bench.vl_sam_memory import HEADS, LAYERS, TOKENS, Way, gigabytes
from opendet.bench.vl_sam_world import (
    Scene,
    drawn_scene,
    name_map,
    planted_attention,
    region_filler,
)
from opendet.vl_sam.attention import AttentionFlow, FlowRules
from opendet.vl_sam.heatmaps import cell_of, heat_of
from opendet.vl_sam.refinement import RefineRules, found_on_maps, mask_on_map

SCENES = 100
NOISES = (1.0, 2.0, 3.0)
COLLAPSES = (0.0, 4.0)
"""Logits of the image's first cells in diffuse heads: attention is sound, or collapses."""
FOUND = 0.5
"""IoU of the object with one of the masks."""
GOAL = 0.95

ONCE = RefineRules(redraws=0, instances=1, resample=False)

TIMES_LESS = 4
"""Memory that hooks are to save."""

Merge = Callable[[list[Tensor]], Tensor]
"""(H, N, N) of every layer -> (N, N)."""


@dataclass(frozen=True, slots=True)
class Arm:
    """How attention becomes a map, and a map masks."""

    merge: Merge
    outer_point: bool = False
    rules: RefineRules = ONCE


def flow_of(layers: list[Tensor], rules: FlowRules) -> Tensor:
    """The layers' flow (N, N)."""
    flow = AttentionFlow(rules)
    for layer in layers:
        flow.add(layer)
    assert flow.rollout is not None
    return flow.rollout


def _mean(layers: list[Tensor]) -> Tensor:
    return torch.stack([layer.mean(0) for layer in layers]).mean(0)


_WHOLE = partial(flow_of, rules=FlowRules())
ARMS = {
    "attention's mean": Arm(_mean),
    "flow": Arm(partial(flow_of, rules=FlowRules(weighted_heads=False, regularised=False))),
    "+ regularised": Arm(partial(flow_of, rules=FlowRules(weighted_heads=False))),
    "+ head weights": Arm(_WHOLE),
    "+ outer point": Arm(_WHOLE, outer_point=True),
    "+ refinement": Arm(_WHOLE, outer_point=True, rules=RefineRules()),
}
WHOLE = "+ refinement"


def measure(place: Place) -> Iterator[Row]:
    """Shares of objects found, for sound and for collapsing attention, at three levels of noise."""
    code = code_of("opendet.bench.vl_sam_parts")
    for collapse in COLLAPSES:
        for noise in NOISES:
            where = f"{'collapsing' if collapse else 'sound'}, noise {noise:g}"
            settings = {"collapse": collapse, "noise": noise, "scenes": SCENES}
            work = partial(shares, noise, collapse)
            told: dict[str, list[int]] | None = place.unit(settings, code, work, what=where)
            if told is not None:
                yield from _rows(told, where, goal=GOAL if noise == NOISES[0] else None)
    yield from _memory(place)


def _memory(place: Place) -> Iterator[Row]:
    """Gathering against keeping."""
    ways: tuple[Way, ...] = ("none", "hooks", "all heads")
    settings = {"layers": LAYERS, "heads": HEADS, "tokens": TOKENS}
    taken: dict[str, float] | None = place.unit(
        settings,
        code_of("opendet.bench.vl_sam_memory"),
        lambda: {way: gigabytes(way) for way in ways},
        what="memory",
    )
    if taken is not None:
        told = f"beyond the model, of {LAYERS} layers of {HEADS} heads over {TOKENS} tokens"
        for way in ways:
            yield Row(f"attention kept: {way}, GB", taken[way], detail=told)
        less = taken["all heads"] / taken["hooks"]
        yield at_least("all heads against hooks", less, TIMES_LESS, "times the memory")


def _rows(told: dict[str, list[int]], where: str, goal: float | None) -> Iterator[Row]:
    before: list[int] | None = None
    for arm in ARMS:  # in their order: a unit that was kept has lost it
        found, detail = told[arm], ""
        share = fmean(found)
        if before is not None:
            gain, error = mean_and_error([a - b for a, b in zip(found, before, strict=True)])
            detail = f"{gain:+.2f} (error {error:.2g}) beside the one before, {len(found)} scenes"
        if arm == WHOLE and goal is not None:
            yield at_least(f"{where}: {arm}", share, goal, detail)
        else:
            yield Row(f"{where}: {arm}", share, detail=detail)
        before = found


def shares(noise: float, collapse: float, scenes: int = SCENES) -> dict[str, list[int]]:
    """Of each arm, scene by scene: 1 where it finds the planted object, else 0."""
    found: dict[str, list[int]] = {arm: [] for arm in ARMS}
    for seed in range(scenes):
        rng = np.random.default_rng(seed)
        scene = drawn_scene(rng)
        layers = list(planted_attention(scene, rng, noise, collapse))
        for name, arm in ARMS.items():
            found[name].append(int(best_iou(scene, layers, arm) >= FOUND))
    return found


def best_iou(scene: Scene, layers: list[Tensor], arm: Arm) -> float:
    """Of the planted object with the best of the masks that an arm finds; 0 without any."""
    size_wh = scene.image.size
    named = name_map(arm.merge(layers), scene.image)
    heat = heat_of(named, size_wh)
    if heat is None:
        return 0.0
    draw = region_filler(scene.image, heeds_outside=arm.outer_point)
    [hits] = found_on_maps([heat], [cell_of(named, size_wh)], size_wh, draw, arm.rules)
    masks = [mask_on_map(hit.code, size_wh) for hit in hits]
    overlaps = [(mask & scene.target).sum() / (mask | scene.target).sum() for mask in masks]
    return float(max(overlaps, default=0.0))
