"""Operations that write strided parts of their result, on a grid.

As `kernels.lower.roots`, whose rules run here with grid calls for loops, but: a border is filled
before, not beside the rows, and scattered sums are atomic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.ir import Node
from graphgrad.regions import Region

from ...lower import roots as cpu
from ...lower.affine import dot
from ...lower.nests import indices
from ...lower.schedule import Store
from ..call import GridCall
from .loops import lower_stores, summary

ATOMIC = frozenset({dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.uint32})


class GridRoot(cpu.Root):
    """The region of one such operation, being lowered for a grid."""

    def __init__(self, region: Region, x: Node, aliases: Mapping[Node, Node]) -> None:
        super().__init__(region, x, aliases)
        self.about = summary(region)

    def call(self, stores: Sequence[Store], serial: Sequence[Axis] = ()) -> list[GridCall]:  # type: ignore[override]
        return lower_stores(self.region.name, self.about, stores, self.trace, serial)


def _pad(root: GridRoot) -> list[GridCall]:
    """Everything filled, then the inside copied."""
    x = root.x
    if min(*x.attrs["low"], *x.attrs["high"], 0) < 0:
        return cpu.crop(root)
    return cpu.spread(root)


def _scatter_add(root: GridRoot) -> list[GridCall]:
    """A copy, then every element of the source added, whichever come at once."""
    x, (base, index, source) = root.x, root.x.inputs
    if x.dtype not in ATOMIC:
        return cpu.ROOTS["scatter_add"](root)
    zero, one = [0] * len(x.shape), [1] * len(x.shape)
    calls = [] if root.in_place else root.copy(base, zero, one)
    if index.size == 0:
        return calls
    here = indices(root.frame.domain(x))
    where = list(here)
    where[x.attrs["axis"]] = root.trace.checked(
        root.trace.at(index, here), x.shape[x.attrs["axis"]]
    )
    store = Store(root.target, dot(where, root.strides), root.trace.at(source, here), True)
    return calls + lower_stores(root.region.name, root.about, [store], root.trace, atomic=True)


ROOTS: dict[str, Callable[[GridRoot], list[GridCall]]] = {
    **cpu.ROOTS,
    "pad": _pad,
    "scatter_add": _scatter_add,
}
