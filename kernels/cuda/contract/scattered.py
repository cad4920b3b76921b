"""The gradient of a convolution with strides by its data: a product whose windows are summed.

    found = scattered_of(region)        # None: no such, or none that cuDNN knows

        product[n, p, c, k] = sum over o of output[n, o, p] filter[o, c, k]
        image[n, c, q] = sum of product[n, p, c, k] over p·stride + k·dilation = q

Both steps together are cuDNN's dgrad; the product of every window is never written.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import View, row_major

from ...contract.layout import Dim, merged
from ...contract_build import Product, product_of
from .convolution import ALIGNMENT, DGRAD, DTYPES, Axis, Found, Parts, key_of

SUM = "window_sum"


def is_scattered(region: Region) -> bool:
    """Whether a contraction region sums windows of its product."""
    return any(x.op.name == SUM for x in region.nodes)


def scattered_of(region: Region, tf32: bool = False) -> Found | None:
    """The region as a convolution's gradient by its data; None for others."""
    (total,) = (x for x in region.nodes if x.op.name == SUM)
    try:
        product = product_of(region, total.inputs[0])
    except NotImplementedError:
        return None
    dot, dtype = product.dot, product.dot.dtype.name
    places = _places(dot, total.inputs[0])
    if dtype not in DTYPES or places is None or region.outputs != (total,):
        return None
    image = _Image(total, product, places)
    side = image.side_of_output()
    if side is None:
        return None
    key = key_of(image.parts(side), dtype, tf32 and dtype == "float32", image.axes())
    views = product.a, product.b
    output, filter = views[side], views[1 - side]
    item = dot.dtype.itemsize
    read = (filter.base, filter.offset * item), (output.base, output.offset * item)
    if key is None or any(offset % ALIGNMENT for _, offset in read):
        return None
    return Found(key, (total, 0), *read)


def _places(dot: Node, windows: Node) -> list[int] | None:
    """Where in ``windows`` each dimension of the product is; None if it is more than permuted."""
    moves, x = [], windows
    while x is not dot:
        moved = _moved(x)
        if moved is None:
            return None
        moves.append(moved)
        (x,) = x.inputs
    axes = list(range(len(dot.shape)))
    for moved in reversed(moves):
        axes = [axes[i] for i in moved]
    return [axes.index(i) for i in range(len(axes))]


def _moved(x: Node) -> Sequence[int] | None:
    """Which dimensions of its operand those of a permute are; or of a reshape that only puts those
    of one element elsewhere, which is what a permute of them becomes."""
    if x.op.name == "permute":
        axes: Sequence[int] = x.attrs["axes"]
        return axes
    if x.op.name != "reshape":
        return None
    before, after = x.inputs[0].shape, x.shape
    if [n for n in before if n != 1] != [n for n in after if n != 1] or len(before) != len(after):
        return None
    long, short = (
        iter([i for i, n in enumerate(before) if (n == 1) == one]) for one in (False, True)
    )
    return [next(short if n == 1 else long) for n in after]


class _Image:
    """What is written, and which dimensions of the product lead where in it."""

    def __init__(self, total: Node, product: Product, places: list[int]) -> None:
        self.total, self.product, self.places = total, product, places
        self.strides = row_major(total.shape)
        self.rank, self.slid = len(total.shape), list(total.attrs["axes"])

    def axes(self) -> list[Axis]:
        """Those under windows."""
        attrs = self.total.attrs
        lies = zip(self.slid, attrs["extent"], attrs["stride"], attrs["dilation"], strict=True)
        return [Axis(n, self.strides[axis], s, d) for axis, n, s, d in lies]

    def side_of_output(self) -> int | None:
        """The operand of the product that has the positions, where the other one has the taps."""
        for side in (0, 1):
            mine, others = ({place for _, place in self._free(i)} for i in (side, 1 - side))
            taps = range(self.rank, self.rank + len(self.slid))
            if mine.issuperset(self.slid) and others.issuperset(taps):
                return side
        return None

    def parts(self, side: int) -> Parts:
        """Every dimension with its strides in image, filter and output."""
        output, filter = self._view(side), self._view(1 - side)
        of_output = {place: (n, output.strides[i]) for (i, place), n in self._sized(side)}
        of_filter = {place: (n, filter.strides[i]) for (i, place), n in self._sized(1 - side)}
        dot = self.product.dot
        (mine, theirs), (batch, partners) = (
            (dot.attrs[name][side], dot.attrs[name][1 - side]) for name in ("contract", "batch")
        )
        spots, taps, samples, channels = [], [], [], []
        for axis, (i, s, d) in zip(self.slid, self._moves(), strict=True):
            n, across = of_output.pop(axis)
            spots.append((n, s, across))
            n, across = of_filter.pop(self.rank + i)
            taps.append((n, d, across))
        for found, dims in ((of_output, samples), (of_filter, channels)):
            dims += [(n, self.strides[place], stride) for place, (n, stride) in found.items()]
        pairs = zip(mine, theirs, strict=True)
        filters = [(output.shape[i], filter.strides[j], output.strides[i]) for i, j in pairs]
        groups: list[Dim] = [
            (output.shape[i], self.strides[self.places[k]], filter.strides[j], output.strides[i])
            for k, (i, j) in enumerate(zip(batch, partners, strict=True))
        ]
        rest = map(merged, (samples, channels, filters, groups))
        return Parts(DGRAD, spots, taps, *rest)

    def _moves(self) -> list[tuple[int, int, int]]:
        """Of each axis under windows: its number, and how far positions and taps move along it."""
        return [(i, a.stride * a.unit, a.dilation * a.unit) for i, a in enumerate(self.axes())]

    def _view(self, side: int) -> View:
        return self.product.b if side else self.product.a

    def _free(self, side: int) -> list[tuple[int, int]]:
        """Dimensions of one operand alone, and where in the windows they are."""
        dot = self.product.dot
        used = [(*dot.attrs["contract"][i], *dot.attrs["batch"][i]) for i in (0, 1)]
        free = [[i for i in range(len(x.shape)) if i not in used[k]]
                for k, x in enumerate(dot.inputs)]  # fmt: skip
        first = len(dot.attrs["batch"][0]) + (len(free[0]) if side else 0)
        return [(i, self.places[first + k]) for k, i in enumerate(free[side])]

    def _sized(self, side: int) -> list[tuple[tuple[int, int], int]]:
        shape = self._view(side).shape
        return [((i, place), shape[i]) for i, place in self._free(side)]
