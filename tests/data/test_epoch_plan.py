"""How often each sample comes: shares by weight, rare names within a share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import shard_world as world
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opendet.data.config import LoaderConfig, MixtureSource
from opendet.data.order import Draw, rank_batches
from opendet.data.plan import EpochPlan, mixture_kind, plan_epochs
from opendet.record import Record

TEMPLATE = world.painted("a-0").record


def record(key: str, *names: str, caption: str = "") -> Record:
    """Of the batch that the key begins with."""
    regions = tuple(world.region((1, 2, 20, 30), name) for name in names)
    batch = key.split("-")[0]
    return replace(TEMPLATE, key=key, batch=batch, regions=regions, phrases=(), caption=caption)


def records(**sizes: int) -> list[Record]:
    return [record(f"{batch}-{i}", "thing") for batch, size in sizes.items() for i in range(size)]


def mixed(**weights: float) -> LoaderConfig:
    mixture = tuple(MixtureSource(batch=batch, weight=w) for batch, w in weights.items())
    return LoaderConfig(mixture=mixture)


def planned(
    of: Sequence[Record], config: LoaderConfig | None = None, **changes: object
) -> EpochPlan:
    config = (config or LoaderConfig()).model_copy(update=changes)
    return plan_epochs(iter(of), len(of), config)


def comings(plan: EpochPlan, of: Sequence[Record], *, epoch: int = 0) -> Counter[str]:
    """How often each batch comes in an epoch."""
    draws = plan.order(seed=3, epoch=epoch)
    assert len(draws) == plan.draws
    return Counter(of[draw.sample].batch for draw in draws)


@given(st.integers(1, 200), st.integers(0, 3), st.integers(0, 3))
def test_every_sample_once_without_a_mixture(count: int, seed: int, epoch: int) -> None:
    untouched = iter(())  # a plan that asks nothing of the records reads none
    plan = plan_epochs(untouched, count, LoaderConfig())
    order = plan.order(seed=seed, epoch=epoch)
    assert sorted(order) == [Draw(index) for index in range(count)]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    weights=st.lists(st.floats(0.01, 10), min_size=3, max_size=3),
    draws=st.integers(0, 200),
    epoch=st.integers(0, 4),
)
def test_shares_are_the_weights_to_less_than_a_draw(
    sizes: list[int], weights: list[float], draws: int, epoch: int
) -> None:
    of = records(**dict(zip("abc", sizes, strict=True)))
    config = mixed(**dict(zip("abc", weights, strict=True)))
    plan = planned(of, config, epoch_draws=draws)
    assert plan.draws == (draws or len(of))
    seen = comings(plan, of, epoch=epoch)
    for batch, weight in zip("abc", weights, strict=True):
        assert abs(seen[batch] - plan.draws * weight / sum(weights)) < 1 + 1e-6
    each = Counter(draw.sample for draw in plan.order(seed=3, epoch=epoch))
    for batch in "abc":
        counts = [each[index] for index, one in enumerate(of) if one.batch == batch]
        assert max(counts) - min(counts) <= 1  # nobody twice before everybody once


def test_a_small_share_comes_in_the_end() -> None:
    """A hundredth of ten draws is one draw in ten epochs."""
    of = records(a=10, b=3)
    plan = planned(of, mixed(a=99, b=1), epoch_draws=10)
    seen = [comings(plan, of, epoch=epoch)["b"] for epoch in range(1000)]
    assert set(seen) == {0, 1}
    assert sum(seen) == pytest.approx(100, abs=40)


def test_a_batch_without_a_weight_is_not_drawn() -> None:
    of = records(a=4, b=4)
    plan = planned(of, mixed(a=1))
    assert plan.draws == 4
    assert comings(plan, of) == {"a": 4}


@given(
    world_size=st.integers(1, 4), batch_size=st.integers(1, 3), epoch=st.integers(0, 2),
    threshold=st.sampled_from([0.0, 0.5]),
)  # fmt: skip
def test_any_number_of_ranks_trains_on_the_same_draws(
    world_size: int, batch_size: int, epoch: int, threshold: float
) -> None:
    of = [*records(a=20, b=7), record("b-rare", "okapi")]
    plan = planned(of, mixed(a=1, b=3), repeat_threshold=threshold)
    ranks = [
        rank_batches(
            planned(of, mixed(a=1, b=3), repeat_threshold=threshold).order(seed=1, epoch=epoch),
            batch_size=batch_size, drop_last=False, rank=rank, world=world_size,
        )
        for rank in range(world_size)
    ]  # fmt: skip
    union = sorted(
        draw._replace(repeat=0) for batches in ranks for batch in batches for draw in batch
    )
    assert union == sorted(plan.order(seed=1, epoch=epoch))


def test_rare_names_come_more_often() -> None:
    """4 images of a dog, one of them with an okapi too: f = 1 and 1/4, t = 1 -> r = 1 and 2."""
    of = [record(f"a-{i}", "dog") for i in range(3)] + [record("a-3", "dog", "okapi")]
    plan = planned(of, repeat_threshold=1.0)
    assert plan.expected.tolist() == [1, 1, 1, 2]
    each = Counter(draw.sample for draw in plan.order(seed=0, epoch=0))
    assert [each[index] for index in range(4)] == [1, 1, 1, 2]


def test_the_fraction_of_a_factor_is_drawn_anew_each_epoch() -> None:
    """2 of 200 images show an okapi: t = 1/64 gives r = sqrt(1.5625) = 1.25, so that 200.5 draws
    are rounded up to 201."""
    of = [record(f"a-{i}", "dog" if i > 1 else "okapi") for i in range(200)]
    plan = planned(of, repeat_threshold=1 / 64)
    assert plan.draws == 201
    extra = [
        Counter(d.sample for d in plan.order(seed=0, epoch=epoch))[0] - 1 for epoch in range(800)
    ]
    assert set(extra) == {0, 1}
    assert sum(extra) / 800 == pytest.approx(1.25 * 201 / 200.5 - 1, abs=0.06)


def test_repeat_factors_leave_a_share_what_it_is() -> None:
    of = [record(f"a-{i}", "dog") for i in range(15)] + [record("b-0", "dog")]
    of[0] = record("a-0", "dog", "okapi")
    plan = planned(of, mixed(a=1, b=1), repeat_threshold=1.0, epoch_draws=36)
    assert comings(plan, of) == {"a": 18, "b": 18}
    rare, common = plan.expected[0], plan.expected[1]
    assert rare == pytest.approx(4 * common)  # sqrt(1 / (1 / 16))


def test_names_that_are_not_learned_are_not_rare() -> None:
    """A name that was refused, and one of a crowd."""
    refused = replace(world.region((1, 2, 9, 9), "okapi", "disagrees"))
    crowd = replace(world.region((1, 2, 9, 9), "herd"), crowd=True)
    of = [record(f"a-{i}", "dog") for i in range(4)]
    of[0] = replace(of[0], regions=(*of[0].regions, refused, crowd))
    assert planned(of, repeat_threshold=1.0).expected.tolist() == [1, 1, 1, 1]


def test_images_without_an_object_stay_unless_asked() -> None:
    of = [record("a-0", "dog"), record("a-1"), record("a-2", caption="a quiet street")]
    assert planned(of).samples.tolist() == [0, 1, 2]
    assert planned(of, drop_empty=True).samples.tolist() == [0]
    # of a mixture's automatic kind `image`, a caption is enough
    assert planned(of, mixed(a=1), drop_empty=True).samples.tolist() == [0, 2]


def test_the_mixture_says_the_kind() -> None:
    boxed, captioned = record("a-0", "dog", caption="a dog"), record("a-1", caption="a dog")
    assert mixture_kind(captioned, ()) == "box"  # as ever: what it shows is background
    assert mixture_kind(captioned, mixed(a=1).mixture) == "image"
    forced = (MixtureSource(batch="a", weight=1, kind="pseudo_box"),)
    assert mixture_kind(boxed, forced) == "pseudo_box"


@pytest.mark.parametrize(
    ("of", "changes", "message"),
    [
        ([], {}, r"the split train has no samples: see .* set loader\.split"),
        (
            records(coco2017=2, vg=1),
            {"mixture": mixed(coco17=1).mixture},
            r"no image of the split train is of the batch coco17 \(did you mean coco2017\?\)",
        ),
        ([record("a-0")], {"drop_empty": True}, r"leaves no image: none has an object"),
        (
            [record("a-0", "dog"), record("b-0")],
            {"mixture": mixed(a=1, b=1).mixture, "drop_empty": True},
            r"leaves no image of the batch b: none has an object .* of loader\.mixture",
        ),
    ],
)
def test_nothing_to_draw_is_one_line(
    of: list[Record], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        planned(of, **changes)
    assert "\n" not in str(caught.value)


def test_a_mixture_is_checked_where_it_is_written() -> None:
    for weight in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            MixtureSource(batch="a", weight=weight)
    twice = (MixtureSource(batch="a", weight=1), MixtureSource(batch="a", weight=2))
    with pytest.raises(ValidationError, match="names the batch a twice"):
        LoaderConfig(mixture=twice)
