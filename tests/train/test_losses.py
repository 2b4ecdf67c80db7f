import math

import pytest
import torch
from torch import Tensor

from opendet.train.losses import box_losses, distillation_loss, focal_loss, quality_loss


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
    assert l1.item() == 0
    assert giou.item() == pytest.approx(0, abs=1e-5)
    assert iou.tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    vectors = torch.randn(4, 8)
    assert distillation_loss(3 * vectors, vectors).item() == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([50.0, -50.0])
    assert focal_loss(sure, torch.tensor([1.0, 0.0])).item() == pytest.approx(0, abs=1e-6)
    assert quality_loss(sure, torch.tensor([1.0, 0.0])).item() == pytest.approx(0, abs=1e-6)


def test_distillation_by_hand() -> None:
    loss = distillation_loss(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0]] * 2))
    assert loss.item() == pytest.approx(1.0)


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
    check(boxes, sum(box_losses(boxes, torch.zeros(0, 4))[:2], torch.zeros(())))
    prompts = torch.zeros(0, 8, requires_grad=True)
    check(prompts, distillation_loss(prompts, torch.zeros(0, 8)))


def test_degenerate_boxes_have_a_finite_gradient() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    l1, giou, _ = box_losses(boxes, torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    (l1 + giou).backward()  # type: ignore[no-untyped-call]
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
