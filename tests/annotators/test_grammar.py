"""The grammar: what it says is true of the boxes, and its errors come in the share asked for."""

import re
from itertools import pairwise, permutations

import numpy as np
import pytest

from opendet.annotators.grammar import (
    Named,
    draw,
    write_caption,
    write_description,
    wrong_name,
)
from opendet.annotators.phrasing import counted, listed, plural, with_article
from opendet.annotators.relations import gap_between, place_of, relation_of
from opendet.record import BoxXYXY
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.scenes import SceneVocabulary, draw_batch_scene

VOCABULARY = tuple(SceneVocabulary.from_seed(0).tiers)
RELATIONS = "left of|right of|above|below|overlaps?|next to"


def random_boxes(count: int) -> list[BoxXYXY]:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 100, (count, 2))
    sides = rng.uniform(5, 60, (count, 2))
    return [tuple(map(float, row)) for row in np.hstack((corners, corners + sides))]


@pytest.mark.parametrize(
    ("name", "one", "many"),
    [
        ("red striped star", "a red striped star", "red striped stars"),
        ("orange plain cross", "an orange plain cross", "orange plain crosses"),
        ("person", "a person", "people"),
        ("bus", "a bus", "buses"),
        ("wine glass", "a wine glass", "wine glasses"),
        ("knife", "a knife", "knives"),
        ("scissors", "some scissors", "scissors"),
        ("sheep", "a sheep", "sheep"),
        ("umbrella", "an umbrella", "umbrellas"),
        ("unicorn", "a unicorn", "unicorns"),
        ("hourglass", "an hourglass", "hourglasses"),
        ("RBC", "an RBC", "RBCs"),
        ("WBC", "a WBC", "WBCs"),
        ("Platelets", "some Platelets", "Platelets"),
        ("skis", "some skis", "skis"),
        ("teddy bear", "a teddy bear", "teddy bears"),
        ("puppy", "a puppy", "puppies"),
        ("toy", "a toy", "toys"),
    ],
)
def test_articles_and_plurals(name: str, one: str, many: str) -> None:
    assert with_article(name) == one == counted(name, 1)
    assert plural(name) == many
    assert counted(name, 3) == f"three {many}"
    assert counted(name, 12) == f"12 {many}"


