"""How wide a line of Helvetica is, and how large a box around it: near enough, without a font."""

from __future__ import annotations

from .scene import Box
from .theme import KINDS

# Thousandths of the font size, from Adobe's metrics; what is not listed is as wide as a digit.
_WIDTHS = {
    222: "ijl'|",
    278: " !,./:;I[]\\ft",
    333: "()-`r{}",
    389: '*"',
    500: "Jckvxsyz^",
    584: "+<=>~×−",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    944: "W%@…—",
}
_WIDTH = {letter: width for width, letters in _WIDTHS.items() for letter in letters}
_DIGIT, _WIDE, _BOLD = 556, 1000, 1.07

TITLE, DETAIL = 11.0, 8.5
# How much wider than its text a box of some shape is.
SLACK = {
    "hexagon": 44.0,
    "octagon": 36.0,
    "ellipse": 38.0,
    "parallelogram": 30.0,
    "invhouse": 26.0,
}
_TALL = {"hexagon": 4.0, "octagon": 8.0, "ellipse": 8.0, "cylinder": 10.0, "invhouse": 12.0}


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of one line, in points."""
    units = sum(_WIDTH.get(c, _WIDE if ord(c) > 0x2E7F else _DIGIT) for c in text)
    return units * size / 1000 * (_BOLD if bold else 1)


def size(box: Box) -> tuple[float, float]:
    """How large a box has to be."""
    row = KINDS[box.kind]
    text = max(width(box.title, TITLE, bold=True), width(box.detail, DETAIL))
    height = (30.0 if box.detail else 20.0) + _TALL.get(row.shape, 0.0)
    return max(text + SLACK.get(row.shape, 18.0), 38.0), height
