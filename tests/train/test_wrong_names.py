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
from opendet.data.collate import collate
from opendet.data.dataset import training_example
from opendet.data.mosaic import mosaic
from opendet.data.transforms import Example
from opendet.model.outputs import LayerOutput
from opendet.record import NameJudgement, Provenance, Record, Region
from opendet.shard_set import ShardSet
from opendet.train import text_vectors
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


MANY = TextVectors(tuple(f"thing {number}" for number in range(40)), torch.eye(40))


def drawn_of(batch: Batch, text: TextVectors, **knobs: object) -> dict[str, set[str]]:
    """Key -> the wrong names of its image; those with one unit vector each."""
    plain = read_truths(batch, text, DRAWS, pseudo_box_weight=0.0)
    config = ObjectiveConfig.model_validate(knobs)
    told = with_wrong_names(plain, batch, text, DRAWS, config).wrong
    assert told is not None
    return {
        key: {text.names[int((text.matrix @ row).argmax())] for row in texts[there]}
        for key, texts, there in zip(batch.keys, told.texts, told.there, strict=True)
    }


def batch_of(*targets: Target, first: int = 0) -> Batch:
    keys = tuple(f"image {first + number}" for number in range(len(targets)))
    sizes = torch.full((len(targets), 2), 64)
    return Batch(keys, torch.zeros(len(targets), 3, 64, 64), sizes, sizes, targets)


def test_of_what_more_is_there_is_not_wrong_though_no_box_has_its_name() -> None:
    target = Target(BOXES[:1], (("star",),), absent=("cube", "disc"), partial=("cube", "ring"))
    told = drawn_of(batch_of(target), TEXT, absent_names=True, pseudo_negatives=200)
    assert told == {"image 0": {"disc", "cone"}}


def test_each_image_has_draws_of_its_own_wherever_it_comes() -> None:
    target = Target(BOXES[:1], (("thing 0",),))
    told = drawn_of(batch_of(target, target, target), MANY, pseudo_negatives=9)
    first, second, third = told.values()
    assert first != second != third != first
    later = batch_of(target, target, first=1)
    assert drawn_of(later, MANY, pseudo_negatives=9) == {"image 1": second, "image 2": third}


def regions_of(*regions: Region, absent: tuple[str, ...] = ()) -> Example:
    sample = world.painted("a-0", regions=regions)
    judged = tuple(NameJudgement(name, Provenance("lvis")) for name in absent)
    return training_example(replace(sample, record=replace(sample.record, absent=judged)))


@pytest.mark.parametrize("refusal", ["crowd", "too small", "overlaps", "disagrees", "not judged"])
def test_what_the_filter_refused_may_be_there_and_is_not_wrong(refusal: str) -> None:
    kept = world.region((3, 3, 23, 17), "star")
    other = replace(world.region((30, 5, 50, 40), "cube", refusal), crowd=refusal == "crowd")
    everything = {"absent_names": True, "pseudo_negatives": 200}
    for unsure in (other, replace(other, crowd=True, refusal="")):
        one = regions_of(kept, unsure, absent=("cube", "disc"))
        assert one.partial == ("cube",)
        told = drawn_of(collate([one], multiple=32), TEXT, **everything)
        assert told == {"a-0": {"ring", "disc", "cone"}}
        plain = regions_of(kept, absent=("cube", "disc"))
        assert plain.partial == ()
        whole = mosaic([plain, one, plain, plain], first=plain, least_side=0)
        assert whole.absent == ("disc",)
        assert drawn_of(collate([whole], multiple=32), TEXT, **everything) == told


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


def counted_cells(batch: Batch, pairs: Matches, valid: Tensor) -> Tensor:
    """(B, Q, K) which cells of the absent names cost anything."""
    config = ObjectiveConfig(absent_names=True, align_modulation="bce")
    plain = read_truths(batch, TEXT, DRAWS, pseudo_box_weight=0.0)
    told = with_wrong_names(plain, batch, TEXT, DRAWS, config)
    assert told.wrong is not None
    objects, wrong = told.there.shape[1], told.wrong.texts.shape[1]
    logits = torch.zeros(*valid.shape, objects + wrong, requires_grad=True)
    boxes = BOXES[[0, 1, 0]].expand(len(valid), -1, -1)
    layer = LayerOutput(torch.zeros(valid.shape), boxes, torch.zeros(*valid.shape, 8))
    cost = LayerLosses(told, config).of_decoder(layer, valid, pairs, logits)["align"].total
    (gradient,) = torch.autograd.grad(cost, logits)
    return gradient[..., objects:] != 0


