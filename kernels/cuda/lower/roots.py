"""Operations that write strided parts of their result, on a grid.

As `kernels.lower.roots`, whose rules run here with grid calls for loops, but: every element of a
padded array, or of summed windows, finds what it is made of (one kernel, where a CPU would rather
walk borders apart), scattered sums are atomic, and of scattered elements the last is elected.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from graphgrad import dtypes
from graphgrad import ir as graph_ir
from graphgrad.axes import Axis, fresh
from graphgrad.ir import Node
from graphgrad.regions import Region

from ...lower import roots as cpu
from ...lower.affine import Affine, dot
from ...lower.nests import indices
from ...lower.schedule import Store
from ...lower.values import Array, Value, total
from ..call import GridCall
from .loops import lower_stores, summary
from .writer import WIDE

FEW = 32  # elements along an axis that one thread may as well scatter in order
ATOMIC = frozenset({dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.uint32})


class GridRoot(cpu.Root):
    """The region of one such operation, being lowered for a grid."""

    def __init__(self, region: Region, x: Node, aliases: Mapping[Node, Node]) -> None:
        super().__init__(region, x, aliases)
        self.about = summary(region)

    def call(self, stores: Sequence[Store], serial: Sequence[Axis] = ()) -> list[GridCall]:  # type: ignore[override]
        return lower_stores(self.region.name, self.about, stores, self.trace, serial)

    def inside(self, position: Affine, step: int, extent: int) -> tuple[Affine, Value | None]:
        """Which of ``extent`` elements, ``step`` apart, lies at a position: its index, or 0 where
        there is none, and whether there is one (None: always)."""
        t, int32 = self.trace, dtypes.int32
        ends = [sum(f(0, c * (term.size - 1)) for term, c in position.terms) for f in (min, max)]
        low, high = (position.const + end for end in ends)
        if step == 1 and low >= 0 and high < extent:
            return position, None
        place, zero = t.index(int32, position), t.literal(0, int32)
        tests = []
        if low < 0:
            tests.append(t.make("ge", dtypes.bool_, [place, zero]))
        if step > 1:
            apart = self.size(step)
            rest = t.make("remainder", int32, [place, apart])
            tests.append(t.make("eq", dtypes.bool_, [rest, zero]))
            place = t.make("floor_div", int32, [place, apart])
        if high >= extent * step:
            tests.append(t.make("lt", dtypes.bool_, [place, self.size(extent)]))
        test = total(t, "bitwise_and", tests)
        return Affine.of(t.make("where", int32, [test, place, zero], extent)), test

    def size(self, n: int) -> Value:
        """A size, as an argument."""
        scalar = graph_ir.node("scalar", value=n, dtype=dtypes.int32, origins=())
        return self.trace.make("scalar", dtypes.int32, (), scalar)

    def chosen(self, tests: Sequence[Value | None], value: Value, other: Value) -> Value:
        """A value where all tests hold."""
        held = [test for test in tests if test is not None]
        if not held:
            return value
        test = total(self.trace, "bitwise_and", held)
        return self.trace.make("where", value.dtype, [test, value, other])


def _pad(root: GridRoot) -> list[GridCall]:
    """Every element: the operand's where it lies there, else the border's number."""
    x, (y,) = root.x, root.x.inputs
    if 0 in y.shape or 0 in x.shape:
        return cpu.spread(root)
    here = indices(fresh(x.shape))
    rows = zip(here, x.attrs["low"], x.attrs["interior"], y.shape, strict=True)
    places = [root.inside(i + -low, between + 1, n) for i, low, between, n in rows]
    try:
        value = root.trace.at(y, tuple(place for place, _ in places))
    except NotImplementedError:  # a reduction, say, which is where its own loops are
        return cpu.crop(root) if min(x.attrs["low"] + x.attrs["high"]) < 0 else cpu.spread(root)
    value = root.chosen([test for _, test in places], value, root.number(x.attrs["value"]))
    return root.call([Store(root.target, dot(here, root.strides), value)])


def _window_sum(root: GridRoot) -> list[GridCall]:
    """Every element: the sum over the windows it lies in, tap by tap."""
    x, (y,), a = root.x, root.x.inputs, root.x.attrs
    extents = [x.shape[axis] for axis in a["axes"]]
    whole = all(n % s == 0 for n, s in zip(extents, a["stride"], strict=True))
    if not whole or math.prod(a["size"]) > cpu.MAX_TERMS or 0 in (x.size, y.size):
        return cpu.ROOTS["window_sum"](root)
    shape = list(x.shape)
    for axis, s in zip(a["axes"], a["stride"], strict=True):
        shape[axis] //= s
    here = indices(fresh(tuple(shape)))
    try:
        stores = [
            _tapped(root, here, rests)
            for rests in itertools.product(*(range(s) for s in a["stride"]))
        ]
    except NotImplementedError:
        return cpu.ROOTS["window_sum"](root)
    return root.call(stores)


def _tapped(root: GridRoot, here: Sequence[Affine], rests: tuple[int, ...]) -> Store:
    """The store of elements at some remainders of the strides: what their taps add up to."""
    (y,), a, t = root.x.inputs, root.x.attrs, root.trace
    where = list(here)
    choices = []
    for d, (axis, rest) in enumerate(zip(a["axes"], rests, strict=True)):
        where[axis] = here[axis] * a["stride"][d] + rest
        taps = [(k, *divmod(k * a["dilation"][d], a["stride"][d])) for k in range(a["size"][d])]
        choices.append([(k, shift) for k, shift, r in taps if r == rest])
    terms = []
    for taps in itertools.product(*choices):
        index, tests = list(here), []
        for axis, (_, shift) in zip(a["axes"], taps, strict=True):
            index[axis], test = root.inside(here[axis] + -shift, 1, y.shape[axis])
            tests.append(test)
        value = t.at(y, (*index, *(Affine((), k) for k, _ in taps)))
        terms.append(root.chosen(tests, value, root.number(0)))
    total_ = total(t, "add", terms) if terms else root.number(0)
    return Store(root.target, dot(where, root.strides), total_)


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
    return calls + lower_stores(root.region.name, root.about, [store], root.trace, atomic="add")


def _scatter(root: GridRoot) -> list[GridCall]:
    """The last of equal positions wins: elements' numbers meet in a maximum, the winner is read."""
    x, index = root.x, root.x.inputs[1]
    count = index.shape[x.attrs["axis"]] if index.shape else 1
    if index.size == 0 or count <= FEW or x.size > WIDE:
        return cpu.ROOTS["scatter"](root)
    try:
        stores = _elected(root, count)
    except NotImplementedError:
        return cpu.ROOTS["scatter"](root)
    calls = []
    for store in stores:
        atomic = "max" if store.add else ""
        about = f"{root.about}: the last of equal positions"
        scratch = 4 * x.size
        calls += lower_stores(
            root.region.name, about, [store], root.trace, atomic=atomic, scratch=scratch
        )
    return calls


