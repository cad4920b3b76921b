"""Which dimensions of different nodes are the same loop.

Every dimension of a node is one or more axes. Elementwise operands share axes with their result, a
reduction has axes its result lacks, a reshape splits an axis into two or reads several as one:

    place = placed(x)                 # fresh axes for x, and what they mean for each operand
    pairs = common(place_a, place_b)  # axes that must be equal if two nodes share a loop nest
    join(pairs)

So a loop nest is found for any set of nodes without looking at their shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from graphgrad.ir import Node
from graphgrad.ops import Shape
from graphgrad.views import VIEWS, path

_made = itertools.count()


class Axis:
    """One loop: its extent, and, once split, its outer and inner part.

    ``number`` counts axes as they are made: an order that is the same in every process.
    """

    __slots__ = ("number", "parent", "parts", "size")

    def __init__(self, size: int) -> None:
        self.size, self.number = size, next(_made)
        self.parent: Axis | None = None
        self.parts: tuple[Axis, Axis] | None = None

    def find(self) -> Axis:
        """The representative of the axes joined with this one."""
        axis = self
        while axis.parent is not None:
            if axis.parent.parent is not None:
                axis.parent = axis.parent.parent
            axis = axis.parent
        return axis

    def split(self, outer: int) -> tuple[Axis, Axis]:
        """Split into ``outer`` blocks."""
        self.parts = (Axis(outer), Axis(self.size // outer))
        return self.parts

    def __repr__(self) -> str:
        return f"axis{id(self) % 9973}:{self.size}"


Axes = tuple[Axis, ...]
Dims = tuple[Axes, ...]
Pairs = list[tuple[Axis, Axis]]


def leaves(axes: Iterable[Axis]) -> list[Axis]:
    """The unsplit representatives of some axes, outermost first."""
    result: list[Axis] = []
    for axis in axes:
        if axis.parent is not None:
            axis = axis.find()
        if axis.parts is None:
            result.append(axis)
        else:
            result += leaves(axis.parts)
    return result


def all_leaves(dims: Dims) -> list[Axis]:
    """The indivisible axes of every dimension, in order."""
    return [axis for axes in dims for axis in leaves(axes)]


def fresh(shape: Shape) -> Dims:
    """A new axis for every dimension that is not 1."""
    return tuple((Axis(n),) if n != 1 else () for n in shape)


def match(xs: Iterable[Axis], ys: Iterable[Axis]) -> Pairs | None:
    """Pair two factorisations of one dimension, splitting where that helps; None if it cannot."""
    left, right = leaves(xs)[::-1], leaves(ys)[::-1]
    if len(left) == len(right) == 1 and left[0].size == right[0].size:
        return [(left[0], right[0])]  # almost always
    pairs: Pairs = []
    while left and right:
        a, b = left.pop(), right.pop()
        if a.size == b.size:
            pairs.append((a, b))
        elif a.size > b.size:
            if a.size % b.size:
                return None
            outer, inner = a.split(b.size)
            pairs.append((outer, b))
            left.append(inner)
        else:
            if b.size % a.size:
                return None
            outer, inner = b.split(a.size)
            pairs.append((a, outer))
            right.append(inner)
    return None if left or right else pairs


def match_dims(xs: Dims, ys: Dims) -> Pairs | None:
    """Pair the axes of two nodes dimension by dimension, from the right, skipping broadcasts."""
    pairs: Pairs = []
    for x, y in zip(reversed(xs), reversed(ys), strict=False):
        if x and y:
            found = match(x, y)
            if found is None:
                return None
            pairs += found
    return pairs


def bijection(pairs: Pairs) -> dict[Axis, Axis] | None:
    """The pairs as a map from left to right leaves; None if they contradict each other."""
    again = True
    while again:
        expanded: Pairs = []
        for a, b in pairs:
            found = match((a,), (b,))
            if found is None:
                return None
            expanded += found
        pairs = expanded
        again = any(a.parts is not None or b.parts is not None for a, b in pairs)
    forward: dict[Axis, Axis] = {}
    backward: dict[Axis, Axis] = {}
    for a, b in pairs:
        if forward.setdefault(a, b) is not b or backward.setdefault(b, a) is not a:
            return None
    return forward


def join(pairs: Iterable[tuple[Axis, Axis]]) -> None:
    """Make the axes of each pair one."""
    for a, b in pairs:
        a, b = a.find(), b.find()
        if a is not b:
            b.parent = a


# ---------------------------------------------------------------------------------------- placement


@dataclass(slots=True, eq=False)
class Read:
    """An operand: the value below its views, and that value's dimensions in the reader's axes.

    ``dims`` is None where the reader does not walk the value one to one (slices, windows, flips).
    """

    base: Node
    dims: Dims | None


@dataclass(slots=True, eq=False)
class Place:
    """A node's axes: those it loops over, those of its result, those it reduces, its operands'."""

    domain: Dims
    dims: Dims
    reduced: Axes
    reads: tuple[Read, ...]


class Misfit(Exception):
    """A reshape whose factors do not nest with the loop's; ``node`` must be copied to memory."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


