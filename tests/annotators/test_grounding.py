"""Which regions a phrase speaks of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.annotators.grounding import ground

SCENE = ["red striped star", "blue plain ring", "red dotted star", "blue striped star"]
STREET = ["person", "motorcycle", "bicycle", "traffic_light", "hot dog", "dog", "bow_(ribbon)"]


@pytest.mark.parametrize(
    ("phrase", "regions"),
    [
        ("two red stars", (0, 2)),
        ("The red striped star", (0,)),
        ("three stars", (0, 2, 3)),
        ("a large star", (0, 2, 3)),
        ("striped stars", (0, 3)),
        ("a green star", ()),
        ("a plain star", ()),
        ("the rings", (1,)),
        ("the left", ()),
        ("a red", ()),
        ("the", ()),
        ("", ()),
        ("🙂", ()),
    ],
)
def test_scenes(phrase: str, regions: tuple[int, ...]) -> None:
    assert ground(phrase, [[label] for label in SCENE]) == regions


@pytest.mark.parametrize(
    ("phrase", "label"),
    [
        ("three young women", "person"),
        ("a motor bike", "motorcycle"),
        ("the traffic lights", "traffic_light"),
        ("a hot dog", "hot dog"),
        ("two small dogs", "dog"),
        ("a pink bow", "bow_(ribbon)"),
    ],
)
def test_street(phrase: str, label: str) -> None:
    assert ground(phrase, [[said] for said in STREET]) == (STREET.index(label),)


def test_the_very_same_kind_goes_before_a_broader_one() -> None:
    assert ground("a man", [["person"], ["man"]]) == (1,)
    assert ground("a person", [["man"], ["dog"]]) == (0,)


def test_synonyms_of_the_user() -> None:
    cells = [["rbc"], ["wbc"]]
    assert ground("some erythrocytes", cells) == ()
    assert ground("some erythrocytes", cells, {"erythrocyte": ("rbc",)}) == (0,)


def test_a_region_that_nobody_named() -> None:
    assert ground("a star", [[], ["red star"], []]) == (1,)


@given(st.text(), st.lists(st.lists(st.text(), max_size=3), max_size=4))
def test_any_text_grounds_to_regions_in_order(phrase: str, sayings: list[list[str]]) -> None:
    found = ground(phrase, sayings)
    assert list(found) == sorted(set(found))
    assert all(0 <= index < len(sayings) for index in found)


@given(st.sampled_from(SCENE), st.permutations(range(len(SCENE))))
def test_the_order_of_regions_changes_nothing_else(phrase: str, order: list[int]) -> None:
    found = ground(phrase, [[SCENE[index]] for index in order])
    assert {SCENE[order[index]] for index in found} == {phrase}
