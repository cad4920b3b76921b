"""Convolutions with half the multiplications, by Toom and Cook (Winograd) along one axis.

A window of r taps that slides over an axis needs m·r products for m neighbouring results. They are
polynomial products in disguise, so n = m + r - 1 values at n points determine them:

    y[i] = Σ_k w[k]·d[i + k]   for i < m      is      y = Aᵀ·((G·w) ∘ (Bᵀ·d))

with small constant matrices Aᵀ (m×n), G (n×r) and Bᵀ (n×n). For r = 3 and m = 4: six products in
place of twelve. Taps, rows and results are each summed with everything else a contraction sums or
keeps, so ∘ becomes a batch of n contractions, and all four steps are contractions themselves:

    before  dot(w[o, c, y, x], window(d)[n, c, h, w, y, x])                over c, y, x
    after   U = G·w, V = Bᵀ·window(d, 6 rows every 4), M = dot(U, V) at each of six points, Aᵀ·M

    before  dot(g[n, o, h, w], window(d)[n, c, h, w, y, x])                over n, h, w
    after   U = A·(g in tiles of 4 rows), V as above, M = dot(U, V), Gᵀ·M

The first is a convolution (and its gradient by the data), the second the gradient by the weights.
Only one axis is transformed, not two: the neighbours along the other stay neighbours in memory, V
and M are half as large again as what they stand for (not four times), and rounding grows little.

Points 0, 1, -1, 1/2, -2, ∞ keep the constants small: the error of a float32 result is at most
`ERROR` times that of the plain sum in the mean square (measured 1.6 to 2.8, tests hold it). NaN and
infinities spread over the m results of a tile. ``config.winograd = False`` leaves the graph alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from graphgrad import dtypes, ir
from graphgrad.choices import settle
from graphgrad.config import config
from graphgrad.ir import Constant, Graph, Node
from graphgrad.views import resolve

ERROR = 4.0  # times that of the plain sum
POINTS = tuple(map(Fraction, ("0", "1", "-1", "1/2", "-2")))  # and ∞
MOST_POINTS = len(POINTS) + 1

# What a number of V or M costs, which is written and read once, in operations of a product at full
# speed (measured: 40 to 60), and one of U or M where it is beside its taps (75 to 100).
MOVED, SPREAD = 50, 80
LEAST_FLOPS = 1 << 24  # of a product: some 70 us of two cores, or four more launches show
AHEAD = 1.1  # by how much the model must find it cheaper
SHORT = 16  # numbers in a row that are not worth being innermost

_zipped = partial(zip, strict=True)
Name = Hashable
POINT, ROW = "point", "row of a tile"


def fewer_products(graph: Graph) -> Graph:
    """Rewrite contractions over sliding windows where that saves time; see the module."""
    if not config.winograd:
        return graph
    tiled: dict[Node, _Tiled] = {}

    def rule(x: Node) -> Node | None:
        if x.op.name == "permute" and x.inputs[0] in tiled:
            return tiled[x.inputs[0]].permuted(x)
        found = list(_slides(x))
        if not found:
            return None
        place = settle("slide", _cheapest(found), binding=2 * _products(x) > 8 * LEAST_FLOPS)
        if place is None or place >= len(found):
            return None
        slide = found[place]
        result = slide.rewritten()
        if isinstance(result, Node):
            return result
        joined = result.joined(x)
        tiled[joined] = result
        return joined

    return ir.rewrite(graph, rule, "fewer_products")


@lru_cache(maxsize=64)
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m×n), G (n×r) and Bᵀ (n×n) for m results of r taps, n = m + r - 1 points; float64.

    With p over the points and ∞ last (Toom and Cook; Lavin and Gray, arXiv:1509.09308):
    Aᵀ[i, p] = pⁱ, G[p, k] = pᵏ / Π_{q≠p} (p - q), and row p of Bᵀ holds the coefficients of
    Π_{q≠p} (x - q); at ∞ stand the highest power alone and Π_q (x - q).
    """
    n = m + r - 1
    points = POINTS[: n - 1]
    others = [[q for q in points if q != p] for p in points]
    norms = [
        math.prod((p - q for q in rest), start=Fraction(1)) for p, rest in _zipped(points, others)
    ]
    results = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    taps = [[p**k / norm for k in range(r)] for p, norm in _zipped(points, norms)]
    taps.append([Fraction(k == r - 1) for k in range(r)])
    rows = [_polynomial(roots, n) for roots in (*others, points)]
    result, tap, row = (np.array(x, dtype=float) for x in (results, taps, rows))
    return result, tap, row


