import math

import pytest
import torch
from torch.nn import functional

from opendet.model.aligner import LARGEST_SCALE, Aligner


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 5, 8), functional.normalize(torch.randn(2, 3, 12), dim=-1)


def _aligner(direction: str, scale: str = "learned") -> Aligner:
    torch.manual_seed(1)
    return Aligner(8, 12, direction=direction, scale=scale)  # type: ignore[arg-type]


def test_the_paper_s_similarity_to_the_letter() -> None:
    queries, texts = _inputs()
    aligner = _aligner("bidirectional", "none")
    assert aligner.to_vision is not None
    there = aligner.to_language.weight  # (12, 8), M_VL transposed
    back = aligner.to_vision.weight  # (8, 12)
    logits = aligner(queries, texts)
    for b, q, m in ((0, 0, 0), (1, 4, 2)):
        first = functional.cosine_similarity(there @ queries[b, q], texts[b, m], dim=0)
        second = functional.cosine_similarity(queries[b, q], back @ texts[b, m], dim=0)
        torch.testing.assert_close(logits[b, q, m], first + second)
    assert logits.abs().max() <= 2


def test_no_bias_and_one_matrix_in_one_direction() -> None:
    names = {name for name, _ in _aligner("vision_to_language").named_parameters()}
    assert names == {"log_scale", "bias", "to_language.weight"}


@pytest.mark.parametrize("direction", ["vision_to_language", "bidirectional"])
def test_logits_begin_at_the_prior_and_end_at_the_scale(direction: str) -> None:
    queries, texts = _inputs()
    aligner = _aligner(direction)
    plain = _aligner(direction, "none")
    plain.load_state_dict({k: v for k, v in aligner.state_dict().items() if k.endswith("weight")})
    directions = 2 if direction == "bidirectional" else 1
    expected = 20 * plain(queries, texts) / directions - math.log(99)
    torch.testing.assert_close(aligner(queries, texts), expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        aligner.log_scale.fill_(50.0)  # type: ignore[union-attr]
    assert aligner(queries, texts).abs().max() <= LARGEST_SCALE + math.log(99) + 1e-3


def test_names_that_are_not_there_and_no_names() -> None:
    queries, texts = _inputs()
    texts[0, 1] = 0
    queries.requires_grad_()
    logits = _aligner("bidirectional")(queries, texts)
    logits.sum().backward()
    assert queries.grad is not None
    assert queries.grad.isfinite().all()
    assert _aligner("bidirectional")(queries, texts[:, :0]).shape == (2, 5, 0)


def test_a_scale_that_is_too_large_finds_back() -> None:
    queries, texts = _inputs()
    aligner = _aligner("bidirectional")
    assert aligner.log_scale is not None
    with torch.no_grad():
        aligner.log_scale.fill_(50.0)
    aligner(queries, texts).square().mean().backward()
    assert aligner.log_scale.item() == pytest.approx(math.log(LARGEST_SCALE))
    assert aligner.log_scale.grad is not None
    assert aligner.log_scale.grad.abs() > 0
