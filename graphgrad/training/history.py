"""What a run measured, epoch by epoch, and a picture of it."""

from __future__ import annotations

import math

_WIDTH, _HEIGHT, _MARGIN = 560, 300, 48
_COLOURS = ("#3b6fb6", "#d1603d", "#4a9b5f", "#8a5ba8", "#b08d2f", "#5a6b7b")


class History(dict[str, list[float]]):
    """One list a measure, one number an epoch: ``history["val_loss"][-1]``.

    In a notebook it shows itself as curves; ``svg()`` is the picture's text.
    """

    def add(self, measured: dict[str, float]) -> None:
        """Append an epoch's numbers; a measure that is new was NaN before."""
        before = len(self)
        for name, value in measured.items():
            self.setdefault(name, [math.nan] * (before and self.epochs)).append(value)

    @property
    def epochs(self) -> int:
        """How many epochs were measured."""
        return max(map(len, self.values()), default=0)

    def svg(self, part: str = "loss") -> str:
        """The curves of all measures whose name has ``part`` in it."""
        curves = {name: values for name, values in self.items() if part in name}
        finite = [v for values in curves.values() for v in values if math.isfinite(v)]
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        high = high if high > low else low + 1.0
        lines = [_curve(i, name, curves[name], low, high) for i, name in enumerate(curves)]
        return "\n".join([*_frame(low, high, self.epochs), *lines, "</svg>"])

    def _repr_svg_(self) -> str:
        return self.svg()


def _frame(low: float, high: float, epochs: int) -> list[str]:
    right, bottom = _WIDTH - _MARGIN, _HEIGHT - _MARGIN
    text = '<text x="{}" y="{}" text-anchor="{}">{}</text>'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<path d="M{_MARGIN} {_MARGIN / 2}V{bottom}H{right}" fill="none" stroke="#888"/>',
        text.format(_MARGIN - 6, _MARGIN / 2 + 8, "end", f"{high:.3g}"),
        text.format(_MARGIN - 6, bottom, "end", f"{low:.3g}"),
        text.format(_MARGIN, bottom + 16, "middle", 1),
        text.format(right, bottom + 16, "middle", f"epoch {max(epochs, 1)}"),
    ]


def _curve(number: int, name: str, values: list[float], low: float, high: float) -> str:
    colour = _COLOURS[number % len(_COLOURS)]
    width, height = _WIDTH - 2 * _MARGIN, _HEIGHT - 1.5 * _MARGIN
    points = [
        f"{_MARGIN + width * i / max(len(values) - 1, 1):.1f},"
        f"{_MARGIN / 2 + height * (high - v) / (high - low):.1f}"
        for i, v in enumerate(values)
        if math.isfinite(v)
    ]
    label = f'<text x="{_WIDTH - _MARGIN + 4}" y="{30 + 14 * number}" fill="{colour}">{name}</text>'
    curve = f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}"/>'
    return f"{curve}\n{label}"
