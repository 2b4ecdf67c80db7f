import torch

from opendet.model.config import DetectorConfig
from opendet.model.distiller import places_in_image
from tests.model.worlds import TINY_DETECTOR, build_detector

SIZES = torch.tensor([[64, 64], [64, 64]])


def _prompts(places: list[int], queries: list[int], config: DetectorConfig = TINY_DETECTOR):  # type: ignore[no-untyped-def]
    detector = build_detector(config).eval()
    torch.manual_seed(0)
    output = detector(torch.rand(2, 3, 64, 64), SIZES)
    return detector, output, detector.prompt(output, torch.tensor(places), torch.tensor(queries))


def test_places_in_image() -> None:
    assert places_in_image(torch.tensor([1, 0, 1, 3, 1, 0]), 4).tolist() == [0, 0, 1, 0, 2, 1]
    assert places_in_image(torch.zeros(0, dtype=torch.int64), 2).tolist() == []


def test_order_and_company_do_not_matter() -> None:
    _, _, together = _prompts([0, 1, 0, 1, 1], [2, 0, 1, 1, 2])
    _, _, others = _prompts([1, 0], [1, 1])
    torch.testing.assert_close(together[[3, 2]], others, atol=1e-5, rtol=1e-4)


def test_prompts_are_unit_vectors_and_none_are_none() -> None:
    for switches in ({}, {"glimpse_side": 8}, {"distiller_gate": False}, {"prompt": "query"}):
        config = TINY_DETECTOR.model_copy(update=switches)
        _, _, prompts = _prompts([0, 1], [0, 0], config)
        torch.testing.assert_close(prompts.norm(dim=-1), torch.ones(2))
    detector, output, _ = _prompts([0], [0])
    nothing = torch.zeros(0, dtype=torch.int64)
    assert detector.prompt(output, nothing, nothing).shape == (0, 32)


def test_context_is_read_from_both_sets_of_features() -> None:
    detector, output, prompts = _prompts([0, 1], [0, 1])
    for name in ("features", "memory"):
        tokens = getattr(output, name)
        shuffled = tokens.with_tokens(tokens.tokens.flip(1))
        object.__setattr__(output, name, shuffled)
        changed = detector.prompt(output, torch.tensor([0, 1]), torch.tensor([0, 1]))
        assert (changed - prompts).abs().max() > 1e-3
        object.__setattr__(output, name, tokens)


def test_no_gradient_goes_into_the_boxes() -> None:
    detector, output, _ = _prompts([0], [0])
    boxes = torch.tensor([[0.5, 0.5, 0.3, 0.3]], requires_grad=True)
    zero = torch.zeros(1, dtype=torch.int64)
    assert detector.prompt(output, zero, zero, boxes).requires_grad
    (grad,) = torch.autograd.grad(
        detector.prompt(output, zero, zero, boxes).sum(), boxes, allow_unused=True
    )
    assert grad is None


def test_a_gate_can_close() -> None:
    """Gated, what was read can be forgotten; added to, it cannot."""
    spread = {}
    for gate in (True, False):
        detector = build_detector(TINY_DETECTOR.model_copy(update={"distiller_gate": gate})).eval()
        assert detector.prompts.distiller is not None
        with torch.no_grad():
            for reader in (
                detector.prompts.distiller.from_backbone,
                detector.prompts.distiller.from_encoder,
            ):
                last = reader.reweight.layers[-1]
                last.weight.zero_()
                last.bias.fill_(-100.0)
            output = detector(torch.rand(2, 3, 64, 64), SIZES)
            read = detector.prompts.distiller(
                torch.randn(3, 32),
                torch.tensor([0, 1, 1]),
                torch.rand(3, 4) * 0.3 + 0.3,
                output.features,
                output.memory,
            )
        spread[gate] = float((read - read[:1]).abs().max())
    assert spread[True] < 1e-6
    assert spread[False] > 1e-3
