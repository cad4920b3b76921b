"""Operations that write strided parts of their result: each is a few stores of their own loops.

concat writes every operand into its slice, pad fills the border and copies the inside, slice_update
copies and overwrites a block, window_sum adds up the windows an element lies in, scatter writes
where an index says, cumulative operations run along their axis. What operands are computed from is
fused into these stores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap

from graphgrad import ir as graph_ir
from graphgrad.axes import Axis, all_leaves, fresh, leaves
from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import VIEWS, row_major

from .affine import Affine, dot
from .call import KernelCall
from .loops import filled_edges, lower_stores
from .nests import Frame, indices
from .schedule import Edge, Schedule, Store
from .values import Index, Trace, Value, positions, total

MAX_WINDOW = 256
MAX_TERMS, MAX_CALLS = 32, 32  # of a window_sum in one pass: windows' elements, and loop nests


class Root:
    """The region of one such operation, being lowered."""

    def __init__(self, region: Region, x: Node, aliases: Mapping[Node, Node]) -> None:
        self.region, self.x = region, x
        self.memory = frozenset(region.inputs)
        nodes = region.nodes
        if x.op.name in SEPARATE:
            nodes = tuple(y for y in nodes if y is not x)
        views = {y for y in x.inputs if y.op.name in VIEWS or y.op.kind == "source"}
        self.frame = Frame(nodes, self.memory, views)
        self.trace = Trace(self.memory, self.frame)
        for new, old in aliases.items():
            self.trace.arrays[new] = self.trace.array(old)
        # The first operand is what a block or scattered elements of are replaced.
        self.in_place = aliases.get(x) is x.inputs[0]
        if aliases and not self.in_place:
            raise NotImplementedError(f"{x!r} cannot be written over {aliases}")
        self.target = self.trace.array(x)
        self.strides = row_major(x.shape)

    def index(self, y: Node) -> Index:
        """The loops over all elements of an operand."""
        return indices(fresh(y.shape)) if y in self.memory else self.frame.index(y)

    def call(
        self,
        stores: Sequence[Store],
        serial: Sequence[Axis] = (),
        schedule: Schedule | None = None,
    ) -> list[KernelCall]:
        return lower_stores(self.region.name, stores, self.trace, serial, schedule)

    def copy(self, y: Node, start: Sequence[int], step: Sequence[int]) -> list[KernelCall]:
        """Write an operand to a strided block of the result."""
        if y.size == 0:
            return []
        index = self.index(y)
        where = [i * s + a for i, a, s in zip(index, start, step, strict=True)]
        return self.call([Store(self.target, dot(where, self.strides), self.trace.at(y, index))])

    def fill(self, value: float, start: Sequence[int], shape: Sequence[int]) -> list[KernelCall]:
        """Write a number to a block of the result."""
        if 0 in shape:
            return []
        where = [i + a for i, a in zip(indices(fresh(tuple(shape))), start, strict=True)]
        return self.call([Store(self.target, dot(where, self.strides), self.number(value))])

    def number(self, value: float) -> Value:
        """A number of the result's type, as an argument."""
        scalar = graph_ir.node("scalar", value=value, dtype=self.x.dtype, origins=())
        return self.trace.make("scalar", self.x.dtype, (), scalar)


def _concat(root: Root) -> list[KernelCall]:
    x, calls = root.x, []
    start, step = [0] * len(x.shape), [1] * len(x.shape)
    for y in x.inputs:
        calls += root.copy(y, start, step)
        start[x.attrs["axis"]] += y.shape[x.attrs["axis"]]
    return calls


def _pad(root: Root) -> list[KernelCall]:
    """The inside with what lies beside its rows, in one pass, then slabs of the border.

    Everything is filled before where elements are spread, or rows cannot be written that way.
    """
    x, (y,) = root.x, root.x.inputs
    low, high, interior = (x.attrs[k] for k in ("low", "high", "interior"))
    if min(*low, *high, 0) < 0:
        return crop(root)
    if any(interior) or y.size == 0:
        return spread(root)
    store, axes = _framed(root)
    # One schedule for both questions: asked twice, it could be another one (`graphgrad.choices`).
    schedule = Schedule.of([store])
    filled = filled_edges(schedule)
    if sum(low[-1:] + high[-1:]) > 0 and axes[-1] not in filled:
        return spread(root)
    store.edges = tuple(edge for edge in store.edges if edge.axis in filled)
    pairs = zip(axes, low, high, strict=True)
    ends = [(0, 0) if axis in filled else (before, after) for axis, before, after in pairs]
    return _border(root, ends) + root.call([store], schedule=schedule)


def spread(root: Root) -> list[KernelCall]:
    """Everything filled, then the operand's elements, wherever they go."""
    x, (y,) = root.x, root.x.inputs
    low, interior = x.attrs["low"], x.attrs["interior"]
    calls = root.fill(x.attrs["value"], [0] * len(low), x.shape)
    return calls + root.copy(y, low, [i + 1 for i in interior])


