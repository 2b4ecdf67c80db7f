"""The gallery in a real browser: filters, search, links under the pointer and the keyboard."""

from pathlib import Path

import pytest

from opendet.inspect.collection import open_collection
from opendet.pages.write import write_pages
from tests.pages.conftest import Visit
from tests.pages.page_world import MARKUP, MARKUP_KEY, publish, sample, shards

LINKED = "#sample=a-0000"


def at(site: Path, hash_part: str = "", page: str = "gallery.html") -> str:
    return (site / page).as_uri() + hash_part


def test_shows_all_samples_and_those_that_left(gallery: Visit) -> None:
    keys = gallery.keys()
    assert keys[:2] == ["a-0000", "a-0001"]
    assert sorted(keys[-2:]) == ["a-failed", "a-gone"]
    assert gallery.texts("#count") == ["14 samples"]
    assert "dropped: exact duplicate" in gallery.texts(".tile .nothing")


def test_pictures_are_there_and_boxes_lie_on_them(gallery: Visit) -> None:
    gallery.page.wait_for_selector(".tile .boxes")
    widths = gallery.ask(
        "[...document.querySelectorAll('.tile img')].slice(0, 6).map((one) => one.naturalWidth)"
    )
    assert widths == [64] * 6
    edge = gallery.page.locator(".tile").first.locator("rect.edge").first
    box = [float(edge.get_attribute(name) or 0) for name in ("x", "y", "width", "height")]
    assert box == pytest.approx([4, 4, 26, 24], abs=0.05)  # in thousandths of 64 x 48


def test_filters_by_name_and_keeps_them_in_the_address(gallery: Visit) -> None:
    gallery.page.fill("#name", "dog")
    gallery.page.press("#name", "Enter")
    gallery.page.wait_for_selector("#names .chipped")
    assert gallery.keys() == [f"a-{number:04d}" for number in range(0, 12, 2)]
    assert "name=dog" in gallery.page.url
    gallery.page.go_back()
    gallery.wait("!document.querySelector('#names .chipped')")
    assert len(gallery.keys()) == 14


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ("name=dog&name=birds", ["a-0000", "a-0006"]),
        ("split=val", ["a-0011"]),
        ("why=refused%3A+disagrees", ["a-0000", "a-0003", "a-0006", "a-0009"]),
        ("why=crowd&name=birds", ["a-0000", "a-0003", "a-0006", "a-0009"]),
        ("why=dropped%3A+exact+duplicate", ["a-gone"]),
        ("why=quarantined", ["a-failed"]),
        ("why=gone", ["a-gone", "a-failed"]),
        ("name=cat&from=0.9", ["a-0010", "a-0011"]),
        ("name=cat&by=agreement&from=0.45&to=0.48", ["a-0010"]),
        ("name=cat&from=0.7&sort=high-score", ["a-0011", "a-0010", "a-0009", "a-0008"]),
        ("q=NUMBER+7", ["a-0007"]),
        ("q=0003", ["a-0003"]),
        ("q=birds&sort=key", ["a-0000", "a-0003", "a-0006", "a-0009"]),
        ("name=nobody+says+this", []),
    ],
)
def test_an_address_is_a_filter(visit: Visit, site: Path, filters: str, keys: list[str]) -> None:
    visit.open(at(site, f"#{filters}"))
    assert visit.keys() == keys


def test_search_while_typing_leaves_one_step_back(visit: Visit, site: Path) -> None:
    visit.open((site / "index.html").as_uri())
    page = visit.open(at(site))
    page.locator("#q").press_sequentially("number 1", delay=5)
    visit.wait("document.querySelectorAll('.tile').length === 2")
    assert visit.keys() == ["a-0010", "a-0011"]
    page.go_back()
    assert page.url.endswith("index.html")


