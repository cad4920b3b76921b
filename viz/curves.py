"""A way along corners as the smooth line that graphviz draws."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]

_CORNER = 7.0


def spline(points: Sequence[Point]) -> list[Point]:
    """Cubic Béziers along corners, which become round; graphviz's 3n+1 points."""
    result = [points[0]]

    def line(to: Point) -> None:
        x, y = result[-1]
        result.extend([(x + (to[0] - x) / 3, y + (to[1] - y) / 3),
                       (x + (to[0] - x) * 2 / 3, y + (to[1] - y) * 2 / 3), to])  # fmt: skip

    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        into, out = _towards(corner, before), _towards(corner, after)
        line(into)
        result.extend([corner, corner, out])
    line(points[-1])
    return result


def _towards(corner: Point, other: Point) -> Point:
    """A point near a corner on the way to another point."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    step = min(_CORNER, length / 2) / length
    return corner[0] + dx * step, corner[1] + dy * step
