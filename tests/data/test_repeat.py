"""The repeat factors of LVIS, by hand."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.data.repeat import repeat_factors


def test_worked_by_hand() -> None:
    """Of 8 images, 8 show sky (1), 4 a dog (1/2), 1 an okapi (1/8). With t = 1/2: r(sky) = r(dog) =
    1, r(okapi) = sqrt(4) = 2. With t = 1/4: r(okapi) = sqrt(2)."""
    names = [frozenset({"sky"})] * 4 + [frozenset({"sky", "dog"})] * 3
    names.append(frozenset({"sky", "dog", "okapi"}))
    assert repeat_factors(names, threshold=1 / 2).tolist() == [1] * 7 + [2]
    assert repeat_factors(names, threshold=1 / 4).tolist() == pytest.approx([1] * 7 + [sqrt(2)])
    assert repeat_factors(names, threshold=1 / 8).tolist() == [1] * 8


def test_an_image_without_a_name_comes_once() -> None:
    names = [frozenset[str](), frozenset({"okapi"}), frozenset[str](), frozenset[str]()]
    assert repeat_factors(names, threshold=1.0).tolist() == [1, 2, 1, 1]
    assert repeat_factors([], threshold=0.5).shape == (0,)


@given(
    st.lists(st.frozensets(st.sampled_from("abcdef")), min_size=1, max_size=30),
    st.floats(0.001, 1),
)
def test_more_names_and_a_higher_threshold_never_lower_it(
    names: list[frozenset[str]], threshold: float
) -> None:
    factors = repeat_factors(names, threshold=threshold)
    assert np.all(factors >= 1)
    assert np.all(repeat_factors(names, threshold=threshold / 2) <= factors)
    for small, small_factor in zip(names, factors, strict=True):
        for large, large_factor in zip(names, factors, strict=True):
            assert not small <= large or small_factor <= large_factor
