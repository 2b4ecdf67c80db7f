import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.train.assignment import assign_many


def _pairs(quality: torch.Tensor, most: int = 6, threshold: float = 0.4) -> list[tuple[int, ...]]:
    match = assign_many(
        quality,
        torch.ones(quality.shape[:2], dtype=torch.bool),
        torch.ones(len(quality), quality.shape[2], dtype=torch.bool),
        most=most,
        threshold=threshold,
    )
    rows = (match.images, match.queries, match.targets, match.ranks)
    return sorted(zip(*(row.tolist() for row in rows), strict=True))


def test_by_hand() -> None:
    quality = torch.tensor([[[0.9, 0.1], [0.5, 0.6], [0.45, 0.2], [0.1, 0.3], [0.7, 0.7]]])
    # 0, 2 fit object 0 best, 1 object 1; 4 ties and goes to the first; 3 fits nobody well.
    # Object 1's own query is 4, which therefore leaves object 0.
    assert _pairs(quality) == [(0, 0, 0, 0), (0, 1, 1, 1), (0, 2, 0, 1), (0, 4, 1, 0)]


def test_an_object_that_nobody_fits_has_its_best_query() -> None:
    assert _pairs(torch.tensor([[[0.1], [0.3], [0.2]]])) == [(0, 1, 0, 0)]


def test_two_objects_with_one_best_query_have_one_each() -> None:
    quality = torch.tensor([[[0.9, 0.8], [0.2, 0.1]]])
    assert _pairs(quality) == [(0, 0, 0, 0), (0, 1, 1, 0)]


def test_at_most_so_many() -> None:
    quality = torch.linspace(0.5, 0.9, 9)[None, :, None]
    assert _pairs(quality, most=3) == [(0, 6, 0, 2), (0, 7, 0, 1), (0, 8, 0, 0)]


def test_nothing_there() -> None:
    assert _pairs(torch.rand(2, 4, 0)) == []


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 6), st.integers(1, 4))
def test_every_object_has_a_query_and_no_query_two(
    seed: int, queries: int, objects: int, most: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # few different values: ties everywhere
    quality = torch.randint(0, 5, (3, queries, objects), generator=generator) / 4
    valid = torch.rand(3, queries, generator=generator) < 0.8
    there = torch.rand(3, objects, generator=generator) < 0.8
    match = assign_many(quality, valid, there, most=most, threshold=0.4)
    assert valid[match.images, match.queries].all()
    assert there[match.images, match.targets].all()
    taken = list(zip(match.images.tolist(), match.queries.tolist(), strict=True))
    assert len(taken) == len(set(taken))
    for image in range(3):
        counts = torch.bincount(match.targets[match.images == image], minlength=objects)
        assert (counts <= most).all()
        served = int((counts > 0).sum())
        assert served == min(int(there[image].sum()), int(valid[image].sum()))
