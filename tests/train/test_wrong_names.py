"""Names that an image does not show: which they are, and what it costs to say them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world
import torch
from torch import Tensor
from torch.nn import functional

from opendet.data.batch import Batch, Target
from opendet.model.outputs import LayerOutput
from opendet.record import NameJudgement, Provenance
from opendet.shard_set import ShardSet
from opendet.train.layer_losses import LayerLosses
from opendet.train.matching import Matches
from opendet.train.naming_losses import _others
from opendet.train.objective import Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors, names_of
from opendet.train.training_step import TrainingStep
from opendet.train.truths import Truths, read_truths
from opendet.train.wrong_names import with_wrong_names
from tests.model.worlds import NAMES as TAUGHT
from tests.model.worlds import TINY_DETECTOR, build_detector

DRAWS = StepDraws(0, 3)
NAMES = ("star", "ring", "disc", "cube", "cone", "stars")
VECTORS = torch.cat((torch.eye(5), functional.normalize(torch.tensor([[1.0, 0.1, 0, 0, 0]]))))
TEXT = TextVectors(NAMES, VECTORS)
"""`stars` is nearly a star: their cosine is 0.995."""
BOXES = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.4, 0.4]])


def batch() -> Batch:
    """`a` shows a star (or a cone) and a ring of several, and no disc; nothing is said of `b`."""
    targets = (
        Target(
            BOXES, (("star", "cone"), ("ring",)),
            absent=("disc", "cone", "stars", "unheard-of", "disc"), partial=("ring",),
        ),
        Target(BOXES[:1], (("disc",),)),
    )  # fmt: skip
    sizes = torch.full((2, 2), 64)
    return Batch(("a", "b"), torch.zeros(2, 3, 64, 64), sizes, sizes, targets)


def truths(**knobs: object) -> Truths:
    plain = read_truths(batch(), TEXT, DRAWS, pseudo_box_weight=0.0)
    return with_wrong_names(plain, batch(), TEXT, DRAWS, ObjectiveConfig.model_validate(knobs))


def test_off_nothing_is_asked_for() -> None:
    plain = read_truths(batch(), TEXT, DRAWS, pseudo_box_weight=0.0)
    assert plain.wrong is None
    assert plain.excused is None
    assert with_wrong_names(plain, batch(), TEXT, DRAWS, ObjectiveConfig()) is plain
    everything = ObjectiveConfig(absent_names=True, partial_names=True, pseudo_negatives=3)
    without = read_truths(batch(), None, DRAWS, pseudo_box_weight=0.0)
    assert with_wrong_names(without, batch(), None, DRAWS, everything) is without


def test_absent_names_are_those_with_a_vector_that_the_image_does_not_show() -> None:
    told = truths(absent_names=True)
    assert told.wrong is not None
    assert told.wrong.absent == (("disc", "stars"), ())
    assert torch.equal(told.wrong.texts[0], TEXT.of(("disc", "stars")))
    shows_a_star = told.names[0][0] == "star"
    assert told.wrong.there.tolist() == [[True, not shows_a_star], [False, False]]


def test_pseudo_negatives_are_drawn_for_each_image_and_none_is_shown() -> None:
    told = truths(pseudo_negatives=200)
    assert told.wrong is not None
    assert told.wrong.absent == ((), ())
    said = [
        {NAMES[int((VECTORS @ row).argmax())] for row in told.wrong.texts[image, own]}
        for image, own in enumerate(told.wrong.there)
    ]
    stars = set() if told.names[0][0] == "star" else {"stars"}
    assert said == [{"disc", "cube"} | stars, {"star", "ring", "cube", "cone", "stars"}]
    few = truths(pseudo_negatives=2)
    assert few.wrong is not None
    assert few.wrong.texts.shape[1] <= 2
    again = truths(pseudo_negatives=2)
    assert again.wrong is not None
    assert torch.equal(again.wrong.texts, few.wrong.texts)  # the same step draws the same


def test_both_at_once_and_none_twice() -> None:
    told = truths(pseudo_negatives=200, absent_names=True)
    assert told.wrong is not None
    assert told.wrong.absent[0] == ("disc", "stars")
    rows = [tuple(row) for row in told.wrong.texts[0].tolist() if any(row)]
    assert len(set(rows)) == len(rows) == 3  # disc, stars, cube


def match(*pairs: tuple[int, int]) -> Matches:
    queries, targets = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    nothing = torch.zeros_like(queries)
    return Matches(nothing, queries, targets, nothing)


def alignment_cost(told: Truths, logits: Tensor, pairs: Matches) -> float:
    layer = LayerOutput(torch.zeros(2, 3), BOXES[[0, 1, 0]].expand(2, -1, -1), torch.zeros(2, 3, 8))
    losses = LayerLosses(told, ObjectiveConfig(align_modulation="bce"))
    valid = torch.ones(2, 3, dtype=torch.bool)
    return float(losses.of_decoder(layer, valid, pairs, logits)["align"].total)


def test_alignment_counts_every_query_against_a_wrong_name() -> None:
    """At logit 0 each cell costs ln 2: three queries for each column of a name that counts."""
    pairs = match((0, 0), (1, 1))
    plain = truths()
    columns = int(plain.texted.sum())
    cost = alignment_cost(plain, torch.zeros(2, 3, 2), pairs)
    assert cost == pytest.approx(3 * columns * math.log(2))
    told = truths(absent_names=True)
    assert told.wrong is not None
    extra = int(told.wrong.there.sum())
    assert extra >= 1
    more = alignment_cost(told, torch.zeros(2, 3, 4), pairs)
    assert more == pytest.approx(3 * (columns + extra) * math.log(2), rel=1e-5)
    sure = torch.zeros(2, 3, 4)
    sure[..., 2:] = -30  # certain that they are not there
    assert alignment_cost(told, sure, pairs) == pytest.approx(cost, rel=1e-5)


def test_a_free_query_may_show_a_partial_name_and_a_taken_one_may_not() -> None:
    """Of image `a`'s column `ring` queries 0 and 1 count, which have objects, and query 2 not."""
    told = truths(partial_names=True)
    assert told.excused is not None
    assert told.excused.tolist() == [[False, True], [False, False]]
    cost = alignment_cost(told, torch.zeros(2, 3, 2), match((0, 0), (1, 1)))
    all_cells = 3 * int(told.texted.sum())
    assert cost == pytest.approx((all_cells - 1) * math.log(2))
    nobody = alignment_cost(told, torch.zeros(2, 3, 2), match())
    assert nobody == pytest.approx((all_cells - 3) * math.log(2))


