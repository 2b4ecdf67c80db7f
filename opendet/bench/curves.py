"""What a curve of judged points says: when a level was reached, and its picture."""

from collections.abc import Mapping, Sequence
from html import escape

Line = Sequence[tuple[float, float]]
"""(x, y), x ascending."""

COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 360, 48, 30, 40  # Pixels.


def first_reaching(line: Line, level: float) -> float | None:
    """The x where a line that begins at (0, 0) first reaches the level; None where it never does.

    Straight between the points.
    """
    x0, y0 = 0.0, 0.0
    for x, y in line:
        if y >= level:
            return x0 + (x - x0) * (level - y0) / (y - y0) if y > y0 else x
        x0, y0 = x, y
    return None


def value_at(line: Line, x: float) -> float:
    """y at x, straight between the points; the first or the last one beyond them."""
    before = max((point for point in line if point[0] <= x), default=line[0])
    after = min((point for point in line if point[0] >= x), default=line[-1])
    if after[0] == before[0]:
        return before[1]
    return before[1] + (after[1] - before[1]) * (x - before[0]) / (after[0] - before[0])


def mean_line(lines: Sequence[Line]) -> Line:
    """The mean of lines with the same x."""
    return [
        (points[0][0], sum(y for _, y in points) / len(points))
        for points in zip(*lines, strict=True)
    ]


def draw_lines(lines: Mapping[str, Line], *, title: str, x_name: str, level: float) -> str:
    """An SVG of the lines, from (0, 0), with a dashed level. y is in percent."""
    right = max(x for line in lines.values() for x, _ in line)
    top = max([level, *(y for line in lines.values() for _, y in line)]) * 1.1 or 1.0

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 16) * x / right
        down = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * y / top
        return f"{across:.1f},{down:.1f}"

    parts = [_text(LEFT, 18, title, size=14)]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(right * share, top / 1.1 * share).split(",")
        parts.append(_text(float(x) - 10, HEIGHT - BOTTOM + 16, f"{right * share:g}"))
        parts.append(_text(8, float(y) + 4, f"{top / 1.1 * share:.1f}"))
        parts.append(_path(f"{LEFT},{y} {WIDTH - 16},{y}", "#e5e7eb"))
    parts.append(_text(WIDTH / 2 - 20, HEIGHT - 6, x_name))
    parts.append(_path(f"{place(0, level)} {place(right, level)}", "#6b7280", dashed=True))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(_path(" ".join(place(x, y) for x, y in [(0.0, 0.0), *line]), colour, wide=2))
        parts.append(_text(LEFT + 12, TOP + 16 * (number + 1), name, colour=colour, size=13))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n'
        "</svg>\n"
    )


def _path(points: str, colour: str, *, wide: int = 1, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<polyline fill="none" stroke="{colour}" stroke-width="{wide}"{dash} points="{points}"/>'
    )


def _text(x: float, y: float, text: str, *, colour: str = "#374151", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
