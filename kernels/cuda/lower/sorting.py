"""Sorting on a grid: stable, row by row, by ranks.

First every run of 32 elements: an element's place is how many of its run come before it. Then runs
are merged in pairs, all at once: an element's place is its own number and how many of the other run
come before it, by bisection. NaN counts as larger than every number, as on the CPU.
"""

from __future__ import annotations

from graphgrad.ir import Node
from graphgrad.regions import Region

from ..call import GridCall


def lower_sort(region: Region, x: Node) -> list[GridCall]:
    """The kernel calls of a sort region."""
    raise NotImplementedError(f"{x!r}: sorting on a GPU")
