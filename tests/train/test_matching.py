from itertools import permutations

import torch

from opendet.model.outputs import LayerOutput
from opendet.train.matching import focal_cost, match_one_to_one, matching_costs
from opendet.train.objective_config import ObjectiveConfig

CONFIG = ObjectiveConfig()


def _layer(images: int, queries: int, seed: int) -> LayerOutput:
    torch.manual_seed(seed)
    return LayerOutput(torch.randn(images, queries), torch.rand(images, queries, 4))


def _least_cost(costs: torch.Tensor) -> float:
    queries, targets = costs.shape
    return min(
        sum(float(costs[q, t]) for t, q in enumerate(chosen))
        for chosen in permutations(range(queries), targets)
    )


def test_equals_brute_force() -> None:
    for seed in range(10):
        layers = [_layer(3, 5, seed), _layer(3, 5, seed + 100)]
        targets = [torch.rand(count, 4) for count in (3, 0, 4)]
        valid = torch.ones(3, 5, dtype=torch.bool)
        for layer, match in zip(
            layers, match_one_to_one(layers, valid, targets, CONFIG), strict=True
        ):
            for image, boxes in enumerate(targets):
                if not len(boxes):
                    continue
                cost = matching_costs(layer, boxes[None].expand(3, -1, -1), CONFIG)[image]
                here = match.images == image
                ours = cost[match.queries[here], match.targets[here]].sum()
                assert abs(float(ours) - _least_cost(cost)) < 1e-4
                assert sorted(match.targets[here].tolist()) == list(range(len(boxes)))


def test_order_of_targets_does_not_matter() -> None:
    layer = _layer(1, 8, 0)
    boxes, order = torch.rand(5, 4), torch.randperm(5)
    valid = torch.ones(1, 8, dtype=torch.bool)
    (straight,) = match_one_to_one([layer], valid, [boxes], CONFIG)
    (shuffled,) = match_one_to_one([layer], valid, [boxes[order]], CONFIG)
    first = dict(zip(straight.queries.tolist(), straight.targets.tolist(), strict=True))
    second = zip(shuffled.queries.tolist(), order[shuffled.targets].tolist(), strict=True)
    assert first == dict(second)


def test_queries_that_are_not_there_are_never_matched() -> None:
    layer = _layer(2, 6, 0)
    valid = torch.tensor([[True] * 6, [False, True, True, False, False, False]])
    (match,) = match_one_to_one([layer], valid, [torch.rand(3, 4), torch.rand(4, 4)], CONFIG)
    assert sorted(match.queries[match.images == 1].tolist()) == [1, 2]
    assert len(match) == 5


def test_no_targets_at_all() -> None:
    valid = torch.ones(2, 6, dtype=torch.bool)
    (match,) = match_one_to_one([_layer(2, 6, 0)], valid, [torch.zeros(0, 4)] * 2, CONFIG)
    assert len(match) == 0
    assert match.queries.dtype == torch.int64


def test_surer_queries_cost_less() -> None:
    costs = focal_cost(torch.tensor([-2.0, 0.0, 2.0]))
    assert costs[0] > costs[1] > costs[2]
