import pytest
import torch
from torch.nn import functional

from opendet.data.batch import Batch, Target
from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.train.objective import LossReport, Objective, part_weights
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from tests.model.worlds import NAMES, TINY_DETECTOR, build_detector, no_targets

OFF = TINY_DETECTOR.model_copy(
    update={"cross_layers": 0, "aligner": "none", "prompt": "query", "denoising_pairs": 0}
)
GENERATE_U = OFF.model_copy(update={"aligner": "vision_to_language", "iou_head": True})
GLIMPSE = TINY_DETECTOR.model_copy(update={"glimpse_side": 16})
CONFIGS = {"open_det": TINY_DETECTOR, "off": OFF, "generate_u": GENERATE_U, "glimpse": GLIMPSE}


def _targets() -> list[Target]:
    boxes = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.2, 0.4]])
    return [Target(boxes, ((NAMES[0], NAMES[1]), (NAMES[2],))), no_targets()]


def _batch(targets: list[Target]) -> Batch:
    torch.manual_seed(5)
    count = len(targets)
    sizes = torch.full((count, 2), 64)
    keys = tuple(f"image-{number}" for number in range(count))
    return Batch(keys, torch.rand(count, 3, 64, 64), sizes, sizes, tuple(targets))


def _text() -> TextVectors:
    torch.manual_seed(6)
    return TextVectors(NAMES, functional.normalize(torch.randn(len(NAMES), 32), dim=-1))


def _report(
    targets: list[Target],
    config: DetectorConfig = TINY_DETECTOR,
    text: TextVectors | None = None,
    **knobs: object,
) -> tuple[OpenDetector, LossReport]:
    detector = build_detector(config).train()
    objective = Objective(ObjectiveConfig.model_validate(knobs), text or _text())
    return detector, TrainingStep(detector, objective)(_batch(targets), StepDraws(0, 3))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_total_is_the_weighted_sum_of_its_parts(config: DetectorConfig) -> None:
    _, report = _report(_targets(), config)
    weights = part_weights(ObjectiveConfig())
    expected = sum(weights[name] * part for name, part in report.parts.items() if name in weights)
    torch.testing.assert_close(report.total.detach(), expected)
    assert set(report.parts) - set(weights) == {"matched"}
    assert report.parts["matched"] == 2


def test_open_det_has_every_loss_of_the_paper() -> None:
    caption = Target(torch.zeros(0, 4), (), "image", "a red star beside a ring")
    _, report = _report([*_targets(), caption])
    layers = {
        f"{name}{place}"
        for name in ("object", "l1", "giou")
        for place in ("", "_aux", "_proposals", "_denoising")
    }
    names = {"align", "align_aux", "naming", "distillation", "text_denoising", "caption"}
    assert set(report.parts) == layers | names | {"matched"}
    assert all(part > 0 for part in report.parts.values())


def test_prompts_can_be_contrasted_with_all_names_that_are_taught() -> None:
    _, plain = _report(_targets())
    _, report = _report(_targets(), contrast_weight=0.5)
    assert set(report.parts) - set(plain.parts) == {"contrast"}
    difference = report.total - plain.total
    torch.testing.assert_close(difference, 0.5 * report.parts["contrast"], rtol=1e-3, atol=1e-3)
    _, few = _report(_targets(), contrast_weight=0.5, contrast_names=2)
    assert 0 < few.parts["contrast"] < report.parts["contrast"]
    _, none = _report([no_targets(), no_targets()], contrast_weight=0.5)
    assert none.parts["contrast"] == 0


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_parameter_gets_a_finite_gradient_with_and_without_targets(
    config: DetectorConfig,
) -> None:
    caption = Target(torch.zeros(0, 4), (), "image", "a red star beside a ring")
    for targets in (
        _targets(),
        [no_targets(), no_targets()],
        [caption, no_targets()],
        [_targets()[0], caption],
    ):
        detector, report = _report(targets, config, naming_boxes="target")
        report.total.backward()  # type: ignore[no-untyped-call]
        assert report.total.isfinite()
        missing = [
            name
            for name, parameter in detector.named_parameters()
            if parameter.requires_grad
            and (parameter.grad is None or not parameter.grad.isfinite().all())
        ]
        assert missing == []


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_in_bf16_every_parameter_gets_a_finite_gradient_in_float32(config: DetectorConfig) -> None:
    caption = Target(torch.zeros(0, 4), (), "image", "a red star beside a ring")
    for targets in ([_targets()[0], caption], [no_targets(), no_targets()]):
        with torch.autocast("cpu", torch.bfloat16):
            detector, report = _report(targets, config, naming_boxes="target")
        assert report.total.dtype == torch.float32
        report.total.backward()  # type: ignore[no-untyped-call]
        for name, parameter in detector.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.dtype == torch.float32, name
                assert parameter.grad.isfinite().all(), name


def test_without_a_teacher_the_aligners_still_get_a_gradient() -> None:
    detector = build_detector().train()
    step = TrainingStep(detector, Objective(ObjectiveConfig(), None))
    report = step(_batch(_targets()), StepDraws(0, 0))
    report.total.backward()  # type: ignore[no-untyped-call]
    assert "align" not in report.parts
    assert report.parts["distillation"] == 0
    assert all(parameter.grad is not None for parameter in detector.aligners.parameters())