def _framed(root: Root) -> tuple[Store, list[Axis | None]]:
    """The copy of the inside, with the edges of each axis; and the axes they are the edges of."""
    x, (y,) = root.x, root.x.inputs
    low, high = x.attrs["low"], x.attrs["high"]
    index, fill = root.index(y), root.number(x.attrs["value"])
    where = [i + a for i, a in zip(index, low, strict=True)]
    shift = sum(a * s for a, s in zip(low, root.strides, strict=True))
    edges, axes = [], []
    for i, before, after, stride in zip(index, low, high, root.strides, strict=True):
        shift -= before * stride
        first = max(i.terms, key=lambda term: term[1])[0] if i.terms else None
        axes.append(first if isinstance(first, Axis) else None)
        if axes[-1] is not None and before + after:
            edges.append(Edge(axes[-1], before * stride, after * stride, shift, fill))
    value = root.trace.at(y, index)
    return Store(root.target, dot(where, root.strides), value, False, tuple(edges)), axes


def _border(root: Root, ends: Sequence[tuple[int, int]]) -> list[KernelCall]:
    """Slabs of the border, axis by axis."""
    calls: list[KernelCall] = []
    start, shape = [0] * len(ends), list(root.x.shape)
    for axis, (before, after) in enumerate(ends):
        for first, n in ((0, before), (root.x.shape[axis] - after, after)):
            slab, extent = list(start), list(shape)
            slab[axis], extent[axis] = first, n
            calls += root.fill(root.x.attrs["value"], slab, extent)
        start[axis], shape[axis] = before, shape[axis] - before - after
    return calls