def test_an_absent_name_is_contrasted_with_whoever_draws_few() -> None:
    told = truths(absent_names=True)
    everything, counted = _others(TEXT, told, DRAWS, most=6)
    assert everything.tolist() == list(range(6))
    assert counted.all()
    rows, counted = _others(TEXT, told, DRAWS, most=2)
    drawn = _others(TEXT, truths(), DRAWS, most=2)[0].tolist()
    assert rows[:2].tolist() == drawn
    further = [NAMES[row] for row in rows[2:].tolist()]
    assert further == [name for name in ("disc", "stars") if NAMES.index(name) not in drawn]
    assert counted[:, :2].all()
    assert counted[0].all()
    assert not counted[1, 2:].any()


def test_where_nobody_knows_of_any_there_is_no_column() -> None:
    quiet = replace(batch(), targets=tuple(replace(t, absent=()) for t in batch().targets))
    plain = read_truths(quiet, TEXT, DRAWS, pseudo_box_weight=0.0)
    told = with_wrong_names(plain, quiet, TEXT, DRAWS, ObjectiveConfig(absent_names=True))
    assert told.wrong is not None
    assert told.wrong.texts.shape == (2, 0, 5)
    pairs = match((0, 0), (1, 1))
    cost = alignment_cost(told, torch.zeros(2, 3, 2), pairs)
    assert cost == alignment_cost(plain, torch.zeros(2, 3, 2), pairs)


def test_a_step_learns_from_wrong_names_and_every_loss_is_finite() -> None:
    targets = (Target(BOXES, ((TAUGHT[0],), ()), absent=(TAUGHT[2],), partial=(TAUGHT[0],)),)
    sizes = torch.full((1, 2), 64)
    torch.manual_seed(5)
    one = Batch(("a",), torch.rand(1, 3, 64, 64), sizes, sizes, targets)
    torch.manual_seed(6)
    text = TextVectors(TAUGHT, functional.normalize(torch.randn(len(TAUGHT), 32), dim=-1))
    totals = {}
    for title, knobs in {
        "off": {"contrast_weight": 0.5},
        "on": {"contrast_weight": 0.5, "absent_names": True, "pseudo_negatives": 4},
        "empty": {"absent_names": True, "partial_names": True},
    }.items():
        told = one
        if title == "empty":
            told = replace(one, targets=(Target(torch.zeros(0, 4), (), absent=(TAUGHT[2],)),))
        detector = build_detector(TINY_DETECTOR).train()
        objective = Objective(ObjectiveConfig.model_validate(knobs), text)
        report = TrainingStep(detector, objective)(told, DRAWS)
        report.total.backward()
        gradients = [p.grad for p in detector.aligners.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
        totals[title] = float(report.parts["align"])
    assert totals["on"] > totals["off"] > 0
    assert totals["empty"] > 0  # an image without objects still says what it does not show


def test_absent_names_are_taught_where_they_are_asked_for(tmp_path: Path) -> None:
    told = world.samples(3)
    judged = (NameJudgement("owl", Provenance("lvis")),)
    told[1] = replace(told[1], record=replace(told[1].record, absent=judged))
    world.publish(tmp_path / "out", {"a-000000": told})
    shards = ShardSet.open(tmp_path / "out")
    assert names_of(shards) == ["thing"]
    assert names_of(shards, absent=True) == ["owl", "thing"]
