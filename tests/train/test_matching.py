from itertools import permutations

import torch
from torch import Tensor

from opendet.train.matching import focal_cost, match_one_to_one, matching_costs
from opendet.train.objective_config import ObjectiveConfig

CONFIG = ObjectiveConfig()


def _costs(images: int, queries: int, targets: list[Tensor], seed: int) -> Tensor:
    torch.manual_seed(seed)
    padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    logits = torch.randn(images, queries, 1)
    return matching_costs(logits, torch.rand(images, queries, 4), padded, CONFIG)


def _least_cost(costs: Tensor) -> float:
    queries, targets = costs.shape
    return min(
        sum(float(costs[q, t]) for t, q in enumerate(chosen))
        for chosen in permutations(range(queries), targets)
    )


def test_equals_brute_force() -> None:
    valid = torch.ones(3, 5, dtype=torch.bool)
    for seed in range(10):
        targets = [torch.rand(count, 4) for count in (3, 0, 4)]
        layers = [_costs(3, 5, targets, seed), _costs(3, 5, targets, seed + 100)]
        for costs, match in zip(layers, match_one_to_one(layers, valid, [3, 0, 4]), strict=True):
            for image, boxes in enumerate(targets):
                here = match.images == image
                assert sorted(match.targets[here].tolist()) == list(range(len(boxes)))
                ours = costs[image, match.queries[here], match.targets[here]].sum()
                assert abs(float(ours) - _least_cost(costs[image, :, : len(boxes)])) < 1e-4


def test_order_of_targets_does_not_matter() -> None:
    boxes, order = torch.rand(5, 4), torch.randperm(5)
    valid = torch.ones(1, 8, dtype=torch.bool)
    (straight,) = match_one_to_one([_costs(1, 8, [boxes], 0)], valid, [5])
    (shuffled,) = match_one_to_one([_costs(1, 8, [boxes[order]], 0)], valid, [5])
    first = dict(zip(straight.queries.tolist(), straight.targets.tolist(), strict=True))
    second = zip(shuffled.queries.tolist(), order[shuffled.targets].tolist(), strict=True)
    assert first == dict(second)


def test_queries_that_are_not_there_are_never_matched() -> None:
    costs = _costs(2, 6, [torch.rand(3, 4), torch.rand(4, 4)], 0)
    valid = torch.tensor([[True] * 6, [False, True, True, False, False, False]])
    (match,) = match_one_to_one([costs], valid, [3, 4])
    assert sorted(match.queries[match.images == 1].tolist()) == [1, 2]
    assert len(match) == 5


def test_no_targets_at_all() -> None:
    valid = torch.ones(2, 6, dtype=torch.bool)
    (match,) = match_one_to_one([_costs(2, 6, [torch.zeros(0, 4)] * 2, 0)], valid, [0, 0])
    assert len(match) == 0
    assert match.queries.dtype == torch.int64


def test_the_name_decides_between_equal_boxes() -> None:
    boxes = torch.rand(1, 2, 4)
    logits = torch.tensor([[[-3.0, 3.0], [3.0, -3.0]]])  # query 0 shows object 1
    costs = matching_costs(logits, boxes[:, :1].expand(1, 2, 4), boxes, CONFIG)
    (match,) = match_one_to_one([costs], torch.ones(1, 2, dtype=torch.bool), [2])
    assert match.targets[match.queries.argsort()].tolist() == [1, 0]


def test_surer_queries_cost_less() -> None:
    costs = focal_cost(torch.tensor([-2.0, 0.0, 2.0]))
    assert costs[0] > costs[1] > costs[2]


def test_costs_are_finite_where_predictions_are_not() -> None:
    nan = torch.full((1, 3, 4), torch.nan)
    costs = matching_costs(torch.full((1, 3, 1), torch.nan), nan, torch.rand(1, 2, 4), CONFIG)
    assert costs.isfinite().all()
