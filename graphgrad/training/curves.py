"""Curves as an SVG that follows a light or dark page: axes with round numbers, a key, no overlap.

svg = curves({"loss": ([0, 1, 2], [9.0, 3.0, 1.0])}, xlabel="epoch", log=True)
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 40, 40
_COLOURS = ("#3b6fb6", "#d1603d", "#4a9b5f", "#8a5ba8", "#b08d2f", "#5a6b7b")
# Told apart without colours, too.
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4")
_MOST_POINTS = 1200
_LETTER = 6.6  # about the width of one at this size

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]

_STYLE = """.page{fill:#fff}.ink{fill:#1d222c}.axis{stroke:#98a2b3;fill:none}.grid{stroke:#e5e8ee}
@media (prefers-color-scheme:dark){.page{fill:#14171d}.ink{fill:#e6e9ef}.axis{stroke:#5f6b80}
.grid{stroke:#2a2f38}}"""


def curves(series: Series, *, title: str = "", xlabel: str = "", log: bool | None = None) -> str:
    """SVG text of curves by name, each its x and y values; points that are not finite are gaps.

    ``log``: a logarithmic y axis; None chooses it where all values are positive and the largest is
    more than 300 times the smallest.
    """
    ys = [y for _, values in series.values() for y in values if math.isfinite(y)]
    xs = [x for values, _ in series.values() for x in values if math.isfinite(x)]
    if log is None:
        log = bool(ys) and min(ys) > 0 and max(ys) > 300 * min(ys)
    if log:
        ys = [math.log10(y) for y in ys if y > 0]
    across = Axis(xs, _LEFT, WIDTH - _RIGHT)
    up = Axis(ys, HEIGHT - _BOTTOM, _TOP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="12"><style>{_STYLE}</style><rect class="page" width="100%" height="100%"/>',
        *_grid(across, up, log),
        _text(across.end, HEIGHT - 6, xlabel, "end"),
    ]
    for i, (x, y) in enumerate(series.values()):
        lines += _curve(i, x, y, across, up, log)
    lines += _key(list(series), title)
    return "\n".join([*lines, "</svg>"])


class Axis:
    """Numbers along a side of the picture, ``start`` to ``end`` in its units."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.start, self.end = start, end
        self.low, self.high = min(values, default=0.0), max(values, default=1.0)
        if self.high <= self.low:
            self.low, self.high = self.low - 0.5, self.low + 0.5

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6, whole: bool = False) -> list[float]:
        """Round numbers within the axis: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough)
        step = max(1.0, round(step)) if whole else step
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _grid(across: Axis, up: Axis, log: bool) -> list[str]:
    lines = []
    for value in up.ticks(whole=log) if not log or up.high - up.low >= 1 else up.ticks():
        y = up.at(value)
        label = _number(10.0**value if log else value)
        lines.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        lines.append(_text(_LEFT - 8, y + 4, label, "end"))
    for value in across.ticks():
        lines.append(_text(across.at(value), HEIGHT - _BOTTOM + 17, _number(value), "middle"))
    base = HEIGHT - _BOTTOM
    lines.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{WIDTH - _RIGHT}"/>')
    return lines


def _curve(
    number: int, xs: Sequence[float], ys: Sequence[float], across: Axis, up: Axis, log: bool
) -> list[str]:
    """A polyline for each run of finite points, thinned to what a screen can show."""
    step = max(1, len(ys) // _MOST_POINTS)
    runs: list[list[str]] = [[]]
    kept = dict.fromkeys([*range(0, len(ys), step), *range(max(len(ys) - 1, 0), len(ys))])
    for i in kept:
        y = ys[i]
        if math.isfinite(y) and (y > 0 or not log):
            runs[-1].append(f"{across.at(xs[i]):.1f},{up.at(math.log10(y) if log else y):.1f}")
        elif runs[-1]:
            runs.append([])
    look = f'stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-width="1.8"'
    dash = _DASHES[number % len(_DASHES)]
    look += f' stroke-dasharray="{dash}"' if dash else ""
    # A single point is a line too short to see.
    return [
        f'<polyline points="{" ".join(run if len(run) > 1 else run * 2)}" fill="none" {look} '
        'stroke-linecap="round"/>'
        for run in runs
        if run
    ]


def _key(names: Sequence[str], title: str) -> list[str]:
    """The title, then a line and a name for each curve, as many as there is room for."""
    lines = [_text(_LEFT, 22, title, weight="bold")] if title else []
    x = _LEFT + (len(title) * 7.4 + 24 if title else 0)
    for i, name in enumerate(names):
        width = 30 + len(name) * _LETTER
        if x + width > WIDTH - _RIGHT:
            lines.append(_text(x, 22, "…"))
            break
        colour, dash = _COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)]
        lines.append(
            f'<path d="M{x:.0f} 18h20" stroke="{colour}" stroke-width="1.8" '
            f'stroke-dasharray="{dash or "none"}"/>'
        )
        lines.append(_text(x + 25, 22, name))
        x += width + 14
    return lines


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    look = f'text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text class="ink" x="{x:.1f}" y="{y:.1f}" {look}>{html.escape(text)}</text>'


def _number(value: float) -> str:
    value = 0.0 if abs(value) < 1e-12 else value
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return f"{value:,.6g}"
