"""Counts of numbers as bars."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from opendet.inspect.tally import SCORE_BINS, WORDS_A_BIN, Tally

MOST_BARS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    low: float
    high: float
    """Not in it, but for the last bar of scores that end at 1."""
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    title: str
    """Of what."""
    counted: str
    """`regions` or `captions`."""
    bars: tuple[Bar, ...]
    """Without gaps; those at the ends are not empty."""


def histograms_of(tally: Tally) -> tuple[Histogram, ...]:
    """Of whatever there is: scores, sides of boxes, words of captions."""
    width = 1 / SCORE_BINS
    made = (
        Histogram("box score", "regions", linear_bars(tally.box_scores, width)),
        Histogram("agreement", "regions", linear_bars(tally.agreements, width)),
        Histogram("belief in the name", "regions", linear_bars(tally.name_beliefs, width)),
        Histogram("belief in the box", "regions", linear_bars(tally.box_beliefs, width)),
        Histogram("side of the box, px", "regions", tuple(_octaves(tally.sides))),
        Histogram("words of the caption", "captions", linear_bars(tally.words, WORDS_A_BIN)),
    )
    return tuple(one for one in made if one.bars)


def linear_bars(bins: Counter[int], width: float) -> tuple[Bar, ...]:
    """Bins of one width, as many of them to a bar as it takes to have `MOST_BARS` at most."""
    if not bins:
        return ()
    together = 1
    while max(bins) // together - min(bins) // together >= MOST_BARS:
        together *= 2
    merged = Counter[int]()
    for place, count in bins.items():
        merged[place // together] += count
    step = width * together
    return tuple(
        Bar(round(place * step, 9), round((place + 1) * step, 9), merged[place])
        for place in range(min(merged), max(merged) + 1)
    )


def _octaves(bins: Counter[int]) -> Iterator[Bar]:
    """From one power of two to the next; all that is below a pixel is one bar."""
    for place in range(min(bins), max(bins) + 1) if bins else ():
        low = 0.0 if place < 0 else math.ldexp(1, place)
        yield Bar(low, math.ldexp(1, place + 1), bins[place])
