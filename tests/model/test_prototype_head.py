"""Queries as mixtures of prototypes, and which classes they show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from opendet.curate.pool import Member, write_pool
from opendet.curate.prototypes import PrototypesConfig, build_pool
from opendet.model.config import PrototypeHeadConfig
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_set import PrototypeSet, empty_prototypes, read_prototypes
from opendet.model.semantic_predictor import SemanticPredictor

WIDTH = 4
KNOWN = PrototypeSet(("cat", "dog", "cat"), ("coarse", "fine", "fine"), torch.eye(3, WIDTH))


def _head(**knobs: object) -> PrototypeHead:
    torch.manual_seed(0)
    config = PrototypeHeadConfig.model_validate({"predictor_heads": 2, "hidden": 6, **knobs})
    return PrototypeHead(config, 5, KNOWN)


def _passes_on(head: PrototypeHead) -> None:
    """The projection gives back the first four numbers of a query."""
    head.project = torch.nn.Sequential(torch.nn.Linear(5, WIDTH, bias=False))
    torch.nn.init.eye_(head.project[0].weight)


def test_aggregation_by_hand() -> None:
    """cos 1 with the first row, 0 with the others, alpha 1 / ln 2: weights 2 : 1 : 1."""
    head = _head(residual=False, temperature=1 / float(np.log(2)))
    _passes_on(head)
    semantics = head(torch.tensor([[3.0, 0, 0, 0, 7]]))
    torch.testing.assert_close(semantics.weights, torch.tensor([[0.5, 0.25, 0.25]]))
    torch.testing.assert_close(semantics.log_weights.exp(), semantics.weights)
    torch.testing.assert_close(semantics.enriched, torch.tensor([[0.5, 0.25, 0.25, 0.0]]))


def test_the_residual_is_added_to_the_weighted_prototypes() -> None:
    head = _head()
    _passes_on(head)
    assert head.residual is not None
    query = torch.tensor([[3.0, 4.0, 0, 0, 1]])
    semantics = head(query)
    wanted = semantics.weights @ head.prototypes + head.residual(query[:, :4] / 5)
    torch.testing.assert_close(semantics.enriched, wanted)


def test_the_length_of_a_prototype_says_nothing_of_its_weight() -> None:
    head = _head()
    queries = torch.randn(6, 5)
    before = head(queries).weights
    head.prototypes.mul_(torch.tensor([[16.0], [0.1], [3.0]]))
    torch.testing.assert_close(head(queries).weights, before)


def test_no_query_is_no_error_and_still_leads_to_every_weight() -> None:
    head = _head()
    semantics = head(torch.zeros(0, 5))
    logits = head.class_logits(semantics, functional.normalize(torch.randn(7, WIDTH), dim=1))
    assert logits.shape == (0, 7)
    (logits.sum() + semantics.log_weights.sum()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("gradient", ["isolated", "shared"])
def test_isolated_no_gradient_goes_back_to_the_queries(gradient: str) -> None:
    head = _head(gradient=gradient)
    queries = torch.randn(3, 5, requires_grad=True)
    semantics = head(queries * 1.0)
    head.class_logits(semantics, torch.eye(WIDTH)).logsumexp(1).sum().backward()
    assert (queries.grad is None) == (gradient == "isolated")
    assert head.clipped_apart == (gradient == "isolated")


def test_levels_choose_rows_and_their_names() -> None:
    assert _head().names == ("cat", "dog", "cat")
    fine = _head(levels="fine")
    assert fine.names == ("dog", "cat")
    assert torch.equal(fine.prototypes, torch.eye(3, WIDTH)[1:])
    coarse = PrototypeSet(("cat",), ("coarse",), torch.eye(1, WIDTH))
    with pytest.raises(ValueError, match=r"levels: the pool has no fine prototypes") as error:
        coarse.of_levels("fine")
    assert "\n" not in str(error.value)


def test_the_prototypes_are_the_heads_own_copy() -> None:
    known = PrototypeSet(("cat",), ("coarse",), torch.ones(1, WIDTH))
    head = PrototypeHead(PrototypeHeadConfig(predictor_heads=1), 5, known)
    head.prototypes.zero_()
    assert torch.equal(known.vectors, torch.ones(1, WIDTH))


def test_classes_are_a_set() -> None:
    """In another order the same logits; a predictor fresh from the start is a plain cosine."""
    torch.manual_seed(1)
    predictor = SemanticPredictor(8, layers=2, heads=2)
    classes = functional.normalize(torch.randn(5, 8), dim=1)
    queries = torch.randn(3, 8)
    cosines = functional.normalize(queries, dim=1) @ classes.T
    torch.testing.assert_close(predictor(queries, classes), cosines / 0.01)
    for layer in predictor.layers:
        torch.nn.init.normal_(layer.attention.out_proj.weight)
    order = torch.tensor([3, 1, 4, 0, 2])
    told = predictor(queries, classes)
    assert not torch.allclose(told, cosines / 0.01)
    torch.testing.assert_close(
        predictor(queries, classes[order]), told[:, order], rtol=1e-4, atol=1e-3
    )
    torch.testing.assert_close(predictor(queries[1:2], classes), told[1:2], rtol=1e-4, atol=1e-3)


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"predictor_heads: 3 heads do not divide .* width, 4"):
        _head(predictor_heads=3)


def test_in_bf16_it_reckons_in_float32() -> None:
    head = _head()
    with torch.autocast("cpu", torch.bfloat16):
        semantics = head(torch.randn(3, 5).bfloat16())
        logits = head.class_logits(semantics, torch.eye(WIDTH))
    assert semantics.enriched.dtype == logits.dtype == torch.float32


def test_a_pools_rows_coarse_ones_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 8), 6, axis=0) + 0.01 * rng.standard_normal((18, 8))
    members = [Member(f"image-{row}", 0, f"name {row // 6}") for row in range(18)]
    pool = build_pool(centres.astype(np.float32), members, PrototypesConfig(coarse=3))
    write_pool(tmp_path, pool)
    known = read_prototypes(tmp_path)
    assert known.levels == ("coarse",) * 3 + ("fine",) * 3
    assert sorted(known.names[:3]) == sorted(known.names[3:]) == ["name 0", "name 1", "name 2"]
    assert torch.equal(known.vectors[3:], torch.from_numpy(pool.fine))
    known.write_names(tmp_path / "prototypes.json")
    empty = empty_prototypes(tmp_path / "prototypes.json")
    assert (empty.names, empty.levels) == (known.names, known.levels)
    assert torch.equal(empty.vectors, torch.zeros(6, 8))


@pytest.mark.parametrize("wrong", [0.0, float("nan"), float("inf")])
def test_a_pool_with_a_vector_without_a_direction_is_one_line(tmp_path: Path, wrong: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((6, 8)).astype(np.float32)
    members = [Member(f"image-{row}", 0, "name") for row in range(6)]
    pool = build_pool(vectors, members, PrototypesConfig(coarse=2))
    pool.coarse[1] = wrong
    write_pool(tmp_path, pool)
    with pytest.raises(ValueError, match="1 of 2 prototypes are zero or not finite") as error:
        read_prototypes(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"width": 4, "names": ["cat"], "levels": []}',
        '{"width": 0, "names": ["cat"], "levels": ["fine"]}',
        '{"width": 4, "names": ["cat"], "levels": ["finer"]}',
    ],
)
def test_a_damaged_list_of_prototypes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prototypes.json"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"prototypes\.json is damaged .*: take the model anew"
    ) as error:
        empty_prototypes(path)
    assert "\n" not in str(error.value)
