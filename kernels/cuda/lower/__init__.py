"""Lowering for CUDA: a region becomes grid calls.

    calls = lower_region(region)                 # as kernels.lower.lower_region, for a GPU
    calls = lower_region(region, {out: operand}) # ``out`` is written over ``operand``

What a region computes (`kernels.lower.values`), which loops its nodes share and what they are
stored to is the CPU's; how loops become blocks and threads is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphgrad import dtypes
from graphgrad.ir import Node
from graphgrad.regions import Region

from ...lower import Rules, lower_by
from ...lower.memo import memoised
from ..call import GridCall
from .loops import lower_stores, summary
from .roots import ROOTS, GridRoot
from .sorting import lower_sort

__all__ = ["GridCall", "lower_region"]


@memoised
def lower_region(region: Region, aliases: Mapping[Node, Node]) -> list[GridCall]:
    """The grid calls of a loop region; NotImplementedError where there are none."""
    return lower_by(_CUDA, region, aliases)


_CUDA = Rules(
    lambda region, stores, trace: lower_stores(region.name, summary(region), stores, trace),
    lower_sort,
    ROOTS,
    GridRoot,
    frozenset({dtypes.complex64, dtypes.complex128}),
)