def crop(root: Root) -> list[KernelCall]:
    """Padding that is negative somewhere: the part of the operand that stays."""
    x, (y,) = root.x, root.x.inputs
    first, count, start, step = [], [], [], []
    rows = zip(y.shape, x.attrs["low"], x.attrs["interior"], x.shape, strict=True)
    for n, low, interior, size in rows:
        s = interior + 1
        a = max(0, -(low // s)) if low < 0 else 0
        first.append(a)
        count.append(max(0, min(n, -(-(size - low) // s)) - a))
        start.append(low + a * s)
        step.append(s)
    calls = root.fill(x.attrs["value"], [0] * len(first), x.shape)
    if 0 in count:
        return calls
    index = indices(fresh(tuple(count)))
    where = [i * s + a for i, a, s in zip(index, start, step, strict=True)]
    value = root.trace.at(y, tuple(i + a for i, a in zip(index, first, strict=True)))
    return calls + root.call([Store(root.target, dot(where, root.strides), value)])


def _slice_update(root: Root) -> list[KernelCall]:
    x, (base, update) = root.x, root.x.inputs
    zero, one = [0] * len(x.shape), [1] * len(x.shape)
    calls = [] if root.in_place else root.copy(base, zero, one)
    return calls + root.copy(update, x.attrs["start"], x.attrs["step"])


def _window_sum(root: Root) -> list[KernelCall]:
    """Every element of the result once, from all windows it lies in, where these are few."""
    x, (y,) = root.x, root.x.inputs
    if math.prod(x.attrs["size"]) > MAX_WINDOW:
        raise NotImplementedError(f"window_sum over windows of {x.attrs['size']} elements")
    along = list(starmap(_stretches, _window_rows(x, y)))
    few = math.prod(x.attrs["size"]) <= MAX_TERMS and math.prod(map(len, along)) <= MAX_CALLS
    plain = all(n is x or n.op.kind == "elementwise" for n in root.region.nodes)
    if not (few and plain and x.size and y.size):
        return _windows_one_by_one(root)
    calls = []
    for stretches in itertools.product(*along):
        calls += root.call(list(_sums(root, stretches)))
    return calls


def _window_rows(x: Node, y: Node) -> list[tuple[int, ...]]:
    """(windows, size, stride, dilation, extent) of each axis that windows slide along."""
    a = x.attrs
    windows = [y.shape[axis] for axis in a["axes"]]
    extents = [x.shape[axis] for axis in a["axes"]]
    return list(zip(windows, a["size"], a["stride"], a["dilation"], extents, strict=True))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Elements ``stride·(first + i) + r`` of an axis, i < ``count``, for some remainders r.

    ``taps`` lists, by remainder, the places in the windows they are at, and by how much the number
    of that window is less than ``first + i``.
    """

    first: int
    count: int
    stride: int
    taps: dict[int, list[tuple[int, int]]]


def _stretches(windows: int, size: int, stride: int, dilation: int, extent: int) -> list[Stretch]:
    """An axis cut where a window begins or ends to reach its elements."""
    places = [(k, *divmod(k * dilation, stride)) for k in range(size)]
    counts = [-(-(extent - r) // stride) for r in range(stride)]
    cuts = {0, *counts}.union(*({shift, windows + shift} for _, shift, _ in places))
    ends = sorted(cut for cut in cuts if cut <= counts[0])
    found = []
    for first, end in itertools.pairwise(ends):
        taps: dict[int, list[tuple[int, int]]] = {r: [] for r in range(stride) if first < counts[r]}
        for k, shift, r in places:
            if r in taps and 0 <= first - shift < windows:
                taps[r].append((k, shift))
        found.append(Stretch(first, end - first, stride, taps))
    return found


def _sums(root: Root, stretches: Sequence[Stretch]) -> Iterator[Store]:
    """A store for every combination of remainders, all in the same loops."""
    x, (y,), axes = root.x, root.x.inputs, root.x.attrs["axes"]
    shape = list(x.shape)
    for axis, part in zip(axes, stretches, strict=True):
        shape[axis] = part.count
    here = indices(fresh(tuple(shape)))
    for rests in itertools.product(*(part.taps for part in stretches)):
        where, terms = list(here), []
        for axis, part, r in zip(axes, stretches, rests, strict=True):
            where[axis] = (here[axis] + part.first) * part.stride + r
        choices = [part.taps[r] for part, r in zip(stretches, rests, strict=True)]
        for taps in itertools.product(*choices):
            index = list(here)
            for axis, part, (_, shift) in zip(axes, stretches, taps, strict=True):
                index[axis] = here[axis] + (part.first - shift)
            inside = [Affine((), k) for k, _ in taps]
            terms.append(root.trace.at(y, (*index, *inside)))
        value = total(root.trace, "add", terms) if terms else root.number(0)
        yield Store(root.target, dot(where, root.strides), value)


def _windows_one_by_one(root: Root) -> list[KernelCall]:
    """One pass per position inside the window; a single one where windows do not overlap."""
    x, (y,) = root.x, root.x.inputs
    a, dims = x.attrs, root.frame.domain(x)
    count = len(a["axes"])
    inside = all_leaves(dims[len(dims) - count :])
    rows = list(zip(a["size"], a["stride"], a["dilation"], strict=True))
    apart = all(s >= d * (k - 1) + 1 for k, s, d in rows)
    stores = []
    for fixed in positions(inside):
        index = [i.substitute(fixed) for i in indices(dims)]
        where = index[: len(x.shape)]
        for axis, k, (_, s, d) in zip(a["axes"], index[len(where) :], rows, strict=True):
            where[axis] = where[axis] * s + k * d
        value = root.trace.at(y, tuple(index))
        stores.append(Store(root.target, dot(where, root.strides), value, not apart))
    calls = [] if apart and _covers(x, y) else root.fill(0, [0] * len(x.shape), x.shape)
    if y.size == 0:
        return calls
    groups = [stores] if apart else [[s] for s in stores]
    return calls + [call for group in groups for call in root.call(group)]


def _covers(x: Node, y: Node) -> bool:
    """Whether windows that do not overlap leave no gaps."""
    a = x.attrs
    rows = zip(a["axes"], a["size"], a["stride"], a["dilation"], a["extent"], strict=True)
    return all(s == k and (d == 1 or k == 1) and y.shape[i] * s == n for i, k, s, d, n in rows)


def _scatter(root: Root) -> list[KernelCall]:
    """Copy, then in the order of the index along its axis: the last of equal positions wins."""
    x, (base, index, source) = root.x, root.x.inputs
    zero, one = [0] * len(x.shape), [1] * len(x.shape)
    calls = [] if root.in_place else root.copy(base, zero, one)
    if index.size == 0:
        return calls
    axis, dims = x.attrs["axis"], root.frame.domain(x)
    here = indices(dims)
    where = list(here)
    where[axis] = root.trace.checked(root.trace.at(index, here), x.shape[axis])
    value = root.trace.at(source, here)
    add = x.op.name == "scatter_add"
    stores = [Store(root.target, dot(where, root.strides), value, add)]
    return calls + root.call(stores, leaves(dims[axis]) or [Axis(1)])


_RUNNING = {"cumsum": "add", "cumprod": "mul", "cummax": "maximum", "cummin": "minimum"}


def _cumulative(root: Root) -> list[KernelCall]:
    x, (y,) = root.x, root.x.inputs
    index = root.frame.index(x)
    axes = tuple(leaves(root.frame.domain(x)[x.attrs["axis"]])) or (Axis(1),)
    operand = root.trace.at(y, index)
    value = root.trace.make("running", x.dtype, [operand], _RUNNING[x.op.name], axes)
    return root.call([Store(root.target, dot(index, root.strides), value)], axes)


ROOTS: dict[str, Callable[[Root], list[KernelCall]]] = {
    "concat": _concat,
    "pad": _pad,
    "slice_update": _slice_update,
    "window_sum": _window_sum,
    "scatter": _scatter,
    "scatter_add": _scatter,
    **dict.fromkeys(_RUNNING, _cumulative),
}
SEPARATE = frozenset({"concat", "pad", "slice_update"})
