"""Who is named in a step, and what the namer and the prompts are given to look at."""

import torch

from opendet.data.batch import Batch, Target
from opendet.train.matching import Matches
from opendet.train.naming_losses import Named, _looked_at, _noised_texts, draw_named
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.truths import Truths, read_truths

DRAWS = StepDraws(0, 3)
NAMES = ("star", "ring", "disc")
TEXT = TextVectors(NAMES, torch.eye(3))


def _truths() -> Truths:
    """Image `a` has four objects, two of one name and one without; image `b` has one."""
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.1]] * 4)
    targets = (
        Target(boxes, (("star",), ("star",), (), ("ring",))),
        Target(boxes[:1], (("disc",),)),
    )
    sizes = torch.full((2, 2), 64)
    batch = Batch(("a", "b"), torch.zeros(2, 3, 64, 64), sizes, sizes, targets)
    return read_truths(batch, TEXT, DRAWS, pseudo_box_weight=0.0)


def _named(most: int) -> Named:
    images, targets = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 1, 2, 3, 0])
    match = Matches(images, targets + 5, targets, torch.zeros_like(images))
    return draw_named(match, _truths(), DRAWS, most=most)


def test_objects_with_names_are_drawn_image_by_image() -> None:
    everyone = _named(40)
    found = sorted(zip(everyone.images.tolist(), everyone.names, strict=True))
    assert found == [(0, "ring"), (0, "star"), (0, "star"), (1, "disc")]
    assert everyone.queries.tolist() == (everyone.targets + 5).tolist()
    few = _named(2)
    assert few.images.tolist() == [0, 0, 1]
    names = _truths().names
    pairs = zip(few.images.tolist(), few.targets.tolist(), strict=True)
    assert few.names == [names[image][target] for image, target in pairs]


def test_every_different_name_of_an_image_is_noised_as_much_as_asked() -> None:
    for noise in (0.0, 2.0):
        config = ObjectiveConfig(text_denoising_noise=noise)
        pieces, words = _noised_texts(_named(40), _truths(), TEXT, DRAWS, config)
        assert words == ["ring", "star", "disc"]
        moved = torch.cat(pieces) - TEXT.of(words)
        drawn = [torch.randn(n, 3, generator=DRAWS.of(key, "text denoising"))
                 for key, n in (("a", 2), ("b", 1))]  # fmt: skip
        torch.testing.assert_close(moved, noise * TEXT.deviation * torch.cat(drawn))
    assert _noised_texts(_named(40), _truths(), None, DRAWS, ObjectiveConfig()) == ([], [])
    off = ObjectiveConfig(text_denoising_weight=0)
    assert _noised_texts(_named(40), _truths(), TEXT, DRAWS, off) == ([], [])


def test_an_image_also_draws_from_all_names_that_are_taught() -> None:
    config = ObjectiveConfig(text_denoising_noise=0, text_denoising_vocabulary=30)
    pieces, words = _noised_texts(_named(40), _truths(), TEXT, DRAWS, config)
    assert (words[:2], words[32]) == (["ring", "star"], "disc")
    drawn = words[2:32] + words[33:]
    assert all(10 <= drawn.count(name) <= 30 for name in NAMES)  # about 20 of 60
    assert torch.equal(torch.cat(pieces), TEXT.of(words))
    alone = _noised_texts(_named(40), _truths(), TEXT, DRAWS, config)[1]
    assert alone == words  # the same step draws the same
    later = _noised_texts(_named(40), _truths(), TEXT, StepDraws(0, 4), config)[1]
    assert later != words


def test_prompts_look_at_the_prediction_or_near_the_target() -> None:
    named, truths = _named(40), _truths()
    assert _looked_at(named, truths, DRAWS, ObjectiveConfig()) is None
    shaken = _looked_at(named, truths, DRAWS, ObjectiveConfig(naming_boxes="target"))
    assert shaken is not None
    wanted = truths.boxes_cxcywh[named.images, named.targets]
    share = (shaken - wanted) / wanted[:, [2, 3, 2, 3]]
    assert 0 < share.abs().max() < 0.25
    assert share.abs().min() > 0
