"""Two collections side by side in a real browser."""

from dataclasses import replace
from pathlib import Path

import pytest

from opendet.inspect.collection import open_collection
from opendet.pages.write import write_pages
from opendet.sample import Sample
from tests.pages.conftest import Visit
from tests.pages.page_world import parted, publish, region, sample, world


def changed(made: list[Sample]) -> list[Sample]:
    """The world a version earlier: another caption, another name, another decision, one sample
    more and one less."""
    before = list(made)
    before[3] = _with(made[3], caption="cat number 3 near dog")
    first = replace(made[4].record.regions[0], names=("kitten",))
    before[4] = _with(made[4], regions=(first, *made[4].record.regions[1:]))
    first = replace(made[5].record.regions[0], refusal="too small")
    before[5] = _with(made[5], regions=(first, region((40, 2, 60, 12), "bird")))
    return [*before[:-1], sample("a-0099", "only there", [region((1, 1, 9, 9), "mouse")])]


def _with(one: Sample, **more: object) -> Sample:
    return Sample(replace(one.record, **more), content=one.content)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    made = world()
    now = open_collection(publish(folder / "now", parted(made, 6)))
    then = publish(folder / "then", {"a-000000": changed(made)}, dropped={"a-0011": "blurred"})
    return write_pages(now, folder / "pages", against=open_collection(then)).out


def at(site: Path, hash_part: str = "") -> str:
    return (site / "compare.html").as_uri() + hash_part


def test_shows_what_differs_and_hides_what_does_not(visit: Visit, compared: Path) -> None:
    visit.open(at(compared))
    assert visit.keys() == ["a-0003", "a-0004", "a-0005", "a-0011", "a-0099"]
    badges = visit.texts(".tile .said")
    assert badges[0] == "caption"
    assert badges[1] == "names"
    assert badges[2].split() == ["boxes", "names", "decisions", "descriptions"]
    assert badges[3] == "fate"
    assert badges[4] == "only there"


def test_counts_names_and_reasons_of_both(visit: Visit, compared: Path) -> None:
    visit.open(at(compared))
    names = visit.texts(".names-changed tr")[1:]
    assert [row.split() for row in names] == [
        ["cat", "11", "8", "+3"],
        ["bird", "gone", "0", "1", "−1"],
        ["kitten", "gone", "0", "1", "−1"],
        ["mouse", "gone", "0", "1", "−1"],
    ]
    reasons = "\n".join(visit.texts("section[aria-labelledby=reasons] tr"))
    assert "dropped in shards: blurred" in reasons
    assert "regions refused: too small" in reasons


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ("kind=only+there", ["a-0099"]),
        ("aspect=names", ["a-0004", "a-0005"]),
        ("kind=the+same&q=0002", ["a-0002"]),
        ("q=0099", ["a-0099"]),
        ("aspect=image", []),
    ],
)
def test_an_address_is_a_filter(
    visit: Visit, compared: Path, filters: str, keys: list[str]
) -> None:
    visit.open(at(compared, f"#{filters}"))
    assert visit.keys() == keys


def test_a_choice_is_a_step_back_away(visit: Visit, compared: Path) -> None:
    page = visit.open(at(compared))
    page.select_option("#aspect", "caption")
    visit.wait("document.querySelectorAll('.tile').length === 1")
    page.go_back()
    visit.wait("document.querySelectorAll('.tile').length === 5")


def test_two_regions_that_changed_stand_side_by_side(visit: Visit, compared: Path) -> None:
    page = visit.open(at(compared, "#sample=a-0005"))
    page.wait_for_selector("dialog[open] .regions")
    here, there = visit.texts(".panel")
    assert "here: now, shards" in here
    assert "refused there: too small" in here
    assert "there: then, shards" in there
    assert "only on this side" in there
    page.locator(".panel").first.locator(".regions li").first.hover()
    assert visit.texts(".regions li.lit b") == ["cat", "cat"]  # its counterpart lights up, too
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('.panel .key').textContent === 'a-0011'")
    assert "dropped in shards: blurred" in visit.texts(".panel")[1]
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('.panel').textContent.includes('not in this collection')")


def test_the_words_that_changed_are_marked(visit: Visit, compared: Path) -> None:
    page = visit.open(at(compared, "#sample=a-0003"))
    page.wait_for_selector("dialog[open] .caption")
    assert visit.texts(".caption mark") == ["beside", "near"]


def test_an_image_of_both_is_cut_once(compared: Path) -> None:
    assert len(list((compared / "pictures/a").rglob("*-small.jpg"))) == 12
    assert len(list((compared / "pictures/b").rglob("*-small.jpg"))) == 1  # a-0099


def test_every_picture_is_there(visit: Visit, compared: Path) -> None:
    page = visit.open(at(compared))
    page.wait_for_selector(".tile .boxes")
    page.wait_for_load_state("networkidle")
    assert visit.ask("[...document.images].every((one) => one.naturalWidth === 64 && one.alt)")
    assert visit.ask("document.images.length") == 8


def test_a_phone_shows_one_above_the_other(visit: Visit, compared: Path) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    page = visit.open(at(compared, "#sample=a-0005"))
    page.wait_for_selector("dialog[open] .regions")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360