def test_same_draws_same_loss() -> None:
    assert _report(_targets())[1].total == _report(_targets())[1].total


def test_an_image_draws_the_same_in_whatever_batch() -> None:
    """The losses of two images are those of one and one, each over their common counts."""
    torch.manual_seed(0)
    first = _targets()[0]
    second = Target(torch.tensor([[0.5, 0.5, 0.4, 0.2]]), ((NAMES[3],),))
    both = _batch([first, second])
    detector = build_detector().train()
    step = TrainingStep(detector, Objective(ObjectiveConfig(), _text()))
    whole = step(both, StepDraws(0, 3)).parts
    parts = [
        step(
            Batch(
                both.keys[i : i + 1],
                both.images[i : i + 1],
                both.sizes_hw[i : i + 1],
                both.sizes_hw[i : i + 1],
                both.targets[i : i + 1],
            ),
            StepDraws(0, 3),
        ).parts
        for i in (0, 1)
    ]
    for name in ("l1", "giou", "object", "distillation", "l1_proposals"):
        pairs = [(parts[i][name], len(both.targets[i].names)) for i in (0, 1)]
        mean = sum(loss * count for loss, count in pairs) / 3
        torch.testing.assert_close(whole[name], mean, msg=name, rtol=1e-4, atol=1e-5)


def test_weight_zero_is_off() -> None:
    detector, report = _report(_targets(), naming_weight=0, distillation_weight=0)
    report.total.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for n, p in detector.named_parameters() if n.startswith("prompts.")]
    assert all(grad is None or not grad.any() for grad in grads)


def test_objects_without_names_are_not_named_nor_aligned() -> None:
    boxes = _targets()[0].boxes_cxcywh
    _, report = _report([Target(boxes, ((), ())), no_targets()])
    assert report.parts["naming"] == 0
    assert report.parts["align"] == 0
    assert report.parts["matched"] == 2


def test_pseudo_boxes_teach_names_and_not_places() -> None:
    target = _targets()[0]
    pseudo = Target(target.boxes_cxcywh, target.names, "pseudo_box")
    _, report = _report([pseudo, no_targets()])
    for name in ("l1", "giou", "l1_aux", "giou_proposals", "l1_denoising"):
        assert report.parts[name] == 0
    assert report.parts["align"] > 0
    assert report.parts["naming"] > 0
    _, trusted = _report([pseudo, no_targets()], pseudo_box_weight=1.0)
    _, people = _report([target, no_targets()])
    torch.testing.assert_close(trusted.total, people.total)


def test_a_captioned_image_teaches_its_caption_and_is_no_background() -> None:
    caption = Target(torch.zeros(0, 4), (), "image", "a red star beside a ring")
    _, report = _report([caption, caption])
    assert report.parts["caption"] > 0
    assert report.parts["object"] == 0
    assert report.parts["object_proposals"] == 0
    _, other = _report([no_targets(), no_targets()])
    assert other.parts["object"] > 0


def test_captions_are_longer_than_names() -> None:
    words = " ".join(["a red star beside a ring"] * 6)
    caption = Target(torch.zeros(0, 4), (), "image", words)
    short = _report([caption, caption], caption_tokens=3)[1].parts["caption"]
    long = _report([caption, caption], caption_tokens=60)[1].parts["caption"]
    other = Target(torch.zeros(0, 4), (), "image", words + " under a disc")
    cut = _report([other, other], caption_tokens=3)[1].parts["caption"]
    assert cut == short
    assert long != short


def test_detached_prompts_send_no_gradient_into_the_detector() -> None:
    knobs: dict[str, object] = {"distillation_weight": 0, "detach_prompts_until": 4}
    caption = Target(torch.zeros(0, 4), (), "image", "a red star beside a ring")
    detector, report = _report([*_targets(), caption], **knobs)
    report.total.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for n, p in detector.named_parameters() if n.startswith("prompts.")]
    assert all(grad is None or not grad.any() for grad in grads)


@pytest.mark.parametrize("text", [True, False], ids=["aligned", "plain"])
def test_a_tiny_detector_learns_one_scene(text: bool) -> None:
    detector = build_detector(seed=1).train()
    image = torch.zeros(1, 3, 64, 64)
    image[:, 0, 10:30, 10:30] = 1
    image[:, 1, 30:52, 38:50] = 1
    boxes = torch.tensor([[20, 20, 20, 20], [44, 41, 12, 22]]) / 64
    size = torch.tensor([[64, 64]])
    target = Target(boxes, ((NAMES[0],), (NAMES[2],)))
    batch = Batch(("scene",), image, size, size, (target,))
    step = TrainingStep(detector, Objective(ObjectiveConfig(), _text() if text else None))
    trained = [p for p in detector.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, 3e-3)
    for number in range(100):
        optimiser.zero_grad()
        step(batch, StepDraws(0, number)).total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
    with torch.no_grad():
        output = detector.eval()(image, size)
        best = output.scores()[0].topk(2).indices
        found = output.boxes_cxcywh[0, best]
        prompts = detector.prompt(output, torch.zeros_like(best), best)
        names = detector.namer.name(prompts, beams=1)
    order = found[:, 0].argsort()
    torch.testing.assert_close(found[order], boxes, atol=0.05, rtol=0)
    assert [names[i][0] for i in order.tolist()] == [NAMES[0], NAMES[2]]
