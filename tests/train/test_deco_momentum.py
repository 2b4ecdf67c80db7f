"""How prototypes follow crops: each rule by hand, then what holds of all."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from opendet.train.deco_config import DecoConfig
from opendet.train.pool_momentum import moved_prototypes

ROWS = torch.eye(2, 3)  # two prototypes of width 3


def _units(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, width, generator=generator), dim=1)


def _config(**knobs: Any) -> DecoConfig:
    return DecoConfig.model_validate(knobs)


def test_the_printed_formula_by_hand() -> None:
    """One crop (0, 0, 1): cosines 0 and 0, D = (1/2, 1/2), sum D e = (0, 0, 1/2) for both rows, its
    mean 1/6, variance 1/18: LayerNorm (-1, -1, 2) / sqrt(2) but for 1e-5; gamma 1/2."""
    moved = moved_prototypes(
        ROWS, torch.tensor([[0.0, 0.0, 1.0]]), _config(update="paper", momentum=0.5)
    )
    normed = torch.tensor([-1.0, -1.0, 2.0]) / 2**0.5
    torch.testing.assert_close(moved, 0.5 * ROWS + 0.5 * normed, rtol=1e-3, atol=1e-3)


def test_the_printed_formula_weighs_by_the_assignment() -> None:
    """Crops (1, 0, 0) twice and (0, 1, 0) once at a temperature of 1: D = e / (1 + e) where they
    point, 1 / (1 + e) elsewhere; the first row absorbs (1.4621, 0.2689, 0)."""
    crops = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    config = _config(update="paper", momentum=0.0, update_temperature=1.0)
    moved = moved_prototypes(ROWS, crops, config)
    absorbed = torch.tensor([1.4621, 0.2689, 0.0])
    wanted = (absorbed - absorbed.mean()) / absorbed.var(unbiased=False).sqrt()
    torch.testing.assert_close(moved[0], wanted, rtol=1e-3, atol=1e-3)


def test_the_sparse_rule_by_hand() -> None:
    """One crop (0.6, 0, 0.8), one nearest prototype: m = (1, 0), gamma_1 = 1/2; the first row
    becomes unit((1, 0, 0) / 2 + (0.6, 0, 0.8) / 2) = (0.8, 0, 0.4) / sqrt(0.8), the other stays."""
    config = _config(momentum=0.5, update_nearest=1)
    moved = moved_prototypes(ROWS, torch.tensor([[0.6, 0.0, 0.8]]), config)
    torch.testing.assert_close(moved[0], torch.tensor([0.8, 0.0, 0.4]) / 0.8**0.5)
    assert torch.equal(moved[1], ROWS[1])


def test_a_prototype_moves_by_as_much_as_it_is_asked_to() -> None:
    """One crop between both rows: m = (1/2, 1/2), so gamma_j = 1 - (1 - 0) / 2 = 1/2: each becomes
    unit(A_j / 2 + e / 2). Three times the crop makes m = 3/2, no more than 1: e itself."""
    crop = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0]])
    config = _config(momentum=0.0, update_nearest=2)
    wanted = functional.normalize(ROWS + crop, dim=1)
    torch.testing.assert_close(moved_prototypes(ROWS, crop, config), wanted)
    often = moved_prototypes(ROWS, crop.repeat(3, 1), config)
    torch.testing.assert_close(often, crop.repeat(2, 1))


def test_sparse_is_the_softmax_over_the_nearest() -> None:
    """Of cosines 0.8, 0.6 and 0 the two nearest at a temperature of 0.2 / ln 3: 3/4 and 1/4."""
    rows = torch.eye(3)
    crop = torch.tensor([[0.8, 0.6, 0.0]])
    config = _config(momentum=0.0, update_nearest=2, update_temperature=0.2 / 1.0986123)
    moved = moved_prototypes(rows, crop, config)
    torch.testing.assert_close(
        moved[:2],
        functional.normalize(torch.tensor([[0.25 + 0.6, 0.45, 0], [0.2, 0.75 + 0.15, 0]]), dim=1),
    )
    assert torch.equal(moved[2], rows[2])


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**16), st.integers(1, 9))
def test_sparse_rows_stay_unit(crops: int, rows: int, seed: int, nearest: int) -> None:
    pool = _units(rows, 6, seed)
    moved = moved_prototypes(
        pool, _units(crops, 6, seed + 1), _config(update_nearest=nearest, momentum=0.7)
    )
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(rows))


@pytest.mark.parametrize("update", ["sparse", "paper"])
def test_the_order_of_the_crops_says_nothing(update: str) -> None:
    pool, crops = _units(20, 8, 0), _units(50, 8, 1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    config = _config(update=update, momentum=0.3)
    torch.testing.assert_close(
        moved_prototypes(pool, crops[order], config), moved_prototypes(pool, crops, config)
    )


@pytest.mark.parametrize("update", ["sparse", "paper", "off"])
def test_without_crops_or_off_nothing_changes(update: str) -> None:
    pool = _units(5, 8, 0)
    assert torch.equal(moved_prototypes(pool, torch.zeros(0, 8), _config(update=update)), pool)
    moved = moved_prototypes(pool, _units(9, 8, 1), _config(update=update))
    assert torch.equal(moved, pool) == (update == "off")


def test_the_same_crops_give_the_same_bits_and_leave_the_pool_alone() -> None:
    pool, crops = _units(20, 8, 0), _units(50, 8, 1)
    kept = pool.clone()
    first, again = (moved_prototypes(pool, crops, _config()) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(pool, kept)
