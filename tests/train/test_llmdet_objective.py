"""LLMDet's two parts beside the others: of whom, by how much, and in which steps."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import together
from safetensors.torch import load_file, save_file
from torch.nn import functional

from opendet.data.batch import Batch, Target
from opendet.model.captioner import Captioner
from opendet.model.detector import OpenDetector
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.ema import Ema
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.llmdet_objective import LlmdetObjective, draw_phrased
from opendet.train.llmdet_start import build_captioner
from opendet.train.objective import LossReport, Objective
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.optimizer import build_optimizer
from opendet.train.randomness import StepDraws
from opendet.train.seen import Seen
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from tests.model.language_worlds import save_tiny_language
from tests.model.worlds import NAMES, build_detector, no_targets

CAPTION = "a red star left of a blue ring"
BOXES = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.2, 0.4]])


def boxed(caption: str | None = CAPTION) -> Target:
    return Target(BOXES, ((NAMES[0],), (NAMES[1],)), caption=caption)


def batch_of(*targets: Target) -> Batch:
    sizes = torch.full((len(targets), 2), 64)
    images = torch.rand(len(targets), 3, 64, 64, generator=torch.Generator().manual_seed(5))
    keys = tuple(f"image-{number}" for number in range(len(targets)))
    return Batch(keys, images, sizes, sizes, targets)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_language(tmp_path_factory.mktemp("lm")))


class Watching(LlmdetObjective):
    """Keeps what it saw."""

    seen: Seen

    def costs(self, seen: Seen) -> Any:
        self.seen = seen
        return super().costs(seen)


def begin(language: str, **knobs: object) -> tuple[OpenDetector, TrainingStep, Watching]:
    small = {"grids": {32: 2, 16: 3}, "look_back_layers": 2, "max_tokens": 120}
    config = LlmdetConfig.model_validate({"language": language, **small, **knobs})
    detector = build_detector().train()
    detector.captioner = build_captioner(config, detector, seed=0)
    assert isinstance(detector.captioner, Captioner)
    further = Watching(detector.captioner, config)
    vectors = functional.normalize(
        torch.randn(len(NAMES), 32, generator=torch.Generator().manual_seed(6)), dim=-1
    )
    objective = Objective(ObjectiveConfig(), TextVectors(NAMES, vectors), (further,))
    return detector, TrainingStep(detector, objective), further


def report_of(language: str, *targets: Target, step: int = 3, **knobs: object) -> LossReport:
    _, training, _ = begin(language, **knobs)
    report: LossReport = training(batch_of(*targets), StepDraws(0, step))
    return report


def test_both_parts_are_added_with_their_weights(language: str) -> None:
    report = report_of(language, boxed(), boxed(None))
    assert {"image_caption", "region_phrase"} <= report.parts.keys()
    double = report_of(language, boxed(), boxed(None), image_weight=3.0, region_weight=0.5)
    told = 2 * report.parts["image_caption"] - 0.5 * report.parts["region_phrase"]
    torch.testing.assert_close((double.total - report.total).detach(), told, rtol=1e-4, atol=1e-4)
    alone = report_of(language, boxed(), region_weight=0.0)
    assert "region_phrase" not in alone.parts
    assert "image_caption" not in report_of(language, boxed(), image_weight=0.0).parts


def test_every_image_with_a_caption_counts_by_its_tokens(language: str) -> None:
    """One with boxes as well as one of kind `image`; one without a caption not at all."""
    detector, _, further = begin(language)
    other = Target(torch.zeros(0, 4), (), "image", "a green disc")
    batch = batch_of(boxed(), no_targets(), other)
    output = detector(batch.images, batch.sizes_hw)
    captioner = further.captioner
    sums, counts = captioner.describe_images(
        output.memory,
        [0, 2],
        [CAPTION, "a green disc"],
        prompt="Describe the image in detail.",
        longest=70,
    )
    _, training, own = begin(language)
    parts = training(batch, StepDraws(0, 3)).parts
    expected = (sums.sum() / counts.sum()).detach()
    torch.testing.assert_close(parts["image_caption"], expected, rtol=1e-3, atol=1e-3)
    assert own.costs(own.seen)["image_caption"].over == counts.sum()


def test_a_region_s_text_is_its_description_else_its_name(language: str) -> None:
    _, training, further = begin(language)
    told = replace(boxed(), descriptions=("a star with five points", ""))
    nameless = replace(boxed(), names=((), (NAMES[2],)))
    training(batch_of(told, nameless, no_targets()), StepDraws(0, 3))
    drawn = draw_phrased(further.seen, most=16)
    assert sorted(zip(drawn.images.tolist(), drawn.texts, strict=True)) == [
        (0, "a star with five points"),
        (0, NAMES[1]),
        (1, NAMES[2]),
    ]
    match = further.seen.match
    pairs = set(zip(match.images.tolist(), match.queries.tolist(), strict=True))
    assert set(zip(drawn.images.tolist(), drawn.queries.tolist(), strict=True)) < pairs
    fewer = draw_phrased(further.seen, most=1)
    assert fewer.images.tolist() == [0, 1]
    assert fewer.texts == draw_phrased(further.seen, most=1).texts
    later = [
        draw_phrased(replace(further.seen, draws=StepDraws(0, step)), most=1).texts[0]
        for step in range(8)
    ]
    assert set(later) == {"a star with five points", NAMES[1]}


@pytest.mark.parametrize("kind", ["frozen", "lora", "t5"])
def test_every_parameter_gets_a_finite_gradient_with_and_without_captions(
    kind: str, language: str
) -> None:
    """So that DistributedDataParallel waits for none."""
    knobs: dict[str, Any] = {"tuning": kind} if kind != "t5" else {"look_back_layers": 1}
    knobs |= {"lora": {"rank": 2, "alpha": 4}, "max_tokens": 150}
    batches = ([boxed(), no_targets()], [no_targets(), no_targets()], [boxed(None), no_targets()])
    for targets in batches:
        detector, training, _ = begin("t5" if kind == "t5" else language, **knobs)
        training(batch_of(*targets), StepDraws(0, 3)).total.backward()
        lacking = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
        assert lacking == []
        finite = [p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None]
        assert all(finite)


def test_mixed_precision_serves_both_parts(language: str) -> None:
    exact = report_of(language, boxed(), boxed(None)).parts
    detector, training, further = begin(language)
    for look_back in further.captioner.look_backs:
        torch.nn.init.normal_(look_back.widen.weight, std=0.01)  # type: ignore[union-attr, arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        report = training(batch_of(boxed(), boxed(None)), StepDraws(0, 3))
    for name in ("image_caption", "region_phrase"):
        torch.testing.assert_close(report.parts[name], exact[name], rtol=0.1, atol=0)
    report.total.backward()
    assert all(p.grad is not None for p in further.captioner.parameters())
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


def gradients(language: str, ranks: Ranks, *targets: Target) -> dict[str, torch.Tensor]:
    """Of the captioner after one step; a rank's images keep their places in the whole batch."""
    _, training, further = begin(language, tuning="lora", lora={"rank": 2, "alpha": 4})
    batch, own = batch_of(*targets), slice(ranks.rank, None, ranks.world)
    part = Batch(
        batch.keys[own],
        batch.images[own],
        batch.sizes_hw[own],
        batch.original_sizes_hw[own],
        batch.targets[own],
    )
    parallel = ranks.parallel(training)  # held: it adds gradients up for as long as it lives
    parallel(part, StepDraws(0, 3)).total.backward()
    return {name: p.grad for name, p in further.captioner.named_parameters() if p.grad is not None}


