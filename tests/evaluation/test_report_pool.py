"""The pool's picture: every prototype a dot, hostile names text, labels that touch nothing."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from opendet.curate.pool import Level, Member, Prototype
from opendet.evaluation.report import render_pool, render_pool_svg
from opendet.evaluation.report_pool import CANVAS, COLOURS, LABELS, PoolPicture, pool_picture
from opendet.pools.figures import at_least

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"'><script>alert(1)</script>"


def prototypes(count: int, *, parents: int = 3) -> list[Prototype]:
    coarse = [Prototype("coarse", i, -1, 9, Member("k", 0, f"family {i}")) for i in range(parents)]
    fine = [
        Prototype("fine", i, i % parents, 1 + i, Member("k", 0, f"name {i}")) for i in range(count)
    ]
    return [*coarse, *fine]


def vectors(count: int, *, parents: int = 3) -> dict[Level, np.ndarray]:
    rng = np.random.default_rng(0)
    made: dict[Level, np.ndarray] = {}
    for level, rows in (("coarse", parents), ("fine", count)):
        found = rng.normal(size=(rows, 8))
        made[level] = found / np.linalg.norm(found, axis=1, keepdims=True)  # type: ignore[index]
    return made


@pytest.fixture(scope="module")
def picture() -> PoolPicture:
    found = pool_picture(prototypes(40), vectors(40))
    assert found is not None
    return found


def test_every_prototype_is_a_dot_inside_the_picture(picture: PoolPicture) -> None:
    assert (len(picture.dots), picture.of, picture.level) == (40, 40, "fine")
    for dot in picture.dots:
        assert dot.radius <= dot.x <= CANVAS.width - dot.radius
        assert dot.radius <= dot.y <= CANVAS.height - dot.radius
        assert 0 <= dot.colour < COLOURS
    radii = [dot.radius for dot in picture.dots]
    assert radii == sorted(radii, reverse=True)
    assert radii[0] > radii[-1]
    assert picture.dots[0].title == "name 39: 40 members, family of family 0"
    assert picture.dots[-1].title == "name 0: 1 member, family of family 0"


def test_a_family_has_one_colour(picture: PoolPicture) -> None:
    families: dict[str, set[int]] = {}
    for dot in picture.dots:
        families.setdefault(dot.title.rsplit(" ", 1)[1], set()).add(dot.colour)
    assert sorted(map(len, families.values())) == [1, 1, 1]
    assert len(set.union(*families.values())) == 3


def test_labels_touch_no_other_and_name_the_largest(picture: PoolPicture) -> None:
    assert 0 < len(picture.labels) <= LABELS
    assert picture.labels[0].text == "name 39"
    boxes = [(one.x, one.y, len(one.text) * 6.1) for one in picture.labels]
    for place, (x, y, width) in enumerate(boxes):
        assert 0 < y < CANVAS.height
        assert width / 2 <= x <= CANVAS.width - width / 2
        for other_x, other_y, other_width in boxes[:place]:
            assert abs(y - other_y) >= 13 or abs(x - other_x) >= (width + other_width) / 2


def test_a_label_lies_on_no_dot_that_bears_another_name() -> None:
    """Pairs of alike prototypes, a large one and a small one at its side."""
    count = 60
    made = vectors(count)
    made["fine"][1::2] = made["fine"][::2] + 0.01 * made["fine"][1::2]
    made["fine"] /= np.linalg.norm(made["fine"], axis=1, keepdims=True)
    sizes = [50 if row % 2 == 0 else 20 for row in range(count)]
    members = [Member("k", 0, f"thing number {row}") for row in range(count)]
    found = pool_picture(
        [Prototype("fine", row, 0, sizes[row], members[row]) for row in range(count)], made
    )
    assert found is not None
    dots = {dot.title.split(":")[0]: dot for dot in found.dots}
    named = [(one, dots[one.text]) for one in found.labels]
    assert len(named) > count / 3
    for place, (_, dot) in enumerate(named):
        for label, _ in named[place + 1 :]:
            beside = abs(label.x - dot.x) > len(label.text) * 6.1 / 2
            assert beside or not label.y - 10 < dot.y < label.y + 3


def test_a_name_is_written_once_and_a_long_one_is_cut() -> None:
    long = "a very long name of something that has no short one"
    same = [
        Prototype("fine", i, 0, 5, Member("k", 0, long if i == 0 else "thing")) for i in range(20)
    ]
    found = pool_picture(same, vectors(20))
    assert found is not None
    texts = [one.text for one in found.labels]
    assert len(texts) == len(set(texts)) == 2
    assert "a very long name of somet…" in texts
    assert long in found.dots[0].title


def test_too_many_are_cut_to_the_largest() -> None:
    found = pool_picture(prototypes(40), vectors(40), most=15)
    assert found is not None
    assert (len(found.dots), found.of) == (15, 40)
    assert found.dots[-1].title.startswith("name 25: ")
    page = render_pool("p", found)
    assert "The 15 largest of 40 fine prototypes" in page


def test_coarse_prototypes_where_there_are_no_fine_ones() -> None:
    found = pool_picture(prototypes(0), vectors(0))
    assert found is not None
    assert (found.level, found.of) == ("coarse", 3)
    assert found.dots[0].title == "family 0: 9 members"
    assert pool_picture(prototypes(0, parents=1), vectors(0, parents=1)) is None
    assert pool_picture([], {}) is None


def test_the_svg_stands_alone_and_is_the_same_twice(tmp_path: Path, picture: PoolPicture) -> None:
    text = render_pool_svg("my pool", picture)
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert len(root.findall(f"{SVG}circle")) == 40
    assert len(root.findall(f"{SVG}text")) == len(picture.labels)
    assert "prefers-color-scheme: dark" in text
    assert text.replace("http://www.w3.org/2000/svg", "").count("http") == 0
    again = pool_picture(prototypes(40), vectors(40))
    assert again is not None
    assert render_pool_svg("my pool", again) == text


def test_hostile_names_stay_text() -> None:
    bad = [
        Prototype("fine", i, 0, 5, Member("k", 0, HOSTILE + str(i) if i else "\u202e\x00"))
        for i in range(14)
    ]
    found = pool_picture(bad, vectors(14))
    assert found is not None
    for page in (render_pool(HOSTILE, found), render_pool_svg(HOSTILE, found)):
        assert "<script" not in page
    ET.fromstring(render_pool_svg(HOSTILE, found))


def test_the_page_tells_the_health(picture: PoolPicture) -> None:
    good, bad = at_least("noise", 0.9, 0.5, "why"), at_least("purity", 0.1, 0.5, "what for")
    page = render_pool("p", picture, (good, bad))
    assert '<td class="right">90.0% ✓</td>' in page
    assert '<td class="wrong">10.0% ✗</td>' in page
    assert "what for" in page
    assert "Its health" not in render_pool("p", picture)
