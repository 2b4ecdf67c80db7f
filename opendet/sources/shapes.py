"""The shapes that scenes are made of: closed contours around the origin, y pointing down.

A shape is a tuple of contours; the first is its outline, the others are holes in it. Scale is of no
meaning here: the drawing fits a shape into the box that it is to fill.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
"""(P, 2) x and y of the corners."""
Contours = tuple[Contour, ...]


def _turn(count: int, *, start: float = -0.25) -> Contour:
    """Angles of `count` evenly spaced points of a full turn; the first points up."""
    return 2 * np.pi * (start + np.arange(count) / count)


def _polar(radius: Contour | float, angle: Contour) -> Contour:
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1)


def _points(*corners: tuple[float, float]) -> Contours:
    return (np.array(corners, dtype=float),)


def _circle() -> Contours:
    return (_polar(1.0, _turn(48)),)


def _ring() -> Contours:
    return _polar(1.0, _turn(48)), _polar(0.5, _turn(36))


def _square() -> Contours:
    return _points((-1, -1), (1, -1), (1, 1), (-1, 1))


def _triangle() -> Contours:
    return _points((0, -1), (1.08, 0.87), (-1.08, 0.87))


def _diamond() -> Contours:
    return _points((0, -1), (0.62, 0), (0, 1), (-0.62, 0))


def _star() -> Contours:
    return (_polar(np.where(np.arange(10) % 2, 0.42, 1.0), _turn(10)),)


def _cross() -> Contours:
    a, b = 1.0, 0.34
    return _points(
        *((-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)),
        *((b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)),
    )


def _heart() -> Contours:
    t = _turn(48)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return (np.stack((x, -y), -1) / 16,)


def _crescent() -> Contours:
    outer = np.linspace(0.17, 0.83, 36) * 2 * np.pi
    tip_x, tip_y = np.cos(outer[0]), np.sin(outer[0])
    centre = 0.62
    reach, half = np.hypot(tip_x - centre, tip_y), np.arctan2(tip_y, tip_x - centre)
    inner = np.linspace(2 * np.pi - half, half, 30)[1:-1]
    bite = _polar(reach, inner) + np.array((centre, 0.0))
    return (np.concatenate((_polar(1.0, outer), bite)),)


def _arrow() -> Contours:
    return _points(
        *((-1, -0.28), (0.08, -0.28), (0.08, -0.8), (1, 0)),
        *((0.08, 0.8), (0.08, 0.28), (-1, 0.28)),
    )


def _bolt() -> Contours:
    return _points(
        *((0.3, -1), (-0.72, 0.22), (-0.14, 0.22), (-0.34, 1)),
        *((0.72, -0.34), (0.16, -0.34), (0.5, -1)),
    )


def _flower() -> Contours:
    angle = _turn(96)
    petals = 0.6 + 0.4 * np.abs(np.cos(3 * (angle + np.pi / 2))) ** 0.7
    return _polar(petals, angle), _polar(0.26, _turn(24))


SHAPES: dict[str, Callable[[], Contours]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "diamond": _diamond,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "bolt": _bolt,
    "flower": _flower,
}
"""Name -> its contours. Told apart by their outline alone, at 24 pixels and turned a little."""