def test_a_phrase_lights_its_box_and_a_box_its_phrase(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, LINKED))
    page.wait_for_selector("dialog[open] .regions")
    phrase = page.locator(".caption .phrase", has_text="a dog")
    phrase.hover()
    assert visit.texts(".regions li.lit b") == ["dog"]
    assert visit.ask("document.querySelector('.stage g.lit').dataset.region") == "1"
    page.mouse.move(2, 2)
    assert page.locator(".lit").count() == 0
    page.locator('.stage g[data-region="0"] .edge').hover(position={"x": 12, "y": 12})
    assert visit.texts(".phrase.lit") == ["a cat"]
    page.mouse.move(2, 2)
    page.locator(".regions li").nth(1).focus()  # and by the keyboard
    assert visit.texts(".phrase.lit") == ["a dog"]
    page.locator(".phrase", has_text="a cat").focus()
    assert visit.texts(".regions li.lit b") == ["cat"]


def test_a_phrase_that_nothing_was_found_for_says_so(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, LINKED))
    page.wait_for_selector("dialog[open]")
    assert visit.texts(".phrase.nowhere") == ["nothing"]
    assert visit.texts(".caption") == ["😀 a cat beside a dog and nothing"]


def test_a_mask_is_painted_where_it_is(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, LINKED))
    page.wait_for_selector("canvas.masks")
    alpha = """([x, y]) => document.querySelector('canvas.masks').getContext('2d')
        .getImageData(x, y, 1, 1).data[3]"""
    inside = [page.evaluate(alpha, place) for place in ([5, 4], [29, 27], [4, 5])]
    outside = [page.evaluate(alpha, place) for place in ([4, 4], [30, 10], [10, 28], [3, 10])]
    assert all(inside)
    assert not any(outside)
    colour = """[...document.querySelector('canvas.masks').getContext('2d')
        .getImageData(10, 10, 1, 1).data].slice(0, 3)"""
    assert visit.ask(colour) == pytest.approx([255, 210, 63], abs=3)  # its name's, the first one
    page.get_by_role("button", name="masks").click()
    assert not page.locator("canvas.masks").is_visible()


def test_a_refused_crowd_says_both(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, LINKED))
    page.wait_for_selector("dialog[open] .regions")
    assert visit.texts(".regions .verdict.refused")[0].startswith("refused: disagrees, a crowd")
    assert page.locator(".stage g.refused.crowd").count() == 1
    page.get_by_role("button", name="refused").click()
    assert not page.locator(".stage g.refused").is_visible()


def test_keys_walk_through_the_filtered_samples(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, "#name=dog&sample=a-0002"))
    page.wait_for_selector("dialog[open]")
    assert visit.texts("#where") == ["2 of 6"]
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('.panel .key').textContent === 'a-0004'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    visit.wait("document.querySelector('.panel .key').textContent === 'a-0000'")
    page.keyboard.press("ArrowLeft")  # there is none before it
    assert page.locator("#before").is_disabled()
    page.keyboard.press("b")
    assert page.locator("#alone.without-boxes").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert "sample=" not in page.url
    assert "name=dog" in page.url


def test_a_sample_opens_from_the_keyboard_and_gives_the_focus_back(gallery: Visit) -> None:
    page = gallery.page
    page.locator(".tile").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert gallery.texts(".panel .key") == ["a-0002"]
    page.keyboard.press("Escape")
    gallery.wait("document.activeElement.classList.contains('tile')")
    assert gallery.ask("document.activeElement.textContent.includes('a-0002')")


def test_the_way_to_the_content_keeps_the_filters(visit: Visit, site: Path) -> None:
    page = visit.open((site / "gallery.html").as_uri() + "#name=dog")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    visit.wait("document.activeElement.id === 'main'")
    assert visit.ask("location.hash") == "#name=dog"
    assert len(visit.keys()) == 6


def test_planted_markup_stays_text(visit: Visit, site: Path) -> None:
    visit.open(at(site, page="index.html"))
    assert visit.ask("window.planted") is None
    for part in ("", f"#sample={MARKUP_KEY}"):
        page = visit.open(at(site, part))
        assert visit.ask("window.planted") is None
    page.wait_for_selector("dialog[open]")
    assert MARKUP in visit.texts(".caption")[0]
    assert "\u202e" not in visit.texts(".caption")[0]
    assert visit.texts(".regions b") == [f"{MARKUP}name"]
    assert page.locator("main img[src=x], main script").count() == 0


