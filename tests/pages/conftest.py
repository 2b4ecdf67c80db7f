"""A headless Chromium for the pages, and what they did: errors, requests."""

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opendet.inspect.collection import open_collection
from opendet.pages.write import write_pages
from tests.pages.page_world import shards

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no playwright: pip install playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox cannot be had by root, whom containers run as
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@dataclass
class Visit:
    """A page, and what it did since it was opened."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def open(self, address: str) -> "Page":
        self.page.goto(address)
        if "index.html" not in address and "pool.html" not in address:
            self.page.wait_for_selector("body[data-ready=yes]")
        return self.page

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def keys(self) -> list[str]:
        """Of the gallery's cards, or of a comparison's rows."""
        return self.texts(".tile .key")

    def wait(self, condition: str) -> None:
        """Until it is true. Playwright's own way is an `eval`, which the policy refuses."""
        for _ in range(500):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came true: {condition}")

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Visit]:
    """Fails where the page logged an error, or asked for what does not lie beside it."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    found = Visit(page)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on(
        "console",
        lambda said: found.errors.append(said.text) if said.type == "error" else None,
    )
    page.on("request", lambda request: found.addresses.append(request.url))
    yield found
    context.close()
    assert found.errors == []
    away = [one for one in found.addresses if not one.startswith(("file://", "http://127.0.0.1:"))]
    assert away == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the small world; not to be changed."""
    folder = tmp_path_factory.mktemp("site")
    collection = open_collection(shards(folder / "toy"))
    return write_pages(collection, folder / "pages").out


@pytest.fixture
def gallery(visit: Visit, site: Path) -> Visit:
    """The gallery of the small world, opened."""
    visit.open((site / "gallery.html").as_uri())
    return visit
