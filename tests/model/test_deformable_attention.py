from collections.abc import Callable

import pytest
import torch
from transformers.models.deformable_detr.modeling_deformable_detr import (
    MultiScaleDeformableAttention,
)

from opendet.model.deformable_attention import DeformableAttention
from opendet.model.features import FeatureTokens, join_levels
from opendet.model.sampling import sample_bags, sample_grids, sample_levels

SHAPES = ((5, 7), (3, 4), (2, 2))


def _features(sizes_hw: torch.Tensor, width: int = 16) -> FeatureTokens:
    maps = [torch.randn(len(sizes_hw), width, *shape) for shape in SHAPES]
    return join_levels(maps, (8, 16, 32), sizes_hw)


@pytest.mark.parametrize("ours", [sample_grids, sample_bags])
def test_samples_equal_transformers(ours: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, sum(h * w for h, w in SHAPES), 4, 6)
    locations = torch.rand(2, 9, 4, 3, 5, 2) * 1.4 - 0.2
    weights = torch.rand(2, 9, 4, 3, 5)
    shapes = torch.tensor(SHAPES)
    theirs = MultiScaleDeformableAttention()(
        values, shapes, list(SHAPES), torch.zeros(3), locations, weights, 64
    )
    torch.testing.assert_close(ours(values, SHAPES, locations, weights), theirs, atol=1e-5, rtol=0)


def test_far_places_are_zero_and_keep_the_gradient_finite() -> None:
    values = torch.randn(1, sum(h * w for h, w in SHAPES), 2, 4, requires_grad=True)
    locations = torch.tensor([-1e6, -1.0, 2.0, 1e6]).view(1, 2, 1, 1, 1, 2).expand(1, 2, 2, 3, 5, 2)
    weights = torch.rand(1, 2, 2, 3, 5)
    sampled = sample_levels(values, SHAPES, locations, weights)
    (gradient,) = torch.autograd.grad(sampled.sum(), values)
    assert not sampled.any()
    assert not gradient.any()
    with torch.no_grad():
        assert not sample_levels(values, SHAPES, locations, weights).any()


@pytest.mark.parametrize("reference_width", [2, 4])
def test_padding_is_never_read(reference_width: int) -> None:
    torch.manual_seed(0)
    sizes_hw = torch.tensor([[40, 56], [24, 30]])
    features = _features(sizes_hw)
    attention = DeformableAttention(16, heads=4, levels=3, points=2)
    queries, references = torch.randn(2, 6, 16), torch.rand(2, 6, reference_width)
    spoilt = features.tokens.masked_fill(~features.valid[..., None], 1e3)
    before = attention(queries, references, features)
    after = attention(queries, references, features.with_tokens(spoilt))
    assert torch.equal(before, after)
    assert not features.valid[1].all()


def test_bf16_queries_keep_fp32_coordinates() -> None:
    torch.manual_seed(0)
    features = _features(torch.tensor([[40, 56]]))
    attention = DeformableAttention(16, heads=4, levels=3, points=2)
    queries, references = torch.randn(1, 6, 16), torch.rand(1, 6, 4)
    exact = attention(queries, references, features)
    with torch.autocast("cpu", torch.bfloat16):
        half = attention(queries, references, features)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()
