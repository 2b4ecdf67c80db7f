"""A build whose every text was written to be run, and all that is made of it for people to see.

A name, a caption, a licence, a title and a file's name hold markup, a template's braces, and codes
that steer a terminal.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from html.parser import HTMLParser
from pathlib import Path

from opendet.faults.malicious_attack import Attack
from opendet.faults.toy_project import BUILD, SIZE, encoded, make_project, picture, run_opendet

MARKUP = (
    "<script>fired()</script><img src=x onerror=fired()> {{7*7}} {% raw %} ${7*7} {0.__class__}"
)
STEERING = "\x1b]0;fired\x07\x1b[2J\u202ederif\u2028 [bold]"
TEXT = f"{MARKUP} {STEERING}"
FILE = "<img src=x onerror=fired()>.jpg"
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_COMMANDS: dict[str, Sequence[str]] = {
    "stats": ("data", "stats"),
    "lint": ("data", "lint"),
    "why": ("data", "why", "b-0"),
    "inspect": ("inspect", f"datasets/{BUILD}"),
    "inspect a sample": ("inspect", f"datasets/{BUILD}/shards", "b-0", "--no-picture"),
    "inspect as JSON": ("inspect", f"datasets/{BUILD}/shards", "b-0", "--json"),
    "card": ("data", "card"),
    "pool card": ("pool", "card", f"datasets/{BUILD}/prototypes"),
}
"""What prints texts."""
_WRITERS: dict[str, Sequence[str]] = {
    "report": ("report",),
    "pages": ("inspect", f"datasets/{BUILD}", "--html", "pages", "--processes", "0"),
    "pool page": ("pool", "look", f"datasets/{BUILD}/prototypes", "--out", "pool.html"),
    "cards": ("data", "card", "--out", "card"),
}
"""What writes pages of them."""


@lru_cache
def _project(root: Path) -> Path:
    """Built as far as the shards, and all pages written. Raises AssertionError where that fails."""
    batch = {"name": "b", "split": "train", "annotations": "a.json", "captions": "c.json"}
    project = make_project(root, [batch], name=MARKUP, title=TEXT, licence=TEXT, format="coco")
    folder = project / "pictures"
    folder.mkdir()
    files = [f"{number}.jpg" for number in range(5)] + [FILE]
    for number, name in enumerate(files):
        (folder / name).write_bytes(encoded(picture(number)))
    numbers = range(len(files))
    images = [
        {"id": n, "file_name": files[n], "width": SIZE[0], "height": SIZE[1], "license": 0}
        for n in numbers
    ]
    boxes = [{"image_id": n, "category_id": n % 2, "bbox": [4, 4, 40, 30]} for n in numbers]
    names = [{"id": 0, "name": TEXT}, {"id": 1, "name": "cat"}]
    licences = [{"id": 0, "name": TEXT}]
    said = [{"image_id": n, "caption": f"A cat {TEXT} on a mat."} for n in numbers]
    world = {"images": images, "annotations": boxes, "categories": names, "licenses": licences}
    (folder / "a.json").write_text(json.dumps(world))
    (folder / "c.json").write_text(json.dumps({"annotations": said}))
    for arguments in (("data", "build"), *_WRITERS.values()):
        ended = run_opendet(project, *arguments)
        assert ended.code == 0, f"{' '.join(arguments)}: {ended.said[-200:]}"
    return project


def _printed(arguments: Sequence[str], folder: Path, _: Path) -> str:
    """What a command prints steers no terminal."""
    ended = run_opendet(_project(folder.parent / "texts"), *arguments)
    if found := _STEERS.search(ended.said):
        return f"it prints {found[0]!r}"
    return "" if "fired" in ended.said else f"it printed nothing of it: {ended.said[-100:]!r}"


class _Tags(HTMLParser):
    """What a browser would run of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.guarded = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.guarded |= told.get("http-equiv", "") == "Content-Security-Policy"
        runs = [name for name in told if name.startswith("on")]
        links = [told.get(name, "") for name in ("href", "src", "action")]
        outside = [link for link in links if link.startswith(("javascript:", "http", "//"))]
        inline = tag == "script" and not told.get("src", "").startswith(("assets/", "data/"))
        if runs or outside or inline or told.get("src") == "x":
            self.wrong.append(f"<{tag} {told}>"[:100])


def _paged(pattern: str, folder: Path, _: Path) -> str:
    """Nothing of the texts became a part of a page, and each page has its policy."""
    project = _project(folder.parent / "texts")
    pages = sorted(project.glob(pattern))
    for path in pages:
        tags = _Tags()
        tags.feed(path.read_text())
        if tags.wrong:
            return f"{path.name}: {tags.wrong[0]}"
        if not tags.guarded:
            return f"{path.name} has no content security policy"
    told = any("fired" in text for path in pages for text in _texts_of(path))
    return "" if told else f"no page of {pattern} tells of the texts"


def _texts_of(page: Path) -> Iterator[str]:
    """Its own, and those of the scripts that hand it its data."""
    yield page.read_text()
    for path in page.parent.glob("data/**/*.js"):
        yield path.read_text()


def _data_scripts(folder: Path, _: Path) -> str:
    """A script that hands over data is one call with a value: no `<` ends its element."""
    scripts = sorted(_project(folder.parent / "texts").glob("pages/data/**/*.js"))
    for path in scripts:
        text = path.read_text()
        if "<" in text or not text.isascii() or not text.startswith("OpenDet.take("):
            return f"{path.name} holds more than a value"
    return "" if scripts else "no script was written"


def _markdown(folder: Path, _: Path) -> str:
    """A card is Markdown, where raw HTML would count."""
    text = (_project(folder.parent / "texts") / "card" / "README.md").read_text()
    body = text.split("\n---\n", 1)[-1]
    for wrong in ("<script", "<img", "\x1b", "\u202e"):
        if wrong in body:
            return f"the card holds {wrong!r}"
    return "" if "fired" in body else "the card tells nothing of the texts"


def _json(folder: Path, _: Path) -> str:
    """Croissant is JSON, whatever the texts hold."""
    told = json.loads((_project(folder.parent / "texts") / "card" / "croissant.json").read_text())
    return "" if "fired" in json.dumps(told) else "it tells nothing of the texts"


_CHECKS: dict[str, Callable[[Path, Path], str]] = {
    "markup in the inspector's pages": partial(_paged, "pages/*.html"),
    "markup in the data of the pages": _data_scripts,
    "markup in the report": partial(_paged, f"datasets/{BUILD}/report/*.html"),
    "markup in the page of a pool": partial(_paged, "pool.html"),
    "markup in the data set's card": _markdown,
    "markup in Croissant": _json,
}

TEXTS = (
    *(Attack(name, check) for name, check in _CHECKS.items()),
    *(
        Attack(f"codes that `{name}` prints", partial(_printed, of))
        for name, of in _COMMANDS.items()
    ),
)
