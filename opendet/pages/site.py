"""The pages of a collection, or of two: which there are, and what each is made of."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from opendet.inspect.collection import Collection
from opendet.pages.beliefs import ASPECTS, Beliefs
from opendet.pages.comparison import MOST_NAMES, Comparison, compare, name_changes
from opendet.pages.entry import said
from opendet.pages.overview import Overview, overview_of
from opendet.pages.pool_page import pool_context, pool_folder
from opendet.pages.render import page
from opendet.pages.script_data import collection_path, data_script
from opendet.pages.tally import Tally

COMPARISON_PATH = "data/comparison.js"


@dataclass
class Gathered:
    """What is known of one collection, as its pieces come in."""

    collection: Collection
    letter: str
    tally: Tally = field(default_factory=Tally)
    beliefs: list[Beliefs] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Its name and whose records they are: two stages of one build are compared, too."""
        stage = f", {self.collection.stage}" if self.collection.stage else ""
        return said(f"{self.collection.name}{stage}", 200)

    @property
    def overview(self) -> Overview:
        return overview_of(self.collection, self.tally)

    @property
    def pieces(self) -> int:
        """Those of the collection, and one of what left its flow."""
        return len(self.collection.pieces) + 1


def collection_script(gathered: Gathered, *, served: bool) -> tuple[str, bytes]:
    """What the scripts must know before they ask for anything else."""
    path = collection_path(gathered.letter)
    value = {
        "name": gathered.label,
        "pieces": gathered.pieces,
        "served": served,
    }
    return path, data_script(path, value)


class Site:
    """The pages that are made of numbers; those of a comparison need both sides whole."""

    def __init__(self, here: Gathered, there: Gathered | None = None) -> None:
        self.here, self.there = here, there
        self._pool_folder = pool_folder(here.collection)

    @property
    def paths(self) -> tuple[str, ...]:
        pool = ("pool.html",) if self._pool_folder else ()
        compared = ("compare.html", COMPARISON_PATH) if self.there else ()
        return ("index.html", "gallery.html", *pool, *compared)

    def make(self, path: str, *, waiting: int = 0) -> bytes:
        """One of the paths; `waiting` pieces are still to be read."""
        match path:
            case "index.html":
                context = {"overview": self.here.overview, "waiting": waiting}
                return self._page("overview.html.j2", context)
            case "gallery.html":
                return self._page("gallery.html.j2", {})
            case "pool.html":
                return self._page("pool_page.html.j2", self._pool())
            case "compare.html":
                return self._page("compare.html.j2", self._compared())
            case _:
                assert path == COMPARISON_PATH, path
                return data_script(path, self._comparison.columns)

    def _page(self, template: str, context: dict[str, Any]) -> bytes:
        common = {
            "name": said(self.here.collection.name, 200),
            "stage": said(self.here.collection.stage, 60),
            "against": said(self.there.collection.name, 200) if self.there else "",
            "has_pool": self._pool_folder is not None,
        }
        return page(template, {**common, **context})

    def _pool(self) -> dict[str, Any]:
        """A damaged pool is told on its page and harms no other."""
        assert self._pool_folder is not None
        try:
            return {**pool_context(self._pool_folder), "trouble": ""}
        except ValueError as error:
            return {"trouble": said(str(error), 500)}

    @cached_property
    def _comparison(self) -> Comparison:
        assert self.there is not None
        return compare(self.here.beliefs, self.there.beliefs)

    def _compared(self) -> dict[str, Any]:
        assert self.there is not None
        return _words_of(self.here, self.there, self._comparison)


def _words_of(here: Gathered, there: Gathered, found: Comparison) -> dict[str, Any]:
    names = name_changes(here.tally, there.tally)
    fates = here.tally.fates.keys() | there.tally.fates.keys()
    refusals = here.tally.refusals.keys() | there.tally.refusals.keys()
    return {
        "labels": (here.label, there.label),
        "here": here.overview,
        "there": there.overview,
        "found": found,
        "aspects": ASPECTS,
        "names": names[:MOST_NAMES],
        "more_names": max(0, len(names) - MOST_NAMES),
        "fates": [
            (f"{what} in {stage}", reason, here.tally.fates[key], there.tally.fates[key])
            for key in sorted(fates)
            for what, stage, reason in (key,)
        ],
        "refusals": [
            (reason, here.tally.refusals[reason], there.tally.refusals[reason])
            for reason in sorted(refusals)
        ],
    }
