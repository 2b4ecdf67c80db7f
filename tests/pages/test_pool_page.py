"""The page of a pool: prototypes with their neighbours, and no page where there is no pool."""

from dataclasses import replace
from pathlib import Path

import pytest

from opendet.curate.pool import write_pool
from opendet.inspect.collection import Collection, open_collection
from opendet.pages.pool_page import listed
from opendet.pages.write import write_pages
from tests.pages.conftest import Visit
from tests.pages.page_world import MARKUP, shards
from tests.pools.pool_world import Spot, pool_of

SPOTS = (
    Spot("cat", ("cat", "cat", "kitten"), (1, 0, 0)),
    Spot("dog", ("dog", "dog"), (0.8, 0.6, 0)),
    Spot(MARKUP, (MARKUP,), (0, 0, 1), parent=1),
)


@pytest.fixture
def built(tmp_path: Path) -> Collection:
    """A build with a pool beside its shards."""
    folder = tmp_path / "build"
    folder.mkdir()
    collection = open_collection(shards(folder / "shards", 3))
    write_pool(folder / "prototypes", pool_of(SPOTS))
    return replace(collection, build_folder=folder)


def test_prototypes_with_their_neighbours() -> None:
    found = listed(pool_of(SPOTS))
    assert [one.name for one in found][:2] == ["cat", "dog"]
    nearest = found[0].neighbours[0]
    assert (nearest.name, nearest.cosine) == ("dog", "0.80")
    assert len(found[0].neighbours) == 2
    assert found[0].size == 3
    assert found[0].link == "gallery.html#name=cat"


def test_a_single_prototype_has_no_neighbour() -> None:
    assert listed(pool_of(SPOTS[:1]))[0].neighbours == ()


def test_the_page_finds_and_links(built: Collection, tmp_path: Path, visit: Visit) -> None:
    out = write_pages(built, tmp_path / "pages").out
    page = visit.open((out / "pool.html").as_uri())
    assert page.locator("svg.pool circle").count() == 3
    assert len(visit.texts("#prototypes tbody tr")) == 3
    page.fill("#find", "kitten dog")
    assert page.locator("#prototypes tbody tr:visible").count() == 0
    page.fill("#find", "DOG")
    assert page.locator("#prototypes tbody tr:visible").count() >= 1
    assert visit.ask("window.planted") is None
    page.locator("#prototypes tbody th a:visible", has_text="dog").click()
    page.wait_for_selector("body[data-ready=yes]")
    assert visit.keys() == ["a-0000", "a-0002"]


def test_a_damaged_pool_harms_no_other_page(built: Collection, tmp_path: Path) -> None:
    assert built.build_folder
    (built.build_folder / "prototypes" / "health.json").write_text("{}")
    out = write_pages(built, tmp_path / "pages").out
    assert "holds no pool" in (out / "pool.html").read_text()
    assert (out / "gallery.html").is_file()


def test_no_page_without_a_pool(tmp_path: Path) -> None:
    out = write_pages(open_collection(shards(tmp_path / "toy", 3)), tmp_path / "pages").out
    assert not (out / "pool.html").exists()
    assert "pool.html" not in (out / "index.html").read_text()
