"""The overview's histograms, of counts that were made along the way."""

from collections import Counter

from opendet.evaluation.report_charts import (
    Bar,
    Canvas,
    Histogram,
    Tick,
    round_marks,
    short,
)
from opendet.pages.tally import BIN

_CANVAS = Canvas(480.0, 170.0)


def binned_histogram(bins: Counter[tuple[int, bool]]) -> Histogram | None:
    """Kept regions below and refused ones on top, by bins of `BIN`; None where there are none.

    At least [0, 1] is shown, so that two builds' charts can be laid side by side.
    """
    if not bins:
        return None
    first, last = min(0, *(one for one, _ in bins)), 19
    stacks = [(one, bins[one, True], bins[one, False]) for one in range(first, last + 1)]
    tallest = max(kept + refused for _, kept, refused in stacks)
    marks = round_marks(0, tallest, 3)
    top = max(marks[-1], tallest)
    low, high = first * BIN, (last + 1) * BIN
    bars = [
        bar
        for number, kept, refused in stacks
        for bar in _stack(number, kept, refused, (low, high), top)
    ]
    return Histogram(
        canvas=_CANVAS,
        bars=tuple(bars),
        x_ticks=tuple(
            Tick(_CANVAS.across(x, low, high), short(round(x, 6)))
            for x in round_marks(low, high, 5)
            if low - 1e-9 <= x <= high + 1e-9
        ),
        y_ticks=tuple(Tick(_CANVAS.up(y, 0, top), short(y)) for y in marks),
    )


def _stack(
    number: int, kept: int, refused: int, span: tuple[float, float], top: float
) -> list[Bar]:
    left = _CANVAS.across(number * BIN, *span)
    width = _CANVAS.across((number + 1) * BIN, *span) - left - 1
    told = f"{number * BIN:.2f} to {(number + 1) * BIN:.2f}"
    bars, below = [], 0
    for series, (count, what) in enumerate(((kept, "kept"), (refused, "refused"))):
        if count:
            y, base = _CANVAS.up(below + count, 0, top), _CANVAS.up(below, 0, top)
            bars.append(Bar(left, y, width, base - y, series, f"{told}: {count} {what}"))
            below += count
    return bars
