import torch
from torch.nn import functional

from opendet.data.batch import Target
from opendet.train.objective import LossReport, Objective
from opendet.train.objective_config import ObjectiveConfig
from tests.model.worlds import NAMES, TINY_DETECTOR, build_detector, no_targets

SIZES = torch.tensor([[64, 64], [64, 64]])


def _targets() -> list[Target]:
    boxes = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.2, 0.4]])
    return [Target(boxes, ((NAMES[0], NAMES[1]), (NAMES[2],))), no_targets()]


def _vectors() -> dict[str, torch.Tensor]:
    return {name: functional.normalize(torch.randn(32), dim=0) for name in NAMES[:3]}


def _report(targets: list[Target], **knobs: object) -> tuple[torch.nn.Module, LossReport]:
    config = TINY_DETECTOR.model_copy(update={"prompt": "glimpse"})
    detector = build_detector(config).train()
    torch.manual_seed(5)
    output = detector(torch.rand(2, 3, 64, 64), SIZES)
    objective = Objective(ObjectiveConfig.model_validate(knobs))
    generator = torch.Generator().manual_seed(0)
    return detector, objective(detector, output, targets, _vectors(), generator)


def test_total_is_the_weighted_sum_of_its_parts() -> None:
    _, report = _report(_targets())
    parts = report.parts
    expected = sum(
        weight * (parts[name] + parts[f"{name}_aux"])
        for name, weight in (("object", 2), ("l1", 5), ("giou", 2))
    )
    expected = expected + parts["naming"] + parts["distillation"]
    torch.testing.assert_close(report.total.detach(), expected)
    assert parts["matched"] == 2


def test_every_parameter_gets_a_finite_gradient_with_and_without_targets() -> None:
    for targets in (_targets(), [no_targets(), no_targets()]):
        detector, report = _report(targets, naming_boxes="target")
        report.total.backward()  # type: ignore[no-untyped-call]
        assert report.total.isfinite()
        missing = [
            name
            for name, parameter in detector.named_parameters()
            if parameter.grad is None or not parameter.grad.isfinite().all()
        ]
        assert missing == []


def test_same_generator_same_loss() -> None:
    assert _report(_targets())[1].total == _report(_targets())[1].total


def test_weight_zero_is_off() -> None:
    detector, report = _report(_targets(), naming_weight=0, distillation_weight=0)
    report.total.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for n, p in detector.named_parameters() if n.startswith("prompts.")]
    assert all(grad is None or not grad.any() for grad in grads)


def test_objects_without_names_are_not_named() -> None:
    boxes = _targets()[0].boxes_cxcywh
    _, report = _report([Target(boxes, ((), ())), no_targets()])
    assert report.parts["naming"] == 0
    assert report.parts["matched"] == 2


def test_a_tiny_detector_learns_one_scene() -> None:
    detector = build_detector(TINY_DETECTOR, seed=1).train()
    image = torch.zeros(1, 3, 64, 64)
    image[:, 0, 10:30, 10:30] = 1
    image[:, 1, 30:52, 38:50] = 1
    boxes = torch.tensor([[20, 20, 20, 20], [44, 41, 12, 22]]) / 64
    targets = [Target(boxes, ((NAMES[0],), (NAMES[2],)))]
    objective = Objective(ObjectiveConfig())
    optimiser = torch.optim.AdamW(detector.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        optimiser.zero_grad()
        output = detector(image, SIZES[:1])
        objective(detector, output, targets, None, generator).total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        output = detector.eval()(image, SIZES[:1])
        best = output.scores()[0].topk(2).indices
        found = output.boxes_cxcywh[0, best]
        prompts = detector.prompt(output, torch.zeros_like(best), best)
        names = detector.namer.name(prompts, beams=1)
    order = found[:, 0].argsort()
    torch.testing.assert_close(found[order], boxes, atol=0.04, rtol=0)
    assert [names[i][0] for i in order.tolist()] == [NAMES[0], NAMES[2]]