def test_lists() -> None:
    assert [listed("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_relations_hold_and_turn_round_with_their_arguments() -> None:
    turned = {"left of": "right of", "above": "below"}
    turned |= {second: first for first, second in turned.items()}
    seen = set()
    for a, b in pairwise(random_boxes(400)):
        relation = relation_of(a, b)
        seen.add(relation)
        assert relation_of(b, a) == turned.get(relation, relation)
        assert_holds(relation, a, b)
    assert seen == {"left of", "right of", "above", "below", "overlapping", "next to"}


def assert_holds(relation: str, a: BoxXYXY, b: BoxXYXY) -> None:
    touch = min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
    truth = {
        "left of": a[2] <= b[0],
        "right of": a[0] >= b[2],
        "above": a[3] <= b[1],
        "below": a[1] >= b[3],
        "overlapping": touch,
        "overlaps": touch,
        "next to": touch,
    }
    assert truth[relation], (relation, a, b)


def test_the_gap_between_boxes() -> None:
    assert gap_between((0, 0, 1, 1), (4, 5, 6, 6)) == pytest.approx(5)
    assert gap_between((0, 0, 1, 1), (3, 0, 4, 1)) == pytest.approx(2)
    assert gap_between((0, 0, 3, 3), (1, 1, 2, 2)) == 0


def test_places() -> None:
    def place(x: float, y: float) -> str:
        return place_of((x - 1, y - 1, x + 1, y + 1), width=90, height=60)

    assert place(10, 10) == "in the top left"
    assert place(80, 50) == "in the bottom right"
    assert place(45, 5) == "at the top"
    assert place(5, 30) == "on the left"
    assert place(45, 30) == "in the centre"


def test_captions_of_scenes_count_rightly_and_tell_true_relations() -> None:
    relations = 0
    for index in range(60):
        scene = draw_batch_scene(SceneSettings(), batch="a", split="train", index=index)
        (caption,) = scene.captions
        names = [thing.name for thing in scene.objects]
        for name in set(names):
            assert counted(name, names.count(name)) in caption
        boxes = {t.name: t.box_xyxy for t in scene.objects if names.count(t.name) == 1}
        for first, relation, second in re.findall(
            rf"The ([\w ]+?) (?:is )?({RELATIONS}) the ([\w ]+)\.", caption
        ):
            relations += 1
            assert_holds(relation, boxes[first], boxes[second])
        for name, place in re.findall(r"The (\w+ \w+ \w+) is ((?:in|on|at) the [\w ]+)\.", caption):
            assert place == place_of(boxes[name], width=128, height=128)
    assert relations > 60


def test_captions_speak_of_what_can_be_pointed_at_only() -> None:
    things = [
        Named("cat", (0, 0, 9, 9)),
        Named("cat", (20, 0, 29, 9)),
        Named("dog", (0, 20, 9, 29)),
    ]
    caption = write_caption(things, width=30, height=30, key="k")
    assert "two cats and a dog." in caption
    assert "the cat" not in caption.lower()


def test_captions_of_nothing_of_crowds_and_of_very_much() -> None:
    assert write_caption([], width=9, height=9, key="k") == "An empty scene."
    crowd = write_caption([Named("person", (0, 0, 9, 9), crowd=True)], width=9, height=9, key="k")
    assert crowd.endswith("a group of people.")
    many = [
        Named(name, (float(i), 0, i + 1.0, 40.0 - i / 10)) for i, name in enumerate(VOCABULARY[:30])
    ]
    caption = write_caption(many, width=40, height=40, key="k")
    assert "and 22 more things." in caption
    assert len(caption) < 800


def test_captions_hang_on_the_key_alone() -> None:
    things = [Named(VOCABULARY[i], box) for i, box in enumerate(random_boxes(9))]
    captions = {write_caption(things, width=160, height=160, key=str(key)) for key in range(40)}
    assert len(captions) > 10
    again = write_caption(things, width=160, height=160, key="0")
    assert again == write_caption(tuple(things), width=160, height=160, key="0")


def test_a_description_names_its_place_and_its_neighbour() -> None:
    star = Named("red striped star", (2, 80, 20, 98))
    ring = Named("blue plain ring", (30, 80, 50, 99))
    far = Named("orange plain heart", (80, 2, 98, 20))
    said = {"said": star.name, "width": 100, "height": 100}
    assert (
        write_description(star, [far, ring], **said)
        == "a red striped star in the bottom left, left of a blue plain ring"
    )
    assert write_description(star, [], **said) == "a red striped star in the bottom left"
    twin = Named(star.name, (0, 0, 10, 10))
    assert write_description(star, [twin], **said).endswith("below another red striped star")
    crowd = Named("person", (0, 0, 99, 99), crowd=True)
    assert (
        write_description(crowd, [crowd], said="person", width=100, height=100)
        == "a group of people in the centre"
    )


def wrong(name: str, share: float, index: int, vocabulary: tuple[str, ...] = VOCABULARY) -> str:
    return wrong_name(name, vocabulary, one_word_share=share, seed=0, key="k", index=index)


def test_wrong_names_are_wrong_known_and_swap_one_word_where_asked() -> None:
    name = "red striped star"
    swapped = [wrong(name, 1.0, index) for index in range(200)]
    anything = [wrong(name, 0.0, index) for index in range(200)]
    for other in swapped:
        assert sum(a != b for a, b in zip(name.split(), other.split(), strict=True)) == 1
    places = {
        [a != b for a, b in zip(name.split(), other.split(), strict=True)].index(True)
        for other in swapped
    }
    assert places == {0, 1, 2}
    assert name not in anything
    assert set(anything) <= set(VOCABULARY)
    assert len(set(anything)) > 60


@pytest.mark.parametrize("name", ["person", "RBC", "wine glass"])
def test_wrong_names_of_single_words_are_other_labels(name: str) -> None:
    vocabulary = ("RBC", "WBC", "person", "wine bottle", "wine glass")
    found = {wrong(name, 0.5, index, vocabulary) for index in range(60)}
    assert found == set(vocabulary) - {name}


def test_draws_are_even_and_differ_by_argument() -> None:
    draws = np.array([draw(0, key, index) for key in "abcd" for index in range(500)])
    assert len(np.unique(draws)) == 2000
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert abs(counts - 200).max() < 60
    assert len({draw(*order) for order in permutations("abc")}) == 6
