import math

import pytest
import torch
from torch import Tensor

from opendet.train.losses import (
    alignment_loss,
    box_losses,
    contrast_loss,
    distillation_loss,
    focal_loss,
    joint_target,
    overlap_loss,
    quality_loss,
    same_name_targets,
)


def test_focal_by_hand() -> None:
    # p = 0.5: positive .25 * .5^2 * ln 2, negative .75 * .5^2 * ln 2
    loss = focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(0.25 * math.log(2))


def test_quality_by_hand() -> None:
    # t = .8 at p = .5: ln 2; t = 0 at p = .5: .25 ln 2
    loss = quality_loss(torch.zeros(2), torch.tensor([0.8, 0.0]))
    assert loss.item() == pytest.approx(1.25 * math.log(2))


@pytest.mark.parametrize("quality", [0.2, 0.7])
def test_quality_is_least_at_its_target(quality: float) -> None:
    logits = torch.tensor([math.log(quality / (1 - quality))], requires_grad=True)
    quality_loss(logits, torch.tensor([quality])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(0, abs=1e-6)


def test_boxes_by_hand() -> None:
    # [0, .2]^2 against [.2, .4] x [0, .2]: no overlap, their hull is their union, so GIoU is 0
    l1, giou, iou = box_losses(
        torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.tensor([[0.3, 0.1, 0.2, 0.2]])
    )
    assert l1.item() == pytest.approx(0.2)
    assert giou.item() == pytest.approx(1.0, abs=1e-6)
    assert iou.tolist() == pytest.approx([0.0])


def test_zero_at_equality() -> None:
    boxes = torch.rand(5, 4) * 0.3 + 0.3
    l1, giou, iou = box_losses(boxes, boxes)
    assert l1.tolist() == [0.0] * 5
    assert giou.tolist() == pytest.approx([0.0] * 5, abs=1e-5)
    assert iou.tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    vectors = torch.randn(4, 8)
    assert distillation_loss(3 * vectors, vectors).item() == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([50.0, -50.0])
    assert focal_loss(sure, torch.tensor([1.0, 0.0])).item() == pytest.approx(0, abs=1e-6)
    assert quality_loss(sure, torch.tensor([1.0, 0.0])).item() == pytest.approx(0, abs=1e-6)


def test_distillation_by_hand() -> None:
    loss = distillation_loss(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0]] * 2))
    assert loss.item() == pytest.approx(1.0)


def test_contrast_by_hand() -> None:
    own, others = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    prompts = torch.tensor([[0.6, 0.8]])
    # its own name among the others is left out: two logits, .6 and .8, at a temperature of .2
    loss = contrast_loss(prompts, own, others, temperature=0.2, same=0.99)
    assert loss.item() == pytest.approx(math.log(1 + math.exp((0.8 - 0.6) / 0.2)))
    alone = contrast_loss(prompts, own, others[:1], temperature=0.2, same=0.99)
    assert alone.item() == pytest.approx(0, abs=1e-6)


