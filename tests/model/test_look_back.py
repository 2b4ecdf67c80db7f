"""The look back: nothing at the start, and then what lies in the region's box."""

import pytest
import torch

from opendet.model.features import FeatureTokens, join_levels
from opendet.model.look_back import LookBack, View, looking_back, spread
from tests.model.language_worlds import WIDTH, tiny_language

PROMPT, TEXT = "Describe the region in a phrase.", "a red star"
BOX = (0.25, 0.25, 0.3, 0.3)


def memory_of(change: tuple[slice, slice] | None = None) -> FeatureTokens:
    """Two images of 8 x 8 cells and of 4 x 4 at half the size; some cells of image 1 changed."""
    maps = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    if change:
        maps[1, :, change[0], change[1]] += 3
    coarse = torch.nn.functional.avg_pool2d(maps, 2)
    return join_levels([maps, coarse], [8, 16], torch.full((2, 2), 64))


def look_back(*, opened: bool = True) -> LookBack:
    torch.manual_seed(3)
    made = LookBack(WIDTH, 8, heads=2, levels=2, points=2)
    if opened:
        torch.nn.init.normal_(made.widen.weight)
    return made


def view_of(memory: FeatureTokens) -> View:
    """Three regions: image 1, image 0, image 1 at another place."""
    boxes = torch.tensor([BOX, BOX, (0.75, 0.75, 0.3, 0.3)])
    return View(memory, torch.tensor([1, 0, 1]), boxes)


def hidden_states() -> torch.Tensor:
    return torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))


def test_at_the_start_it_adds_nothing_to_the_bit() -> None:
    language = tiny_language(layers=4)
    read = hidden_states()[:, :1]
    plain, _ = language.losses(read, PROMPT, [TEXT] * 3, longest=9)
    layers = spread(language.layers, 2)
    looks = [look_back(opened=False), look_back(opened=False)]
    with looking_back(layers, looks, view_of(memory_of())):
        looking, _ = language.losses(read, PROMPT, [TEXT] * 3, longest=9)
    assert torch.equal(plain, looking)
    opened = [look_back(), look_back()]
    with looking_back(layers, opened, view_of(memory_of())):
        seeing, _ = language.losses(read, PROMPT, [TEXT] * 3, longest=9)
    assert ((seeing - plain).abs() > 1e-3).all()
    again, _ = language.losses(read, PROMPT, [TEXT] * 3, longest=9)
    assert torch.equal(plain, again)  # it looks in the block alone


def test_it_reads_its_own_box_of_its_own_image() -> None:
    look, hidden = look_back(), hidden_states()
    before = look(hidden, view_of(memory_of()))
    inside = look(hidden, view_of(memory_of((slice(0, 4), slice(0, 4)))))
    assert (inside - before)[0].abs().amin(0).max() > 1e-3  # every place of the text looks
    assert torch.equal(inside[1], before[1])  # another image
    assert torch.equal(inside[2], before[2])  # the other region of that image
    outside = look(hidden, view_of(memory_of((slice(4, 8), slice(4, 8)))))
    assert torch.equal(outside[0], before[0])
    assert (outside - before)[2].abs().max() > 1e-3


def test_company_and_order_do_not_matter() -> None:
    look, hidden, view = look_back(), hidden_states(), view_of(memory_of())
    together = look(hidden, view)
    for row in range(3):
        alone = View(view.memory, view.places[[row]], view.boxes_cxcywh[[row]])
        torch.testing.assert_close(look(hidden[[row]], alone), together[[row]])


def test_the_gradient_reaches_the_maps_and_not_the_boxes() -> None:
    memory = memory_of()
    memory.tokens.requires_grad_()
    view = view_of(memory)
    boxes = view.boxes_cxcywh.requires_grad_()
    look = look_back()
    look(hidden_states(), view).square().sum().backward()
    assert memory.tokens.grad is not None
    assert memory.tokens.grad.abs().sum() > 0
    assert boxes.grad is None
    assert all(parameter.grad is not None for parameter in look.parameters())


def test_layers_are_spread_evenly() -> None:
    layers = [torch.nn.Identity() for _ in range(24)]
    assert [layers.index(it) for it in spread(layers, 6)] == [0, 4, 8, 12, 16, 20]  # type: ignore[arg-type]
    assert [layers.index(it) for it in spread(layers[:3], 2)] == [0, 1]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^6 layers are to look back, and it has 2$"):
        spread(layers[:2], 6)