def _polynomial(roots: Sequence[Fraction], n: int) -> list[Fraction]:
    """The n lowest coefficients of Π (x - root), the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in _zipped([Fraction(0), *found], [*found, Fraction(0)])]
    return found + [Fraction(0)] * (n - len(found))


# ---- values with named dimensions ----------------------------------------------------------------


class _Named(NamedTuple):
    """A value whose dimensions have names; those of equal name are the same dimension.

    What is made of it belongs to the contraction ``whole``, and has its origins.
    """

    node: Node
    names: tuple[Name, ...]
    whole: Node

    def made(self, names: Sequence[Name], op: str, *inputs: Node, **attrs: Any) -> _Named:
        """A new value for the same contraction."""
        node = ir.node(op, *inputs, origins=self.whole.origins, **attrs)
        return _Named(node, tuple(names), self.whole)

    def ordered(self, names: Sequence[Name]) -> _Named:
        """With its dimensions in another order."""
        axes = tuple(map(self.names.index, names))
        if axes == tuple(range(len(axes))):
            return self
        return self.made(names, "permute", self.node, axes=axes)

    def windowed(self, attrs: dict[str, Any], new: Sequence[Name]) -> _Named:
        """With a window axis more for every name in ``new``."""
        return self.made([*self.names, *new], "window", self.node, **attrs) if new else self

    def dot(self, other: _Named, over: Sequence[Name]) -> _Named:
        """Products summed ``over`` common dimensions; other common ones are batches."""
        common = [name for name in self.names if name in other.names]
        batch = [name for name in common if name not in over]
        contract, batches = (
            tuple(tuple(map(x.names.index, names)) for x in (self, other))
            for names in (list(over), batch)
        )
        free = [name for x in (self, other) for name in x.names if name not in common]
        operands, pairs = (self.node, other.node), {"contract": contract, "batch": batches}
        return self.made([*batch, *free], "dot_general", *operands, **pairs)

    def stored(self) -> _Named:
        """A copy of it in memory, in this order."""
        return self.made(self.names, "identity", self.node)

    def reshaped(self, shape: Sequence[int]) -> Node:
        """Its elements in this order, in another shape."""
        return self.made((), "reshape", self.node, shape=tuple(shape)).node


def _matrix(values: np.ndarray, names: tuple[Name, Name], whole: Node) -> _Named:
    array = Constant(values.astype(whole.dtype.numpy))
    return _Named(ir.node("constant", array=array, origins=whole.origins), names, whole)


class _Tiled(NamedTuple):
    """A result in tiles: ``names`` is its order, in which ROW follows the axis it belongs to."""

    value: _Named
    names: tuple[Name, ...]

    def joined(self, like: Node) -> Node:
        """The tiles put together to the shape of ``like``."""
        return self.value.ordered(self.names).reshaped(like.shape)

    def permuted(self, x: Node) -> Node:
        """A permute of it: tiles move with their axis, so that the product is written that way."""
        at = self.names.index(ROW)
        tiles, whole = self.names[at - 1], [name for name in self.names if name != ROW]
        moved = [whole[axis] for axis in x.attrs["axes"]]
        moved.insert(moved.index(tiles) + 1, ROW)
        return _Tiled(self.value, tuple(moved)).joined(x)


# ---- one contraction -----------------------------------------------------------------------------


def _slides(x: Node) -> Iterator[_Slide]:
    """The ways to rewrite a contraction: an axis of an operand that is a sliding window."""
    if x.op.name != "dot_general" or x.dtype not in (dtypes.float32, dtypes.float64):
        return
    for side, window in enumerate(x.inputs):
        if window.op.name != "window":
            continue
        view = resolve(window.inputs[0])
        for i, axis in enumerate(window.attrs["axes"]):
            plain = window.attrs["stride"][i] == 1 == window.attrs["dilation"][i]
            # Tiles along the innermost axis would take neighbours apart.
            if plain and (view is None or view.strides[axis] > 1):
                yield from _Slide.of(x, side, i)


def _cheapest(found: Sequence[_Slide]) -> int | None:
    """The place of the cheapest way to rewrite a contraction; None where it is better left."""
    costs = [slide.cost for slide in found]
    place = costs.index(min(costs))
    plain = found[place].plain_cost
    return place if plain >= max(LEAST_FLOPS, costs[place] * AHEAD) else None


def _products(x: Node) -> int:
    return x.size * math.prod(x.inputs[0].shape[a] for a in x.attrs["contract"][0])


class _Slide:
    """A contraction to rewrite along one axis of a sliding window."""

    def __init__(self, x: Node, side: int, index: int, rows: int) -> None:
        self.x, self.index, self.rows = x, index, rows
        self.window, self.other = x.inputs[side], x.inputs[1 - side]
        self.base = self.window.inputs[0]
        names = _dimension_names(x)
        self.window_names, self.other_names = names[side], names[1 - side]
        rank = len(self.base.shape)
        self.axis = self.window_names[self.window.attrs["axes"][index]]
        self.tap = self.window_names[rank + index]
        self.taps = self.window.attrs["size"][index]
        self.points = rows + self.taps - 1
        self.summed = tuple(name for name in names[0] if name in names[1] and name[0] == "sum")
        self.extent = dict(_zipped(self.window_names, self.window.shape))
        self.extent |= dict(_zipped(self.other_names, self.other.shape))

    @classmethod
    def of(cls, x: Node, side: int, index: int) -> Iterator[_Slide]:
        """The best number of rows at once that divides the axis, if there is one."""
        window = x.inputs[side]
        positions, taps = window.shape[window.attrs["axes"][index]], window.attrs["size"][index]
        for rows in range(MOST_POINTS + 1 - taps, 1, -1):
            slide = cls(x, side, index, rows) if taps > 1 and positions % rows == 0 else None
            # One is summed and the other one free: with batches of positions, taps differ as well.
            if slide and {slide.axis[0], slide.tap[0]} == {"sum", side}:
                yield slide

    @property
    def forward(self) -> bool:
        """Whether taps are summed (a convolution), not positions (its gradient by the weights)."""
        return self.tap in self.summed

    @property
    def plain_cost(self) -> float:
        return 2.0 * _products(self.x)

    @property
    def cost(self) -> float:
        """Operations, and the numbers that are moved in units of them."""
        places, weights = self.x, self.other
        if not self.forward:
            places, weights = weights, places
        moved = (self.base.size + places.size) * self.points / self.rows
        spread = weights.size * self.points / self.taps
        fewer = self.points / (self.rows * self.taps)
        return self.plain_cost * fewer + MOVED * moved + SPREAD * spread

    def rewritten(self) -> Node | _Tiled:
        """The new product: a node, or tiles of it."""
        values = matrices(self.rows, self.taps)
        results, taps, rows = (_matrix(v, names, self.x) for v, names in _zipped(values, (
            (ROW, POINT), (POINT, self.tap), (POINT, ROW)
        )))  # fmt: skip
        v = self._sliding(rows)
        wanted = _result_names(self.x)
        over = [name for name in self.summed if name != self.tap]
        if self.forward:
            u = taps.dot(self._channels_innermost(), [self.tap])
            y = results.dot(u.dot(v, over), [POINT])
            at = wanted.index(self.axis) + 1
            return _Tiled(y, (*wanted[:at], ROW, *wanted[at:]))
        u = _transposed(results).dot(self._in_tiles(), [ROW])
        m = u.dot(v, over)
        last = max(m.names[1:], key=self.extent.__getitem__)
        inner = m.ordered([*(name for name in m.names if name != last), last])
        y = _transposed(taps).dot(inner, [POINT])
        return y.ordered([*(n for n in wanted if n != last), last]).stored().ordered(wanted).node

    def _sliding(self, rows: _Named) -> _Named:
        """V: the tiles' rows at every point, with the windows along other axes still sliding."""
        attrs, rank = self.window.attrs, len(self.base.shape)
        base = _Named(self.base, self.window_names[:rank], self.x)
        axis = attrs["axes"][self.index]
        tiles = base.windowed(_window(axis, self.points, self.rows), [ROW])
        v = rows.dot(tiles, [ROW])
        rest = [i for i in range(len(attrs["axes"])) if i != self.index]
        kept = {key: tuple(attrs[key][i] for i in rest) for key in attrs}
        kept["axes"] = tuple(a + 1 for a in kept["axes"])
        return v.windowed(kept, [self.window_names[rank + i] for i in rest])

    def _in_tiles(self) -> _Named:
        """The other operand with its positions cut into tiles."""
        axis = self.other_names.index(self.axis)
        whole = _Named(self.other, self.other_names, self.x)
        return whole.windowed(_window(axis, self.rows, self.rows), [ROW])

    def _channels_innermost(self) -> _Named:
        """The other operand with taps outside of a long dimension: they are read apart."""
        x, names = self.other, self.other_names
        flipped = x.attrs["axes"] if x.op.name == "flip" else ()
        inner = x.inputs[0] if flipped else x
        view = resolve(inner)
        long = [i for i, n in enumerate(x.shape) if n >= SHORT]
        last = min(long, key=view.strides.__getitem__) if view and long else len(names) - 1
        moved = _Named(inner, names, self.x).ordered(
            [*names[:last], *names[last + 1 :], names[last]]
        )
        if moved.node is not inner:
            moved = moved.stored()
        if flipped:
            axes = tuple(moved.names.index(names[a]) for a in flipped)
            moved = moved.made(moved.names, "flip", moved.node, axes=axes)
        return moved


def _window(axis: int, size: int, stride: int) -> dict[str, tuple[int, ...]]:
    return {"axes": (axis,), "size": (size,), "stride": (stride,), "dilation": (1,)}


def _transposed(matrix: _Named) -> _Named:
    return matrix.ordered(matrix.names[::-1])


def _dimension_names(x: Node) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Names for the dimensions of both operands of a contraction; paired ones share theirs."""
    found: list[tuple[Any, ...]] = []
    for side, operand in enumerate(x.inputs):
        contract, batch = x.attrs["contract"][side], x.attrs["batch"][side]
        name = {axis: ("sum", i) for i, axis in enumerate(contract)}
        name |= {axis: ("batch", i) for i, axis in enumerate(batch)}
        found.append(tuple(name.get(i, (side, i)) for i in range(len(operand.shape))))
    return found[0], found[1]


def _result_names(x: Node) -> tuple[Any, ...]:
    """Names of a contraction's own dimensions."""
    batch = tuple(("batch", i) for i in range(len(x.attrs["batch"][0])))
    free = (name for names in _dimension_names(x) for name in names)
    return (*batch, *(name for name in free if name[0] in (0, 1)))
