"""Singulars and kinds of things."""

import pytest

from opendet.annotators.english import kind_of, singular

SINGULARS = """
stars star|crosses cross|boxes box|dishes dish|benches bench|buses bus|rhombuses rhombus|
houses house|horses horse|vases vase|cherries cherry|ties tie|people person|men man|knives knife|
potatoes potato|shoes shoe|glasses glasses|scissors scissors|bus bus|grass grass|tennis tennis|
cactus cactus|lens lens|gas gas|striped striped|dog dog|fuzz fuzz|quizzes quiz
"""


@pytest.mark.parametrize("pair", "".join(SINGULARS.split("\n")).split("|"))
def test_singular(pair: str) -> None:
    plural, expected = pair.split()
    assert singular(plural) == expected


def test_a_name_that_its_last_word_would_mislead_about() -> None:
    assert kind_of(("big", "hot", "dog")) == "hot dog"
    assert kind_of(("big", "dog")) == "dog"
    assert kind_of(()) == ""
