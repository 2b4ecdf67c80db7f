"""Static pages of a collection: opened from a disk, they need no server and ask for no address.

    index.html      counts, names, scores, what was refused and what went where
    gallery.html    the samples: filters, a search, one sample alone
    pool.html       the build's prototypes, where it has some
    compare.html    two collections side by side
    assets/         style and scripts, ours alone
    data/<side>/    columns of each piece, cards and details, as scripts that hand over one value
    pictures/<side>/  upright JPEG files, cut once

The same collection gives the same bytes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.exports.whole_folder import require_unused, whole_folder
from opendet.inspect.collection import Collection
from opendet.pages.make import Cutting, Side, folder_writer, make_side
from opendet.pages.piece import Pictures
from opendet.pages.render import assets
from opendet.pages.site import Gathered, Site, collection_script

LARGE_UP_TO = 5_000
"""Samples; of a larger collection the pages hold small pictures alone, or they would weigh as much
as its images. `opendet inspect --serve` shows large ones of any."""


@dataclass(frozen=True, slots=True)
class PagesAccount:
    """What was written."""

    out: Path
    samples: int
    """With a record."""
    gone: int
    """Samples that left the flow, shown with their reasons."""
    pictures: int
    troubles: int
    seconds: float

    @property
    def index(self) -> Path:
        """The page to open."""
        return self.out / "index.html"


def write_pages(
    collection: Collection,
    out: Path,
    *,
    against: Collection | None = None,
    processes: int | None = None,
    large_up_to: int = LARGE_UP_TO,
) -> PagesAccount:
    """Write the pages into `out`, which must be empty or not there; whole or not at all.

    `against` is another collection, the one before, to compare it with. Large collections are
    shared among processes, so a script calls this below `if __name__ == "__main__":`. Raises
    ValueError, in one line, where `out` is in use.
    """
    begin = time.monotonic()
    require_unused(out)
    large = collection.samples_count <= large_up_to
    here, there = Gathered(collection, "a"), Gathered(against, "b") if against else None
    with whole_folder(out) as folder:
        side = Side(collection, "a", folder, large, comparing=there is not None)
        known = _gather(here, side, processes)
        if there:
            other = replace(side, collection=there.collection, letter="b", cut_before=known)
            _gather(there, other, processes)
        _write_site(folder, here, there)
    tally, gone = here.tally, len(collection.gone)
    seconds = time.monotonic() - begin
    return PagesAccount(out, tally.samples, gone, tally.pictures, tally.trouble_count, seconds)


def _write_site(folder: Path, here: Gathered, there: Gathered | None) -> None:
    """All that is not of one piece."""
    write, site = folder_writer(folder), Site(here, there)
    for path, content in assets():
        write(path, content)
    for gathered in (here, *([there] if there else ())):
        write(*collection_script(gathered, served=False))
    for path in site.paths:
        write(path, site.make(path))


def _gather(gathered: Gathered, side: Side, processes: int | None) -> Mapping[Cutting, Pictures]:
    """Make a side's files, and say which pictures it has."""
    known: dict[Cutting, Pictures] = {}
    for made in make_side(side, processes=processes):
        gathered.tally.merge(made.tally)
        gathered.beliefs += made.beliefs
        for cutting, pictures in made.pictures:
            known.setdefault(cutting, pictures)
    return known