def test_a_rank_without_captions_waits_for_none_and_learns_what_the_other_does(
    language: str, tmp_path: Path
) -> None:
    targets = (boxed(), no_targets())
    alone = gradients(language, Ranks(torch.device("cpu")), *targets)

    def work(ranks: Ranks) -> None:
        save_file(gradients(language, ranks, *targets), tmp_path / f"{ranks.rank}.safetensors")

    assert together(2, work) == [0, 0]
    for rank in range(2):
        told = load_file(tmp_path / f"{rank}.safetensors")
        assert told.keys() == alone.keys()
        for name, gradient in told.items():
            torch.testing.assert_close(gradient, alone[name], rtol=1e-3, atol=1e-5)


def test_the_caption_teaches_the_detector(language: str) -> None:
    detector, training, further = begin(language)
    training(batch_of(boxed(), boxed(None)), StepDraws(0, 3))
    further.costs(further.seen)["image_caption"].total.backward()
    taught = [p.grad for p in detector.backbone.parameters() if p.requires_grad]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in taught)


def test_in_the_first_steps_only_the_projectors_move(language: str) -> None:
    """Step 0 and 1 of two; the optimizer then begins with the others as if it were new to them."""
    detector, training, further = begin(language, projector_steps=2, tuning="lora")
    config = TrainConfig(steps=4, weight_decay=0.1, learning_rate=1e-2)
    optimizer = build_optimizer(detector, config)
    projectors = {id(parameter) for parameter in further.captioner.projectors()}
    moved = []
    for step in range(3):
        before = copy.deepcopy(dict(detector.named_parameters()))
        training(batch_of(boxed(), boxed(None)), StepDraws(0, step)).total.backward()
        further.before_update(step, detector)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        told = detector.named_parameters()
        moved.append({n for n, p in told if not torch.equal(p, before[n])})
        known = {id(parameter) for parameter in optimizer.state}
        assert (known <= projectors) is (step < 2)
    named = {n for n, p in detector.named_parameters() if id(p) in projectors}
    assert moved[:2] == [named, named]
    assert any(name.startswith("decoder.") for name in moved[2])
    assert any(name.startswith("captioner.corrections") for name in moved[2])
    assert {float(optimizer.state[p]["step"]) for p in further.captioner.projectors()} == {3.0}


def test_the_average_and_the_end_of_a_step_know_nothing_of_the_language_model(
    language: str,
) -> None:
    detector, _, further = begin(language)
    further.finish_step(0, Ranks(torch.device("cpu")))
    own = set(Ema(detector, 0.9).tensors)
    plain = set(Ema(build_detector(), 0.9).tensors)
    parts = {name.split(".")[1] for name in own - plain}
    assert parts == {"image", "region", "look_backs"}
