"""The pool's picture: its prototypes in the plane, coloured by family, the largest with names."""

# P prototypes, D width

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.console import printable
from opendet.curate.pool import Level, Prototype
from opendet.evaluation.report_charts import Canvas
from opendet.pools.projection import colours_of, project

CANVAS = Canvas(1000.0, 620.0)
COLOURS = 10
"""Classes k0, k1, ... of the style."""
MOST = 1500
"""Prototypes drawn; more make the page heavy and the picture no clearer."""
LABELS = 90
_EDGE = 24.0
_SMALLEST, _LARGEST = 2.0, 14.0
"""Radii."""
_INK = 0.11
"""Share of the picture that dots cover, at most."""
_LETTER = 6.1
"""How wide a letter of a label is, about."""
_LINE = 13.0
_AIR = 5.0
"""Between two labels."""
_LONGEST = 26
"""Letters of a label."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A prototype."""

    x: float
    y: float
    radius: float
    """Its area goes with its members."""
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A name beside its dot."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class PoolPicture:
    canvas: Canvas
    dots: tuple[Dot, ...]
    """The largest first, so that small ones lie on top."""
    labels: tuple[Label, ...]
    level: Level
    of: int
    """Prototypes of that level; more than are drawn where there are too many."""


def pool_picture(
    prototypes: Sequence[Prototype],
    vectors: Mapping[Level, NDArray[np.floating[Any]]],
    *,
    most: int = MOST,
) -> PoolPicture | None:
    """Of the finer level that there is; `vectors` are its levels', (P, D) unit rows.

    None with fewer than two prototypes.
    """
    level: Level = "fine" if any(one.level == "fine" for one in prototypes) else "coarse"
    found = [one for one in prototypes if one.level == level]
    largest = sorted(found, key=lambda one: (-one.size, one.index))[:most]
    if len(largest) < 2:
        return None
    places = project(vectors[level][[one.index for one in largest]])
    families = np.array([one.parent if level == "fine" else one.index for one in largest])
    colours = colours_of(places, families, COLOURS)
    parents = {one.index: one.medoid.name for one in prototypes if one.level == "coarse"}
    radii = _radii([one.size for one in largest])
    dots = tuple(
        Dot(
            x=round(_EDGE + x * (CANVAS.width - 2 * _EDGE), 1),
            y=round(_EDGE + y * (CANVAS.height - 2 * _EDGE), 1),
            radius=round(radius, 1),
            colour=int(colour),
            title=_title(one, parents),
        )
        for one, (x, y), radius, colour in zip(largest, places, radii, colours, strict=True)
    )
    names = [printable(one.medoid.name) for one in largest]
    return PoolPicture(CANVAS, dots, _labels(dots, names), level, len(found))


def _radii(sizes: Sequence[int]) -> list[float]:
    """Of dots whose areas go with their sizes; the smallest are seen, and all leave some ground."""
    whole = np.pi * sum(sizes) / max(sizes)  # of radius 1 for the largest
    largest = min(_LARGEST, (_INK * CANVAS.width * CANVAS.height / whole) ** 0.5)
    return [max(_SMALLEST, largest * (size / max(sizes)) ** 0.5) for size in sizes]


def _title(one: Prototype, parents: Mapping[int, str]) -> str:
    members = f"{one.size} member{'' if one.size == 1 else 's'}"
    family = f", family of {parents[one.parent]}" if one.parent in parents else ""
    return printable(f"{one.medoid.name}: {members}{family}")


def _labels(dots: Sequence[Dot], names: Sequence[str]) -> tuple[Label, ...]:
    """Names of the largest, each once, where they cover no other label and no dot that has one: who
    reads a name on a dot takes it for the dot's."""
    taken: list[tuple[float, float, float, float]] = []
    labels: list[Label] = []
    said: set[str] = set()
    for dot, name in zip(dots, names, strict=True):
        if len(labels) == LABELS:
            break
        text = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        place = _free_place(dot, len(text) * _LETTER, taken)
        if text and text not in said and place is not None:
            said.add(text)
            taken += [place, _heart(dot)]
            x0, _, x1, y1 = place
            labels.append(Label(round((x0 + x1) / 2, 1), round(y1 - 3, 1), text))
    return tuple(labels)


def _free_place(
    dot: Dot, width: float, taken: Sequence[tuple[float, float, float, float]]
) -> tuple[float, float, float, float] | None:
    """Above the dot, else below it: a box that touches no label and lies in the picture."""
    x0 = min(max(dot.x - width / 2, 2.0), CANVAS.width - width - 2)
    for y0 in (dot.y - dot.radius - _LINE - 1, dot.y + dot.radius + 1):
        box = (x0, y0, x0 + width, y0 + _LINE)
        inside = y0 > 0 and y0 + _LINE < CANVAS.height
        if inside and not any(_overlap(box, other) for other in taken):
            return box
    return None


def _heart(dot: Dot) -> tuple[float, float, float, float]:
    """The square within it."""
    half = dot.radius * 0.7
    return (dot.x - half, dot.y - half, dot.x + half, dot.y + half)


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    apart_x = one[0] > other[2] + _AIR or other[0] > one[2] + _AIR
    apart_y = one[1] > other[3] + _AIR or other[1] > one[3] + _AIR
    return not (apart_x or apart_y)