def reduced_axes(x: Node) -> tuple[int, ...]:
    """The dimensions of the first operand that are not dimensions of the result."""
    if x.op.kind != "reduce":
        return ()
    return x.attrs["axes"] if "axes" in x.attrs else (x.attrs["axis"],)


def _domain_shape(x: Node) -> Shape:
    """The shape of the loops that compute a node."""
    if x.op.kind == "reduce" or x.op.name == "window_sum":
        return x.inputs[0].shape
    return x.inputs[1].shape if x.op.name in ("scatter", "scatter_add") else x.shape


def aligned_operands(x: Node) -> tuple[Node, ...]:
    """Operands read element for element; the others are addressed by computed positions.

    A view that is written to memory reads what it views.
    """
    if x.op.name in VIEWS:
        return (x,)
    if x.op.name == "gather":
        return (x.inputs[1],)
    if x.op.name in ("scatter", "scatter_add"):
        _, index, source = x.inputs
        return (index, source) if index.shape == source.shape else (index,)
    return x.inputs if x.op.name != "random_bits" else ()


def placed(x: Node, memory: Container[Node]) -> Place:
    """Fresh axes for a computed node, matched with those of its operands' views.

    ``memory`` holds nodes that lie in contiguous memory: below them nothing is looked at, and any
    reshape of them is free. Raises Misfit for a reshape that must be copied.
    """
    gone = reduced_axes(x)
    domain = fresh(_domain_shape(x))
    reads = tuple(_read(domain, y, memory) for y in aligned_operands(x))
    if x.op.name == "gather":
        reads += (_picked(x, domain, memory),)
    dims = _without(domain, gone)
    reduced = tuple(axis for i in gone for axis in domain[i])
    return Place(domain, dims, reduced, reads)


def _without(domain: Dims, gone: Sequence[int]) -> Dims:
    return tuple(axes for i, axes in enumerate(domain) if i not in gone)


def _read(domain: Dims, operand: Node, memory: Container[Node]) -> Read:
    base, views = path(operand, memory)
    if operand.size == 0:
        return Read(base, None)
    dims = fresh(base.shape)
    result: Dims | None = dims
    contiguous, reshaped = base in memory, None
    for y in views:
        moved = push(dims, y)
        if y.op.name == "reshape" and not contiguous:
            reshaped = y.inputs[0]
        if moved is None:
            # Parts of a reshaped value need not follow the factors it was made from.
            if reshaped is not None:
                raise Misfit(reshaped)
            result, moved = None, fresh(y.shape)
        contiguous = contiguous and y.op.name == "reshape"
        dims = moved
    pairs = match_dims(domain, dims)
    mapping = None if pairs is None else bijection(pairs)
    if mapping is None:
        raise Misfit(operand)
    join(mapping.items())
    return Read(base, result)


def _picked(x: Node, domain: Dims, memory: Container[Node]) -> Read:
    """What a gather picks from: it walks it along all dimensions but one."""
    base, views = path(x.inputs[0], memory)
    if views or not walks_rows(x):
        return Read(base, None)
    axis = x.attrs["axis"]
    return Read(base, tuple(() if a == axis else axes for a, axes in enumerate(domain)))


def walks_rows(x: Node) -> bool:
    """Whether a gather picks one element of every row of its operand."""
    axis, (source, index) = x.attrs["axis"], x.inputs
    shape = (*source.shape[:axis], 1, *source.shape[axis + 1 :])
    return index.shape == shape


