"""The tier 1 benches' own arithmetic and worlds. What they measure is in docs/benchmarks.md."""

import torch

from opendet.bench import tier1_alignment, tier1_exact, tier1_joint, tier1_naming
from opendet.bench.arms import namer_config
from opendet.bench.synthetic import NAMES, TIERS
from opendet.bench.tier1_world import QueryWorld, accuracy_by_tier, frequencies, text_vectors
from opendet.model.t5_namer import T5Namer


def test_training_shows_no_unseen_name_and_many_duplicates() -> None:
    world = QueryWorld(seed=0)
    scenes = world.draw(world.looks(), 400, torch.Generator().manual_seed(0))
    shown = [NAMES[number] for number in scenes.classes[scenes.there].tolist()]
    assert {TIERS[name] for name in shown} == {"frequent", "rare"}
    assert 0.02 < sum(TIERS[name] == "rare" for name in shown) / len(shown) < 0.12
    first, second = scenes.classes[:, 0], scenes.classes[:, 1]
    assert 0.3 < float((first == second).float().mean()) < 0.5  # 0.6 x 0.6 copy, and chance
    assert (scenes.there.sum(1) >= 2).all()


def test_background_queries_are_as_long_as_those_of_objects() -> None:
    world = QueryWorld(seed=1)
    scenes = world.draw(world.looks(), 200, torch.Generator().manual_seed(0))
    lengths = scenes.queries.norm(dim=-1).mean(0)
    objects, background = lengths[: world.objects].mean(), lengths[world.objects :].mean()
    assert abs(float(objects / background) - 1) < 0.02


def test_accuracy_is_by_tier() -> None:
    classes = torch.arange(len(NAMES))
    right = torch.tensor([TIERS[name] == "rare" for name in NAMES])
    assert accuracy_by_tier(right, classes) == {"frequent": 0, "rare": 100, "unseen": 0}


def test_names_of_one_text_are_one_direction() -> None:
    cosine = text_vectors(64) @ text_vectors(64).T
    assert torch.allclose(cosine.diagonal(), torch.ones(len(NAMES)), atol=1e-5)
    assert float((cosine - torch.eye(len(NAMES))).max()) < 0.9  # all are told apart by MAL's tau


def test_an_arm_is_the_same_whenever_it_runs_and_learns() -> None:
    first = tier1_alignment.run_arm("bidirectional", "masked", seed=0, steps=20)
    assert tier1_alignment.run_arm("bidirectional", "masked", seed=0, steps=20) == first
    untaught = tier1_alignment.run_arm("bidirectional", "masked", seed=0, steps=0)
    assert first["frequent"] > untaught["frequent"] + 5
    assert first["auc"] > untaught["auc"]


def test_area_under_curve_by_hand() -> None:
    positives, negatives = torch.tensor([0.9, 0.4]), torch.tensor([0.5, 0.1, 0.2])
    assert tier1_alignment._area_under_curve(positives, negatives) == 5 / 6


def test_average_precision_by_hand() -> None:
    scores = torch.tensor([0.9, 0.5, 0.8, 0.1])  # three objects and a background query
    right = torch.tensor([True, True, False])
    # in order: right, wrong, right, background: (1 + 2/3) / 3
    assert abs(tier1_joint._average_precision(scores, right) - (1 + 2 / 3) / 3) < 1e-6


def test_rank_correlation_asks_for_the_order_alone() -> None:
    values = torch.tensor([0.1, 3.0, 0.2, 7.0])
    assert abs(tier1_joint._rank_correlation(values, values.exp()) - 1) < 1e-6
    assert abs(tier1_joint._rank_correlation(values, -values) + 1) < 1e-6


def test_all_forms_of_the_score_see_the_same_world() -> None:
    first = tier1_joint.run_form("completed", seed=0, steps=5)
    assert tier1_joint.run_form("completed", seed=0, steps=5) == first
    untaught = [tier1_joint.run_form(form, seed=0, steps=0) for form in tier1_joint.FORMS]
    assert all(scores == untaught[0] for scores in untaught)


def test_a_wrong_mask_would_be_counted() -> None:
    assert tier1_exact.mask_errors(0, tau=0.99, near_is_same=False) == 0
    assert tier1_exact.mask_errors(0, tau=0.99, near_is_same=True) > 0


def test_both_heads_begin_as_the_same_language_model() -> None:
    learner = T5Namer.tiny(NAMES, namer_config(head="full"))
    full, lora = (tier1_naming._copied(learner, head) for head in ("full", "lora"))
    prompts, names = text_vectors(96)[:5], NAMES[:5]
    begun = learner.loss(prompts, names)
    torch.testing.assert_close(full.loss(prompts, names), begun)
    torch.testing.assert_close(lora.loss(prompts, names), begun)
    assert full.head.base.requires_grad
    assert not lora.head.base.requires_grad
    with torch.no_grad():
        full.t5.shared.weight.zero_()  # what one arm does to its copy no other sees
    torch.testing.assert_close(learner.loss(prompts, names), begun)


def test_denoising_adds_its_loss_to_the_same_prompts() -> None:
    namer, text = T5Namer.tiny(NAMES, namer_config(head="full")), text_vectors(96)
    bias = torch.zeros(96)
    alone, both = (
        tier1_naming._loss(namer, text, bias, 0.6, td, torch.Generator().manual_seed(0))
        for td in (False, True)
    )
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(frequencies(), tier1_naming.PROMPTS, True, generator=generator)
    tier1_naming._visual(text[drawn], bias, 0.6, generator)
    noised = text[drawn] + text.std() * torch.randn(text[drawn].shape, generator=generator)
    added = namer.loss(noised, [NAMES[number] for number in drawn.tolist()])
    torch.testing.assert_close(both, alone + added)