def test_padding_and_an_image_that_nobody_searched_learn_of_no_wrong_name() -> None:
    told = Target(BOXES[:1], (("star",),), absent=("disc", "cube"))
    batch = batch_of(told, replace(told, kind="image", boxes_cxcywh=BOXES[:0], names=()))
    valid = torch.tensor([[True, True, False], [True, True, True]])
    cells = counted_cells(batch, match((0, 0)), valid)
    assert cells[0].tolist() == [[True, True], [True, True], [False, False]]
    assert not cells[1].any()


@pytest.mark.parametrize("nameless", [(), ("unheard-of",)])
def test_a_query_of_an_object_without_a_name_may_show_any(nameless: tuple[str, ...]) -> None:
    batch = batch_of(Target(BOXES, (("star",), nameless), absent=("disc", "cube")))
    cells = counted_cells(batch, match((0, 0), (1, 1)), torch.ones(1, 3, dtype=torch.bool))
    assert cells[0].all(1).tolist() == [True, False, True]
    assert not cells[0, 1].any()


def test_four_images_at_once_cost_what_two_and_two_do() -> None:
    def shows(number: int, count: int) -> Target:
        named = tuple((MANY.names[7 * number + other],) for other in range(count))
        absent = (MANY.names[3 * number + 25],)
        partial = (MANY.names[7 * number],) if count else ()
        return Target(torch.rand(count, 4) * 0.3 + 0.2, named, absent=absent, partial=partial)

    torch.manual_seed(0)
    targets = [shows(0, 2), shows(1, 0), shows(2, 3), replace(shows(3, 1), kind="image")]
    queries, boxes = torch.randn(4, 5, 40), torch.rand(4, 5, 4) * 0.3 + 0.2
    config = ObjectiveConfig(pseudo_negatives=9, absent_names=True, partial_names=True)

    def cost(first: int, last: int) -> tuple[float, float]:
        own = batch_of(*targets[first:last], first=first)
        plain = read_truths(own, MANY, DRAWS, pseudo_box_weight=0.0)
        told = with_wrong_names(plain, own, MANY, DRAWS, config)
        assert told.texts is not None
        assert told.wrong is not None
        texts = torch.cat((told.texts, told.wrong.texts), 1)
        said = queries[first:last]
        images, pairs = told.there.nonzero().unbind(1)
        matches = Matches(images, pairs, pairs, torch.zeros_like(pairs))
        layer = LayerOutput(torch.zeros(said.shape[:2]), boxes[first:last], said)
        valid = torch.ones(said.shape[:2], dtype=torch.bool)
        align = LayerLosses(told, config).of_decoder(layer, valid, matches, said @ texts.mT)
        return float(align["align"].total), float(align["align"].over)

    halves = torch.tensor([cost(0, 2), cost(2, 4)])
    torch.testing.assert_close(torch.tensor(cost(0, 4)), halves.sum(0))


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


def test_names_are_read_from_the_records_once_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(tmp_path / "out", {"a-000000": world.samples(3)})
    shards, kept = ShardSet.open(tmp_path / "out"), tmp_path / "names.json"
    read: list[int] = []
    record = ShardSet.record

    def counting(self: ShardSet, index: int) -> Record:
        read.append(index)
        return record(self, index)

    monkeypatch.setattr(ShardSet, "record", counting)
    for version, absent, reads in (
        ("one train", False, 3),
        ("one train", False, 0),
        ("one val", False, 3),
        ("one val", True, 3),
    ):
        read.clear()
        names = text_vectors.names_once(shards, kept, absent=absent, version=version)
        assert (names, len(read)) == (["thing"], reads)
    kept.write_text(kept.read_text()[:-9])
    assert text_vectors.names_once(shards, kept, absent=True, version="one val") == ["thing"]
    assert len(read) == 6, "a damaged file is no names"
