"""What the overview says of a collection, by the tally of its samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from opendet.evaluation.report_charts import Histogram
from opendet.evaluation.report_sections import count, percent
from opendet.inspect.collection import Collection
from opendet.pages.charts import binned_histogram
from opendet.pages.entry import Fate, said
from opendet.pages.tally import Tally

Key = TypeVar("Key")

MOST_NAMES = 100
GONE = ("dropped", "quarantined")
"""What becomes of samples that leave the flow."""


@dataclass(frozen=True, slots=True)
class Headline:
    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A count, its share of the largest or of the whole, and the gallery of what it counts."""

    label: str
    number: int
    share: float
    """In [0, 1]"""
    link: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """Of one collection."""

    name: str
    stage: str
    headlines: tuple[Headline, ...]
    troubles: tuple[str, ...]
    more_troubles: int
    """That are counted but not listed."""
    sources: tuple[Row, ...]
    splits: tuple[Row, ...]
    names: tuple[Row, ...]
    """The most frequent ones."""
    more_names: int
    """That are not listed."""
    sizes: tuple[Row, ...]
    refusals: tuple[Row, ...]
    fates: tuple[Row, ...]
    scores: Histogram | None
    agreements: Histogram | None


def overview_of(collection: Collection, tally: Tally) -> Overview:
    names = tally.names.most_common()
    ranked = sorted(names, key=lambda one: (-one[1], one[0]))[:MOST_NAMES]
    return Overview(
        name=said(collection.name, 200),
        stage=said(collection.stage, 60),
        headlines=_headlines(tally),
        troubles=tuple(tally.troubles),
        more_troubles=tally.trouble_count - len(tally.troubles),
        sources=_sources(tally),
        splits=tuple(
            Row(split, number, _share(number, tally.samples), gallery(split=split))
            for split, number in sorted(tally.splits.items())
        ),
        names=_ranked(ranked, "name"),
        more_names=len(names) - len(ranked),
        sizes=tuple(
            Row(size, tally.sizes[size], _share(tally.sizes[size], tally.regions))
            for size in ("small", "medium", "large")
            if tally.regions
        ),
        refusals=tuple(
            Row(reason, number, _share(number, tally.regions), gallery(why=f"refused: {reason}"))
            for reason, number in _most(tally.refusals.items())
        ),
        fates=_fates(tally),
        scores=binned_histogram(tally.scores),
        agreements=binned_histogram(tally.agreements),
    )


def gallery(**filters: str) -> str:
    """Where the gallery shows what those filters let through."""
    return f"gallery.html#{urlencode(filters)}"


def _headlines(tally: Tally) -> tuple[Headline, ...]:
    without = tally.samples - tally.pictures
    no_picture = f"{count(without)} without a picture" if without else "each with its picture"
    captions = percent(tally.captions, tally.samples)
    gone = sum(number for (what, _, _), number in tally.fates.items() if what in GONE)
    found = [
        Headline(count(tally.samples), "samples", no_picture if tally.samples else ""),
        Headline(count(tally.regions), "regions", f"{count(tally.regions - tally.kept)} refused"),
        Headline(count(len(tally.names)), "names", "of kept regions"),
        Headline(captions, "have a caption", f"{count(tally.captions)} samples"),
        Headline(count(gone), "left the flow", "dropped or quarantined, with a reason"),
    ]
    if tally.masks:
        found.append(Headline(count(tally.masks), "masks", percent(tally.masks, tally.regions)))
    return tuple(found)


def _sources(tally: Tally) -> tuple[Row, ...]:
    return tuple(
        Row(source, number, _share(number, tally.samples), gallery(source=source), licence)
        for (source, licence), number in sorted(tally.sources.items())
    )


def _fates(tally: Tally) -> tuple[Row, ...]:
    whole = max(tally.fates.values(), default=1)
    return tuple(
        Row(
            f"{what} in {stage}" if stage else what,
            number,
            number / whole,
            gallery(why=Fate(what, stage, reason).told),
            reason if reason != what else "",
        )
        for (what, stage, reason), number in _most(tally.fates.items())
    )


def _ranked(found: list[tuple[str, int]], parameter: str) -> tuple[Row, ...]:
    most = found[0][1] if found else 1
    return tuple(
        Row(text or "(no name)", number, number / most, gallery(**{parameter: text}))
        for text, number in found
    )


def _most(found: Iterable[tuple[Key, int]]) -> list[tuple[Key, int]]:
    return sorted(found, key=lambda one: (-one[1], str(one[0])))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
