"""A layer's losses and its matching by hand, on one image of a few queries and objects."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from opendet.model.denoising import NoisedBoxes
from opendet.model.outputs import DenoisingOutput, LayerOutput
from opendet.train.layer_losses import LayerLosses
from opendet.train.matching import Matches
from opendet.train.objective import Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.truths import Truths

BOXES = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.4, 0.4], [0.2, 0.8, 0.1, 0.1]]])
ALL_VALID = torch.ones(1, 3, dtype=torch.bool)


def _truths(*, searched: bool = True) -> Truths:
    """Three objects: two of one name, one without."""
    return Truths(
        keys=("image",),
        boxes_cxcywh=BOXES,
        there=ALL_VALID,
        names=(("star", "star", None),),
        texts=torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]),
        texted=torch.tensor([[True, True, False]]),
        searched=torch.tensor([searched]),
        box_weights=torch.ones(1),
        captions=(None,),
    )


def _match(*pairs: tuple[int, int, int]) -> Matches:
    """Of query, object, rank."""
    queries, targets, ranks = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 3).unbind(1)
    return Matches(torch.zeros_like(queries), queries, targets, ranks)


def _layer(logit: float, boxes: Tensor = BOXES) -> LayerOutput:
    return LayerOutput(torch.full(boxes.shape[:2], logit), boxes, torch.zeros(*boxes.shape[:2], 8))


def _losses(*, searched: bool = True, **knobs: object) -> LayerLosses:
    return LayerLosses(_truths(searched=searched), ObjectiveConfig.model_validate(knobs))


def _softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_of_one_object_s_queries_the_second_best_is_to_score_less() -> None:
    """IoU 1 for both, so that their targets are 1 and exp(-1 / 1.5)."""
    twice = _layer(2.0, BOXES[:, [0, 0, 1]])
    match = _match((0, 0, 0), (1, 0, 1))
    probability = 1 / (1 + math.exp(-2.0))
    background = probability**2 * _softplus(2.0)
    for decay, second in ((1.5, math.exp(-1 / 1.5)), (0.0, 1.0)):
        losses = _losses(object_loss="quality", many_decay=decay)
        cost = losses.of_decoder(twice, ALL_VALID, match, None)["object"]
        positives = _softplus(-2.0) + second * _softplus(-2.0) + (1 - second) * _softplus(2.0)
        torch.testing.assert_close(cost.total, torch.tensor(positives + background))
        assert cost.over == 2


def test_alignment_counts_who_has_a_vector() -> None:
    """At logit 0 each cell costs ln 2. Query 0 has its object's name in two cells, query 1 an
    object that nothing can be said of, query 2 is none of the two that have a vector."""
    match = _match((0, 0, 0), (1, 2, 0))
    for over, count in (("cells", 2), ("queries", 1)):
        losses = _losses(align_modulation="bce", align_over=over)
        cost = losses.of_decoder(_layer(0.0), ALL_VALID, match, torch.zeros(1, 3, 3))["align"]
        torch.testing.assert_close(cost.total, torch.tensor(4 * math.log(2)))
        assert float(cost.over) == count


def test_noised_boxes_by_hand() -> None:
    """One noised little, one too much, one that is none."""
    noised = NoisedBoxes(
        boxes_cxcywh=BOXES,
        targets=torch.tensor([[1, 1, 0]]),
        positive=torch.tensor([[True, False, True]]),
        groups=torch.tensor([[0, 0, -1]]),
    )
    layer = _layer(0.0, BOXES[:, [1, 2, 2]])
    costs = _losses().of_denoising(DenoisingOutput(noised, (layer,)), layer)
    torch.testing.assert_close(costs["object"].total, torch.tensor(0.25 * math.log(2)))
    assert costs["object"].over == 1
    assert costs["l1"].total == 0
    assert float(costs["l1"].over) == 1


def test_an_image_that_nobody_searched_has_no_background() -> None:
    losses = _losses(searched=False)
    nobody = _match()
    costs = losses.of_decoder(_layer(2.0), ALL_VALID, nobody, torch.zeros(1, 3, 3))
    assert costs["object"].total == 0
    assert costs["align"].total == 0
    assert losses.of_proposals(_layer(2.0), ALL_VALID, nobody)["object"].total == 0


def test_names_decide_between_queries_at_one_place() -> None:
    """One to many and one to one: all queries have object 0's box and one score; query 2 has its
    name. Object 2 has no name: no alignment speaks for a query there."""
    layer = _layer(0.0, BOXES[:, [0, 0, 0]])
    alignment = torch.full((1, 3, 3), -4.0)
    alignment[0, 2, 0] = 4.0
    alignment[0, :, 2] = torch.tensor([-50.0, 50.0, -50.0])
    output: Any = SimpleNamespace(proposals=layer, layers=(layer, layer), valid=ALL_VALID)
    detector: Any = SimpleNamespace(config=SimpleNamespace(cross_layers=1))
    objective = Objective(ObjectiveConfig(many_per_object=1, many_threshold=0.9), None)
    _, many, one = objective._match(detector, output, _truths(), [alignment, alignment])
    for matches in (many, one):
        owner = dict(zip(matches.targets.tolist(), matches.queries.tolist(), strict=True))
        assert owner[0] == 2
        assert len(owner) == 3
    cost = objective._cost(layer, alignment, _truths())
    assert cost[0, :, 2].unique().numel() == 1


def test_one_object_has_so_many_queries_at_most() -> None:
    layer = _layer(0.0, BOXES[:, [0, 0, 0, 0, 1, 2]])
    valid = torch.ones(1, 6, dtype=torch.bool)
    output: Any = SimpleNamespace(proposals=layer, layers=(layer,), valid=valid)
    detector: Any = SimpleNamespace(config=SimpleNamespace(cross_layers=1))
    for most in (1, 2, 6):
        objective = Objective(ObjectiveConfig(many_per_object=most), None)
        _, many = objective._match(detector, output, _truths(), [None])
        assert torch.bincount(many.targets).tolist() == [min(most, 4), 1, 1]