def test_empty_gives_zero_with_a_finite_gradient() -> None:
    def check(inputs: Tensor, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == 0
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all()

    logits = torch.zeros(0, requires_grad=True)
    check(logits, focal_loss(logits, torch.zeros(0)))
    check(logits, quality_loss(logits, torch.zeros(0)))
    boxes = torch.zeros(0, 4, requires_grad=True)
    check(boxes, torch.cat(box_losses(boxes, torch.zeros(0, 4))[:2]).sum())
    check(logits, overlap_loss(logits, torch.zeros(0)))
    cells = torch.zeros(2, 3, 0, requires_grad=True)
    nobody = torch.zeros(2, 3, 0, dtype=torch.bool)
    check(cells, alignment_loss(cells, torch.zeros(2, 3, 0), nobody, modulation="focal"))
    prompts = torch.zeros(0, 8, requires_grad=True)
    check(prompts, distillation_loss(prompts, torch.zeros(0, 8)))
    prompts = torch.zeros(0, 8, requires_grad=True)
    others = torch.eye(8)
    check(prompts, contrast_loss(prompts, torch.zeros(0, 8), others, temperature=0.1, same=0.9))


def test_degenerate_boxes_have_a_finite_gradient() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    l1, giou, _ = box_losses(boxes, torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    (l1 + giou).sum().backward()  # type: ignore[no-untyped-call]
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()


def test_joint_target_by_hand() -> None:
    # p = s = u = .5: .5^(.125 + .125 + .25) = .5^.5
    half = torch.tensor([0.5])
    assert joint_target(half, half, half, alpha=0.25).item() == pytest.approx(0.5**0.5)
    # spec A.7: u = s = .5 has its fixed point at p* = s^(1/7) u^(2/7) = .743
    fixed = torch.tensor([0.5 ** (3 / 7)])
    assert joint_target(fixed, half, half, alpha=0.25).item() == pytest.approx(fixed.item())


def test_joint_target_is_finite_at_zero_and_has_no_gradient() -> None:
    zero = torch.zeros(3, requires_grad=True)
    target = joint_target(zero, zero, zero, alpha=0.25)
    assert target.isfinite().all()
    assert not target.requires_grad


def test_the_printed_formula_has_a_second_minimum_and_the_completed_one_has_not() -> None:
    target, sure = torch.tensor([0.6]), torch.tensor([20.0])
    there = torch.tensor([math.log(0.6 / 0.4)])
    assert quality_loss(sure, target, "literal").item() == pytest.approx(0, abs=1e-6)
    assert quality_loss(there, target, "literal").item() == pytest.approx(0, abs=1e-6)
    assert quality_loss(there, target, "qfl").item() == pytest.approx(0, abs=1e-6)
    assert quality_loss(sure, target, "qfl").item() > 1
    assert quality_loss(sure, target).item() > quality_loss(there, target).item() + 1


@pytest.mark.parametrize("form", ["completed", "qfl", "literal"])
def test_negatives_are_the_same_in_every_form(form: str) -> None:
    loss = quality_loss(torch.zeros(1), torch.zeros(1), form)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0.25 * math.log(2))


def _texts() -> Tensor:
    """Two of the same, one near them (cosine .95), one that is another."""
    near = [0.95, (1 - 0.95**2) ** 0.5, 0.0]
    return torch.tensor([[[1.0, 0, 0], [1.0, 0, 0], near, [0, 0, 1.0]]])


def test_same_names_are_positives() -> None:
    everyone = torch.ones(1, 4, dtype=torch.bool)
    same, counted = same_name_targets(_texts(), everyone, threshold=0.99)
    assert same[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert counted.all()
    wider, _ = same_name_targets(_texts(), everyone, threshold=0.9)
    assert wider[0, 0].tolist() == [1, 1, 1, 0]


def test_same_names_are_told_apart_in_float32_under_autocast() -> None:
    """bf16 has no number between .9883 and .9922: in it .9902 would be below .99."""
    texts = torch.tensor([[[1.0, 0.0], [0.9902, (1 - 0.9902**2) ** 0.5]]])
    with torch.autocast("cpu", torch.bfloat16):
        same, _ = same_name_targets(texts, torch.ones(1, 2, dtype=torch.bool), threshold=0.99)
    assert same.all()


def test_names_in_between_are_ignored() -> None:
    everyone = torch.ones(1, 4, dtype=torch.bool)
    same, counted = same_name_targets(_texts(), everyone, threshold=0.99, ignore=0.9)
    assert counted[0].tolist() == [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]]
    assert same[0, 2].tolist() == [0, 0, 1, 0]


def test_objects_without_a_vector_are_nobodys() -> None:
    texted = torch.tensor([[True, False, True, True]])
    same, counted = same_name_targets(_texts(), texted, threshold=0.99)
    assert same[0, 0].tolist() == [1, 0, 0, 0]
    assert not counted[0, 1].any()
    assert not counted[0, :, 1].any()


def test_one_hot_is_a_threshold_that_nothing_reaches() -> None:
    same, _ = same_name_targets(_texts(), torch.ones(1, 4, dtype=torch.bool), threshold=2.0)
    assert same[0].tolist() == torch.eye(4).tolist()


def test_alignment_by_hand() -> None:
    logits, targets = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    counted = torch.tensor([[[True, True]]])
    assert alignment_loss(logits, targets, counted, modulation="bce").item() == pytest.approx(
        2 * math.log(2)
    )
    assert alignment_loss(logits, targets, counted, modulation="focal").item() == pytest.approx(
        0.25 * math.log(2)
    )
    counted[0, 0, 1] = False
    assert alignment_loss(logits, targets, counted, modulation="bce").item() == pytest.approx(
        math.log(2)
    )
