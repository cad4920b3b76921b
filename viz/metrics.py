"""How wide a line of Helvetica is, near enough to draw a box around it."""

from __future__ import annotations

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


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of one line, in points."""
    units = sum(_WIDTH.get(c, _WIDE if ord(c) > 0x2E7F else _DIGIT) for c in text)
    return units * size / 1000 * (_BOLD if bold else 1)
