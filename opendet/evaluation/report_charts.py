"""Small charts as plain SVG: the same numbers give the same text, and the page's CSS colours them.

A chart is drawn on a canvas of about as many units as it will have pixels, and scales from there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 14.0, 8.0, 22.0


@dataclass(frozen=True, slots=True)
class Canvas:
    """The units that a chart is drawn in; y points down."""

    width: float
    height: float

    @property
    def left(self) -> float:
        """Where the plot begins, right of the labels."""
        return _LEFT

    @property
    def right(self) -> float:
        return self.width - _RIGHT

    def across(self, x: float, low: float, high: float) -> float:
        """Where x lies between the plot's edges, which stand for low and high."""
        return _LEFT + (x - low) / (high - low or 1.0) * (self.width - _LEFT - _RIGHT)

    def up(self, y: float, low: float, high: float) -> float:
        share = (y - low) / (high - low or 1.0)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)


SMALL, WIDE = Canvas(320.0, 150.0), Canvas(1000.0, 240.0)


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    """In the chart's units."""
    label: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """One series by step."""

    canvas: Canvas
    title: str
    last: str
    """The last value."""
    line: str
    """Points of an SVG polyline."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    series: int
    """0 for the first series, which stands at the bottom."""
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Two series of numbers, stacked."""

    canvas: Canvas
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def line_chart(
    title: str, points: Sequence[tuple[float, float]], *, canvas: Canvas = SMALL
) -> LineChart | None:
    """None where there is nothing to draw; values that are not finite are left out."""
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(known) < 2:
        return None
    xs, ys = [x for x, _ in known], [y for _, y in known]
    x_marks = round_marks(min(xs), max(xs), 4)
    y_marks = round_marks(min(0.0, *ys), max(ys), 3)
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(y_marks[0], *ys), max(y_marks[-1], *ys)
    line = " ".join(
        f"{canvas.across(x, x_low, x_high):.1f},{canvas.up(y, y_low, y_high):.1f}" for x, y in known
    )
    return LineChart(
        canvas=canvas,
        title=title,
        last=short(known[-1][1]),
        line=line,
        x_ticks=tuple(
            Tick(canvas.across(x, x_low, x_high), short(x)) for x in x_marks if x_low <= x <= x_high
        ),
        y_ticks=tuple(
            Tick(canvas.up(y, y_low, y_high), short(y)) for y in y_marks if y_low <= y <= y_high
        ),
    )


def histogram(
    first: Sequence[float], second: Sequence[float], *, bins: int = 40, canvas: Canvas = SMALL
) -> Histogram | None:
    """Two series over common bins, the second on top of the first; None where both are empty."""
    values = [*first, *second]
    if not values:
        return None
    low, high = min(values), max(values)
    high = high if high > low else low + 1.0
    stacks = list(zip(_count(first, low, high, bins), _count(second, low, high, bins), strict=True))
    tallest = max(one + other for one, other in stacks)
    marks = round_marks(0, tallest, 3)
    top = max(marks[-1], tallest)
    width = (high - low) / bins
    bars = [
        bar
        for number, stack in enumerate(stacks)
        for bar in _stack(canvas, low + number * width, width, stack, low, high, top)
    ]
    return Histogram(
        canvas=canvas,
        bars=tuple(bars),
        x_ticks=tuple(
            Tick(canvas.across(x, low, high), short(x))
            for x in round_marks(low, high, 5)
            if low <= x <= high
        ),
        y_ticks=tuple(Tick(canvas.up(y, 0, top), short(y)) for y in marks),
    )


def _stack(
    canvas: Canvas,
    start: float,
    width: float,
    stack: tuple[int, int],
    low: float,
    high: float,
    top: float,
) -> list[Bar]:
    left, right = canvas.across(start, low, high), canvas.across(start + width, low, high)
    bars, below = [], 0
    for series, count in enumerate(stack):
        if count:
            y, base = canvas.up(below + count, 0, top), canvas.up(below, 0, top)
            title = f"{short(start)} to {short(start + width)}: {count}"
            bars.append(Bar(left, y, max(right - left - 0.8, 0.5), base - y, series, title))
            below += count
    return bars


def _count(values: Sequence[float], low: float, high: float, bins: int) -> list[int]:
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return counts


def round_marks(low: float, high: float, about: int) -> list[float]:
    """About so many round numbers that cover low to high."""
    span = high - low if high > low else abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def short(value: float) -> str:
    """Three digits that matter, without an exponent where one can do without."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