def test_the_policy_refuses_what_markup_would_do(visit: Visit, site: Path) -> None:
    """What the texts cannot do, they could not do either if they were not escaped."""
    page = visit.open(at(site))
    tries = [
        "document.body.innerHTML = '<b>x</b>'",
        "made.textContent = 'window.planted = 3'",
        "made.setAttribute('onerror', 'window.planted = 2')",
        "made.src = 'https://example.org/x.js'",
    ]
    for one in tries:
        tried = f"const made = document.createElement('script'); {one}; document.body.append(made)"
        said = visit.ask(f"() => {{ try {{ {tried} }} catch (error) {{ return String(error) }} }}")
        assert "Trusted" in said, one
    assert page.evaluate("window.planted") is None
    visit.errors.clear()  # the browser's own words on what it refused


def test_paging(visit: Visit, tmp_path: Path) -> None:
    many = [sample(f"a-{number:04d}", f"number {number}") for number in range(130)]
    collection = open_collection(publish(tmp_path / "many", {"a-000000": many}))
    out = write_pages(collection, tmp_path / "pages").out
    page = visit.open(at(out))
    assert visit.keys() == [f"a-{number:04d}" for number in range(60)]
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('.tile .key').textContent === 'a-0060'")
    assert "page=2" in page.url
    page.get_by_role("button", name="last page").first.click()
    visit.wait("document.querySelector('.tile .key').textContent === 'a-0120'")
    assert len(visit.keys()) == 10
    page.go_back()
    visit.wait("document.querySelector('.tile .key').textContent === 'a-0060'")
    visit.open(at(out, "#page=99"))  # beyond the last one
    assert visit.keys()[0] == "a-0120"


@pytest.mark.parametrize(
    ("name", "part"), [("index.html", ""), ("gallery.html", ""), ("gallery.html", LINKED)]
)
def test_nothing_is_wider_than_a_phone(visit: Visit, site: Path, name: str, part: str) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    page = visit.open(at(site, part, name))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if part:
        page.wait_for_selector("dialog[open]")
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360


def test_dark_where_the_reader_wants_it(visit: Visit, site: Path) -> None:
    shade = "parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    page = visit.open(at(site))
    assert page.evaluate(shade) > 200
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(shade) < 60


def test_every_picture_has_words(visit: Visit, site: Path) -> None:
    page = visit.open(at(site, LINKED))
    page.wait_for_selector("dialog[open] .regions")
    page.wait_for_selector(".tile .boxes")
    assert visit.ask("[...document.images].every((one) => one.alt.length > 3)")
    unnamed = """[...document.querySelectorAll('input, select')].filter(
        (one) => !one.labels?.length && !one.getAttribute('aria-label')).length"""
    assert visit.ask(unnamed) == 0


def test_the_overview_leads_to_the_samples_of_a_name(visit: Visit, site: Path) -> None:
    page = visit.open((site / "index.html").as_uri())
    page.get_by_role("link", name="dog", exact=True).click()
    page.wait_for_selector("body[data-ready=yes]")
    assert visit.keys() == [f"a-{number:04d}" for number in range(0, 12, 2)]


def test_a_missing_data_file_is_told(visit: Visit, tmp_path: Path) -> None:
    out = write_pages(open_collection(shards(tmp_path / "toy")), tmp_path / "pages").out
    (out / "data/a/0001/index.js").unlink()
    page = visit.page
    page.goto(at(out))
    page.wait_for_selector("#trouble:not([hidden])")
    assert "data/a/0001/index.js cannot be read" in visit.texts("#trouble")[0]
    assert visit.keys()[:1] == ["a-0000"]  # what could be read is shown
    assert [one for one in visit.errors if "ERR_FILE_NOT_FOUND" not in one] == []
    visit.errors.clear()
