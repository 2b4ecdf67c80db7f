"""DeCo-DETR's losses against numbers worked by hand."""

import math

import pytest
import torch

from opendet.train.deco_losses import (
    class_entropy,
    mixture_divergence,
    rising_weight,
    teacher_classes,
    teacher_weights,
)


def test_the_teachers_mixture_by_hand() -> None:
    """Cosines 1 and 0 at tau = 1 / ln 3: 3 to 1; lengths say nothing."""
    crops = torch.tensor([[2.0, 0.0]])
    prototypes = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    told = teacher_weights(crops, prototypes, temperature=1 / math.log(3))
    torch.testing.assert_close(told, torch.tensor([[0.75, 0.25]]))
    classes = teacher_classes(crops, prototypes, factor=math.log(4))
    torch.testing.assert_close(classes, torch.tensor([[0.8, 0.2]]))


def test_divergence_by_hand() -> None:
    """KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 ln 3/2 - 1/4 ln 2 = 0.130812; a zero counts nothing."""
    half = torch.tensor([[0.5, 0.5]]).log()
    loss = mixture_divergence(half, torch.tensor([[0.75, 0.25]]))
    assert float(loss) == pytest.approx(0.130812, abs=1e-6)
    sure = mixture_divergence(half, torch.tensor([[1.0, 0.0]]))
    assert float(sure) == pytest.approx(math.log(2))
    two = torch.cat((half, half))
    taught = torch.tensor([[0.75, 0.25], [1.0, 0.0]])
    assert float(mixture_divergence(two, taught)) == pytest.approx(0.130812 + math.log(2))


def test_divergence_is_zero_at_equality_and_never_negative() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(20, 9).log_softmax(1), torch.randn(20, 9).softmax(1)
    assert float(mixture_divergence(teacher.log(), teacher)) == pytest.approx(0, abs=1e-5)
    assert float(mixture_divergence(student, teacher)) > 0


def test_class_entropy_by_hand() -> None:
    """t = (1/4, 3/4) against (1/2, 1/2): -ln(1/4) / 2 - ln(3/4) / 2 = 0.836988."""
    logits = torch.tensor([[0.0, math.log(3)]])
    loss = class_entropy(logits, torch.tensor([[0.5, 0.5]]))
    assert float(loss) == pytest.approx(0.836988, abs=1e-6)


def test_the_schedule_by_hand() -> None:
    """0 at the start, half in the middle, (1 - cos(pi / 4)) / 2 = 0.146447 at a quarter."""
    assert rising_weight(0, 400) == 0
    assert rising_weight(100, 400) == pytest.approx(0.146447, abs=1e-6)
    assert rising_weight(200, 400) == pytest.approx(0.5)
    assert rising_weight(399, 400) == pytest.approx(1, abs=1e-4)
    assert rising_weight(900, 400) == 1
    told = [rising_weight(step, 50) for step in range(50)]
    assert told == sorted(told)


def test_without_a_query_they_are_zero_and_connected() -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = mixture_divergence(logits.log_softmax(1), torch.zeros(0, 3))
    loss = loss + class_entropy(logits, torch.zeros(0, 3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert logits.grad is not None


def test_the_teachers_are_as_exact_in_mixed_precision() -> None:
    """In bfloat16 a cosine of 0.3 is wrong by 0.001, and a class by a tenth."""
    torch.manual_seed(0)
    crops, others = torch.randn(9, 64), torch.randn(1, 64) + 0.2 * torch.randn(7, 64)
    exact = teacher_classes(crops, others, factor=100.0)
    mixture = teacher_weights(crops, others, temperature=0.07)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher_classes(crops, others, factor=100.0), exact)
        assert torch.equal(teacher_weights(crops, others, temperature=0.07), mixture)