def _elected(root: GridRoot, count: int) -> list[Store]:
    """No winner yet; every element a candidate where it goes; what each place takes."""
    x, (base, index, source), t = root.x, root.x.inputs, root.trace
    axis, int32, zero = x.attrs["axis"], dtypes.int32, root.trace.literal(0, dtypes.int32)
    winners = Array("w", int32, ("scratch", 0), 4 * x.size)
    everywhere = indices(fresh(x.shape))
    start = Store(winners, dot(everywhere, root.strides), t.literal(-1, int32))
    here = indices(root.frame.domain(x))
    where = list(here)
    where[axis] = t.checked(t.at(index, here), x.shape[axis])
    number = t.index(int32, here[axis])
    vote = Store(winners, dot(where, root.strides), number, True)
    everywhere = indices(fresh(x.shape))
    place = dot(everywhere, root.strides)
    winner = t.load(winners, place)
    won = t.make("ge", dtypes.bool_, [winner, zero])
    taken = [root.inside(i, 1, n)[0] for i, n in zip(everywhere, source.shape, strict=True)]
    taken[axis] = Affine.of(t.make("where", int32, [won, winner, zero], count))
    value = root.chosen([won], t.at(source, tuple(taken)), t.at(base, everywhere))
    return [start, vote, Store(root.target, place, value)]


ROOTS: dict[str, Callable[[GridRoot], list[GridCall]]] = {
    **cpu.ROOTS,
    "pad": _pad,
    "window_sum": _window_sum,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
}
