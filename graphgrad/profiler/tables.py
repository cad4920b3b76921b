"""Tables of measurements as text."""

from __future__ import annotations

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float | None) -> str:
    """Three digits and a unit: ``42.0 µs``; a dash for what was not run."""
    if seconds is None:
        return "–"
    scale, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"


def markdown(cells: list[list[str]]) -> list[str]:
    """An aligned table; the first row is its head."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (cells[0], rule, *cells[1:]):
        texts = [f"{row[0]:{widths[0]}}"]
        texts += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(texts)} |")
    return lines