def push(dims: Dims, y: Node) -> Dims | None:
    """The axes of the view ``y`` of something with axes ``dims``; None if it is not one to one."""
    name = y.op.name
    if name == "permute":
        return tuple(dims[a] for a in y.attrs["axes"])
    if name == "expand":
        old = y.inputs[0].shape
        lead = len(y.shape) - len(old)
        wide = fresh(y.shape)
        return wide[:lead] + tuple(
            d if n == m else w
            for d, n, m, w in zip(dims, old, y.shape[lead:], wide[lead:], strict=True)
        )
    if name == "reshape":
        return _regroup(all_leaves(dims), y.shape)
    return None


def _regroup(flat: Sequence[Axis], shape: Shape) -> Dims | None:
    """Distribute axes over the dimensions of a reshape, splitting where one ends inside an axis."""
    stack, result = list(flat)[::-1], []
    for n in shape:
        taken: list[Axis] = []
        while n > 1:
            if not stack:
                return None
            axis = stack.pop()
            if n % axis.size and axis.size % n:
                return None
            if axis.size > n:
                axis, rest = axis.split(n)
                stack.append(rest)
            taken.append(axis)
            n //= axis.size
        result.append(tuple(taken))
    return tuple(result)


# -------------------------------------------------------------------------------------------- nests


class Nest:
    """Nodes that share one loop nest: their places, what they read, which axes they reduce."""

    __slots__ = ("domain", "places", "reads", "reduced")

    def __init__(self, x: Node, place: Place) -> None:
        self.places: dict[Node, Place] = {x: place}
        self.reads: dict[Node, Dims] = {r.base: r.dims for r in place.reads if r.dims is not None}
        self.domain: list[Axis] = [axis for axes in place.domain for axis in axes]
        self.reduced: list[Axis] = list(place.reduced)

    def absorb(self, other: Nest) -> None:
        """Take over the nodes of a nest whose axes were joined with this one's."""
        self.places |= other.places
        for base, dims in other.reads.items():
            self.reads.setdefault(base, dims)
        self.domain = list(dict.fromkeys(leaves(self.domain + other.domain)))
        self.reduced = list(dict.fromkeys(leaves(self.reduced + other.reduced)))


def correspondence(a: Nest, b: Nest, edges: Iterable[Read]) -> dict[Axis, Axis] | None:
    """Which axes of ``a`` are which of ``b``, where nodes of ``b`` read nodes of ``a`` (``edges``).

    The edges decide; axes they leave open are paired through values in memory that both nests walk,
    then reduced axes with open ones of equal size. None: the edges contradict each other.
    """
    pairs: Pairs = []
    for read in edges:
        found = None if read.dims is None else match_dims(a.places[read.base].dims, read.dims)
        if found is None:
            return None
        pairs += found
    mapping = bijection(pairs)
    if mapping is None:
        return None
    mapping = _through_memory(a, b, mapping)
    if a.reduced or b.reduced:
        mapping = _by_size(a, b, mapping)
    return mapping


def _open(axes: Iterable[Axis], matched: Iterable[Axis]) -> list[Axis]:
    taken = set(leaves(matched))
    return [axis for axis in leaves(axes) if axis not in taken]


def _through_memory(a: Nest, b: Nest, mapping: dict[Axis, Axis]) -> dict[Axis, Axis]:
    for base in a.reads if len(a.reads) < len(b.reads) else b.reads:
        if base not in a.reads or base not in b.reads:
            continue
        if not _open(b.domain, mapping.values()) or not _open(a.domain, mapping):
            break
        found = match_dims(a.reads[base], b.reads[base])
        if found is not None:
            wider = bijection([*mapping.items(), *found])
            mapping = mapping if wider is None else wider
    return mapping


def _by_size(a: Nest, b: Nest, mapping: dict[Axis, Axis]) -> dict[Axis, Axis]:
    left, right = _open(a.domain, mapping), _open(b.domain, mapping.values())
    if [x.size for x in left] == [x.size for x in right]:
        wider = bijection([*mapping.items(), *zip(left, right, strict=True)])
        return mapping if wider is None else wider
    return mapping
