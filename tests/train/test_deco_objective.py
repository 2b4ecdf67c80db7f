"""DeCo-DETR's objective on a real detector: isolation both ways, what it counts, what it keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from deco_world import (
    CLASSES,
    KNOWN,
    STEPS,
    WIDTH,
    Crops,
    batch_of,
    build_deco_detector,
    deco,
    head_of,
    names_text,
    units,
)
from toy_training import HERE, ToyLoader

from opendet.data.batch import Batch, RegionRef
from opendet.model.detector import OpenDetector
from opendet.train import checkpoint
from opendet.train.clipping import clip_gradients
from opendet.train.config import TrainConfig
from opendet.train.deco_config import DecoConfig
from opendet.train.deco_losses import mixture_divergence, teacher_weights
from opendet.train.deco_objective import DecoObjective
from opendet.train.distributed import Ranks
from opendet.train.normalise import Cost
from opendet.train.objective import LossReport, Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.pool_momentum import moved_prototypes
from opendet.train.randomness import StepDraws
from opendet.train.seen import Seen
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from tests.model.worlds import NAMES


class Watcher:
    """Adds nothing, and keeps what a step came to."""

    seen: Seen

    def weights(self, step: int) -> Mapping[str, float]:
        del step
        return {}

    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        self.seen = seen
        return {}

    def before_update(self, step: int, detector: torch.nn.Module) -> None:
        del step, detector

    def finish_step(self, step: int, ranks: Ranks) -> None:
        del step, ranks


def _see(detector: OpenDetector, batch: Batch) -> tuple[LossReport, Seen]:
    """The detection loss, without the semantic one, and what it is made of."""
    watcher = Watcher()
    objective = Objective(ObjectiveConfig(), names_text(), [watcher])
    report = TrainingStep(detector.train(), objective)(batch, StepDraws(0, 3))
    return report, watcher.seen


def _without_gradient(detector: OpenDetector) -> set[str]:
    """`semantic` or `detector`, of which no parameter has a gradient."""
    sides: dict[str, list[bool]] = {"semantic": [], "detector": []}
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            side = "semantic" if name.startswith("prototypes.") else "detector"
            sides[side].append(parameter.grad is None)
    assert all(len(set(gradients)) == 1 for gradients in sides.values())
    return {side for side, gradients in sides.items() if all(gradients)}


def test_isolation_in_both_directions() -> None:
    detector = build_deco_detector()
    detection, seen = _see(detector, batch_of("known-1", "known-22"))
    semantic = sum(cost.total for cost in deco(detector).costs(seen).values())
    assert isinstance(semantic, torch.Tensor)
    semantic.backward()  # type: ignore[no-untyped-call]
    assert _without_gradient(detector) == {"detector"}
    detector.zero_grad(set_to_none=True)
    detection.total.backward()  # type: ignore[no-untyped-call]
    assert _without_gradient(detector) == {"semantic"}


def test_shared_the_semantic_loss_reaches_the_backbone() -> None:
    detector = build_deco_detector(gradient="shared")
    _, seen = _see(detector, batch_of("known-1"))
    cost = deco(detector).costs(seen)["deco_align"]
    cost.total.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in detector.backbone.parameters() if p.grad is not None]
    assert any(grad.abs().sum() > 0 for grad in grads)


def _trained(detector: OpenDetector, further: list[DecoObjective]) -> dict[str, torch.Tensor]:
    """Three steps of a trainer's loop."""
    objective = Objective(ObjectiveConfig(), names_text(), further)
    step = TrainingStep(detector.train(), objective)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-2)
    for number in range(3):
        torch.manual_seed(number)
        step(batch_of("known-1", "empty"), StepDraws(0, number)).total.backward()
        clip_gradients(detector, 0.1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        objective.finish_step(number, HERE)
    return {name: tensor.detach() for name, tensor in detector.named_parameters()}


def test_a_detector_trains_to_the_same_bits_with_and_without_the_semantic_losses() -> None:
    beside, alone = build_deco_detector(), build_deco_detector()
    learned = _trained(beside, [deco(beside, align_schedule="constant")])
    plain = _trained(alone, [])
    moved = {name for name in learned if not torch.equal(learned[name], plain[name])}
    assert moved
    assert {name.split(".")[0] for name in moved} == {"prototypes"}


def test_the_parts_and_what_they_are_means_of() -> None:
    """Of two images with two objects each one is known to CLIP."""
    detector = build_deco_detector()
    objective = deco(detector)
    _, seen = _see(detector, batch_of("known-1", "other", "unreferred-1"))
    costs = objective.costs(seen)
    assert set(costs) == set(objective.weights(0)) == {"deco_kl", "deco_align"}
    assert [cost.over for cost in costs.values()] == [2, 2]
    pairs = {
        (int(image), int(target)): int(query)
        for image, query, target in zip(
            seen.match.images, seen.match.queries, seen.match.targets, strict=True
        )
    }
    queries = seen.output.queries[0, [pairs[0, 0], pairs[0, 1]]]
    crops, _ = Crops().of([RegionRef("known-1", 0), RegionRef("known-1", 3)])
    wanted = mixture_divergence(
        head_of(detector)(queries).log_weights,
        teacher_weights(crops, KNOWN.vectors, temperature=0.07),
    )
    torch.testing.assert_close(costs["deco_kl"].total, wanted)


def test_the_teacher_looks_at_the_pool_as_it_was() -> None:
    detector = build_deco_detector()
    objective = deco(detector)
    _, seen = _see(detector, batch_of("known-1"))
    before = objective.costs(seen)["deco_kl"].total
    with torch.no_grad():
        head_of(detector).prototypes.copy_(units(6, 50))
    after = objective.costs(seen)["deco_kl"].total
    assert before != after  # the student's mixture is over the pool as it is
    queries = seen.output.queries[seen.match.images, seen.match.queries]
    refs = [seen.batch.targets[0].regions[t] for t in seen.match.targets.tolist()]
    taught = teacher_weights(Crops().of(refs)[0], KNOWN.vectors, temperature=0.07)
    wanted = mixture_divergence(head_of(detector)(queries).log_weights, taught)
    torch.testing.assert_close(after, wanted)


@pytest.mark.parametrize("keys", [("empty",), ("other", "empty"), ("unreferred-1",)])
def test_without_a_known_crop_every_weight_of_the_head_still_gets_a_gradient(
    keys: tuple[str, ...],
) -> None:
    detector = build_deco_detector()
    objective = Objective(ObjectiveConfig(), names_text(), [deco(detector)])
    report = TrainingStep(detector.train(), objective)(batch_of(*keys), StepDraws(0, 3))
    report.total.backward()  # type: ignore[no-untyped-call]
    assert report.parts["deco_kl"] == report.parts["deco_align"] == 0
    missing = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    before = head_of(detector).prototypes.clone()
    objective.finish_step(3, HERE)
    assert torch.equal(head_of(detector).prototypes, before)


def test_the_schedule_is_the_alignments_alone() -> None:
    detector = build_deco_detector()
    objective = deco(detector, kl_weight=3.0, align_weight=2.0)
    assert objective.weights(0) == {"deco_kl": 3.0, "deco_align": 0.0}
    assert objective.weights(STEPS // 2) == pytest.approx({"deco_kl": 3.0, "deco_align": 1.0})
    constant = deco(detector, align_weight=2.0, align_schedule="constant")
    assert constant.weights(0)["deco_align"] == 2


def test_the_pool_follows_the_crops_of_all_batches_of_a_step() -> None:
    detector = build_deco_detector()
    objective = deco(detector, momentum=0.5)
    for keys in (("known-1",), ("known-22", "other")):
        objective.costs(_see(detector, batch_of(*keys))[1])
    refs = [RegionRef(key, region) for key in ("known-1", "known-22") for region in (0, 3)]
    wanted = moved_prototypes(KNOWN.vectors, Crops().of(refs)[0], DecoConfig(momentum=0.5))
    objective.finish_step(0, HERE)
    torch.testing.assert_close(head_of(detector).prototypes, wanted)
    objective.finish_step(1, HERE)  # nothing is left of the step before
    torch.testing.assert_close(head_of(detector).prototypes, wanted)


@pytest.mark.parametrize(
    ("knobs", "step", "moves"),
    [
        ({}, STEPS - 2, True),
        ({}, STEPS - 1, False),
        ({"update_until": 0.0}, 0, False),
        ({"update_until": 1.0}, STEPS - 1, True),
        ({"update": "off"}, 0, False),
        ({"update": "paper"}, 0, True),
    ],
)
def test_when_the_pool_moves(knobs: dict[str, Any], step: int, moves: bool) -> None:
    detector = build_deco_detector()
    objective = deco(detector, **knobs)
    objective.costs(_see(detector, batch_of("known-1"))[1])
    objective.finish_step(step, HERE)
    assert torch.equal(head_of(detector).prototypes, KNOWN.vectors) != moves


def test_a_checkpoint_keeps_the_pool_and_the_average_leaves_it_exact(tmp_path: Path) -> None:
    config = TrainConfig(steps=STEPS, ema_decay=0.9)
    detector = build_deco_detector()
    state = TrainingState(detector, ToyLoader(), {"deco": 1}, config)
    objective = deco(detector, momentum=0.5)
    for step in range(3):
        objective.costs(_see(detector, batch_of("known-1", "known-22"))[1])
        objective.finish_step(step, HERE)
        state.ema.update(detector, step)
        state.step += 1
    pool = head_of(detector).prototypes.clone()
    assert not torch.equal(pool, KNOWN.vectors)
    assert torch.equal(state.ema.tensors["prototypes.prototypes"], pool)
    checkpoint.save(tmp_path, state.checkpoint(), keep=1)
    fresh = build_deco_detector(seed=9)
    again = TrainingState(fresh, ToyLoader(), {"deco": 1}, config)
    last = checkpoint.load_latest(tmp_path)
    assert last is not None
    again.restore(last)
    assert torch.equal(head_of(fresh).prototypes, pool)
    assert torch.equal(again.ema.tensors["prototypes.prototypes"], pool)


def test_agreement_is_the_probability_of_the_objects_class() -> None:
    detector = build_deco_detector()
    objective = deco(detector)
    queries = torch.randn(4, 32, requires_grad=True)
    told = objective.agreement(queries, [NAMES[1], None, "a name of no class", CLASSES[-1]])
    assert told.isnan().tolist() == [False, True, True, False]
    assert not told.requires_grad
    head = head_of(detector)
    likely = head.class_logits(head(queries), units(len(CLASSES), 2)).softmax(1)
    torch.testing.assert_close(told[[0, 3]], torch.stack((likely[0, 1], likely[3, -1])).detach())
    assert objective.agreement(queries, [None] * 4).isnan().all()


def test_vectors_of_another_width() -> None:
    head = head_of(build_deco_detector())
    classes = TextVectors(CLASSES, units(len(CLASSES), 2))
    narrow = Crops()
    narrow.width = 5
    with pytest.raises(ValueError, match="the crops' vectors are 5 wide and the pool's 8") as error:
        DecoObjective(head, KNOWN.vectors, narrow, classes, DecoConfig(), steps=STEPS)
    assert "\n" not in str(error.value)
    others = TextVectors(CLASSES, units(len(CLASSES), 2, WIDTH + 1))
    with pytest.raises(ValueError, match="names' vectors are 9 wide and the pool's 8") as error:
        DecoObjective(head, KNOWN.vectors, Crops(), others, DecoConfig(), steps=STEPS)
    assert "\n" not in str(error.value)
