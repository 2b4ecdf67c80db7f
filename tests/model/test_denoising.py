import torch

from opendet.boxes import pairwise_iou, xyxy_from_cxcywh
from opendet.model.denoising import NoisedBoxes, attention_block, noise_boxes


def _boxes(count: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.cat((torch.rand(count, 2) * 0.2 + 0.4, torch.rand(count, 2) * 0.2 + 0.1), -1)


def _noised(*counts: int, pairs: int = 6) -> NoisedBoxes:
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(counts))]
    boxes = [_boxes(count, seed) for seed, count in enumerate(counts)]
    return noise_boxes(boxes, generators, pairs=pairs, scale=0.4)


def test_groups_fill_the_budget() -> None:
    noised = _noised(3, 1, 0)
    # 3 objects: 2 groups of 3 pairs; 1 object: 6 groups of 1 pair
    assert noised.valid.sum(1).tolist() == [12, 12, 0]
    assert noised.positive.sum(1).tolist() == [6, 6, 0]
    assert noised.groups[0].tolist() == [0] * 6 + [1] * 6
    assert noised.targets[0, :6].tolist() == [0, 1, 2, 0, 1, 2]
    assert noised.groups[2].tolist() == [-1] * 12


def test_of_too_many_objects_a_choice_is_noised() -> None:
    noised = _noised(20)
    assert noised.groups.shape == (1, 12)
    assert len(set(noised.targets[0, :6].tolist())) == 6


def test_no_pairs_and_no_images_with_objects() -> None:
    assert _noised(3, 2, pairs=0).groups.shape == (2, 0)
    assert _noised(0, 0).boxes_cxcywh.shape == (2, 0, 4)


def test_positives_stay_nearer_than_negatives() -> None:
    noised = _noised(5, pairs=100)
    targets = xyxy_from_cxcywh(_boxes(5))[noised.targets[0]]
    moved = (xyxy_from_cxcywh(noised.boxes_cxcywh[0]) - targets).abs()
    half = (targets[:, 2:] - targets[:, :2]).repeat(1, 2) / 2
    share = moved / half
    positive = noised.positive[0]
    assert (share[positive] <= 0.4 + 1e-4).all()
    # a negative's corners may swap sides when they cross, and still are no nearer than 0.4
    assert (share[~positive] >= 0.4 - 1e-4).all()
    iou = pairwise_iou(xyxy_from_cxcywh(noised.boxes_cxcywh[0]), targets)[0].diagonal()
    assert iou[positive].min() > iou[~positive].mean()


def test_boxes_stay_in_the_image() -> None:
    edge = torch.tensor([[0.05, 0.95, 0.1, 0.1]])
    noised = noise_boxes([edge], [torch.Generator().manual_seed(0)], pairs=50, scale=1.0)
    corners = xyxy_from_cxcywh(noised.boxes_cxcywh)
    assert corners.min() >= -1e-6
    assert corners.max() <= 1 + 1e-6
    assert (noised.boxes_cxcywh[..., 2:] >= 0).all()


def test_the_same_generator_gives_the_same_noise() -> None:
    assert _noised(3, 2).boxes_cxcywh.equal(_noised(3, 2).boxes_cxcywh)
    assert _noised(3).boxes_cxcywh[0].equal(_noised(3, 2).boxes_cxcywh[0])


def test_who_sees_whom() -> None:
    groups = torch.tensor([[0, 0, 1, -1]])
    blocked = attention_block(groups, 2)[0]
    noised_to_noised = [
        [False, False, True, True],
        [False, False, True, True],
        [True, True, False, True],
        [True, True, True, False],
    ]
    assert blocked[:4, :4].tolist() == noised_to_noised
    assert blocked[4:, :4].all(), "queries never see the answers"
    assert not blocked[:, 4:].any(), "everybody sees the queries"
