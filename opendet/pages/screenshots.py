"""The documentation's pictures of the inspector: `python -m opendet.pages.screenshots BUILD DOCS`.

BUILD is a build's folder with shards and the stage `embed`, the state before the filter that the
comparison shows. Needs playwright and Debian's chromium, as the tests of the pages do.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.console import exit_code_of
from opendet.files import write_durably
from opendet.inspect.collection import open_collection
from opendet.pages.write import write_pages

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SIZE = {"width": 1180, "height": 780}


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    page: str
    shown: str
    """A selector to wait for."""
    hovered: str = ""
    """A selector to lay the pointer on."""


_REFUSED = "gallery.html#why=refused&sample={key}"
SHOTS = (
    Shot("inspect.png", "gallery.html", ".tile .boxes"),
    Shot("inspect_sample.png", _REFUSED, "dialog[open] .regions", ".phrase:not(.nowhere)"),
    Shot("inspect_compare.png", "compare.html#sample={key}", "dialog[open] .regions"),
)


def make_screenshots(build: Path, docs: Path) -> None:
    """Write the pictures. Raises ValueError, in one line, where no browser can draw them."""
    program = shutil.which("chromium")
    if program is None:
        raise ValueError("no chromium to draw with: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ValueError("playwright drives the browser: pip install playwright") from error
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        before = open_collection(build / "embed")
        site = write_pages(open_collection(build), Path(folder) / "pages", against=before).out
        # the sandbox cannot be had by root, whom containers run as
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE, color_scheme="light")  # type: ignore[arg-type]
        key = _refused_sample(page, site)
        for shot in SHOTS:
            write_durably(docs / shot.name, _drawn(page, site, shot, key))
        browser.close()


def _refused_sample(page: "Page", site: Path) -> str:
    """The first sample with a refused region."""
    page.goto((site / "gallery.html").as_uri() + "#why=refused")
    page.wait_for_selector("body[data-ready=yes] .tile .key")
    return page.locator(".tile .key").first.inner_text()


def _drawn(page: "Page", site: Path, shot: Shot, key: str) -> bytes:
    path, _, state = shot.page.format(key=key).partition("#")
    page.goto("about:blank")  # else a change of the state alone is no new page
    page.goto(f"{(site / path).as_uri()}#{state}")
    page.wait_for_selector("body[data-ready=yes]")
    page.wait_for_selector(shot.shown)
    if shot.hovered:
        page.locator(shot.hovered).first.hover()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)  # boxes fade in
    return page.screenshot()


def _main() -> int:
    if len(sys.argv) != 3:
        raise ValueError("name a build's folder and where the pictures go")
    make_screenshots(Path(sys.argv[1]), Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(_main))
