"""What a kernel computes, without loops: values as expressions over affine positions.

    trace = Trace(memory, frame)
    value = trace.at(x, frame.index(x))     # x's element at an index: a Value

Equal expressions are one Value. Views disappear: they only change the index their operand is asked
for, so a value may be asked for at several positions and is then computed at each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.views import row_major

from .affine import ZERO, Affine, dot, split
from .nests import Frame

Index = tuple[Affine, ...]

# Larger than any position: what an arg-reduction takes where the extremum is not.
NOWHERE = 2**62


class Array:
    """An array a kernel addresses: a node's memory, or scratch that chunks or calls share."""

    __slots__ = ("dtype", "name", "nbytes", "slot")

    def __init__(self, name: str, dtype: DType, slot: tuple[Any, ...], nbytes: int) -> None:
        self.name, self.dtype, self.slot, self.nbytes = name, dtype, slot, nbytes


_made = itertools.count()


class Value:
    """One scalar expression. ``axes`` are the loops it varies with, ``stage`` how many reductions
    have to be finished before it can be computed. ``number`` counts values as they are made."""

    __slots__ = ("args", "attrs", "axes", "dtype", "number", "op", "stage")

    def __init__(self, op: str, dtype: DType, args: tuple[Value, ...], attrs: Any) -> None:
        self.op, self.dtype, self.args, self.attrs = op, dtype, args, attrs
        self.number = next(_made)
        self.axes: frozenset[Axis] = frozenset().union(*(a.axes for a in args))
        self.stage = max((a.stage for a in args), default=0)
        if op in ("load", "index"):
            self.axes |= {t for t, _ in self.position.terms if isinstance(t, Axis)}
        elif op == "reduce":
            self.axes -= set(attrs[1])
            self.stage += 1
        elif op == "running":
            self.axes |= set(attrs[1])

    @property
    def array(self) -> Array:
        """What a load reads."""
        return self.attrs[0]

    @property
    def position(self) -> Affine:
        """Where a load reads, or the number an index is."""
        return self.attrs[-1]

    def __repr__(self) -> str:
        return f"{self.op}:{self.dtype.name}{list(self.args)}"


class Trace:
    """Builds the values of a region's nodes."""

    def __init__(
        self, memory: Container[Node], frame: Frame, unrolled: Sequence[Axis] = ()
    ) -> None:
        self.memory, self.frame, self.unrolled = memory, frame, unrolled
        self.fixed: dict[Axis, Affine] = {}
        self.arrays: dict[Node, Array] = {}
        self._known: dict[tuple[Any, ...], Value] = {}
        self._at: dict[tuple[Node, Index], Value] = {}

    def array(self, x: Node) -> Array:
        """The memory of a node."""
        if x not in self.arrays:
            self.arrays[x] = Array("x", x.dtype, ("ptr", x), x.nbytes)
        return self.arrays[x]

    def nodes(self) -> Iterator[tuple[Node, Value]]:
        """Every node with the values it had, at whatever index it was asked for."""
        return ((x, v) for (x, _), v in self._at.items())

    # ---- construction

    def make(self, op: str, dtype: DType, args: Iterable[Value] = (), *attrs: Any) -> Value:
        """The value of an expression, which is the one made before if there is one."""
        args = tuple(args)
        key = (op, dtype, args, attrs)
        if key not in self._known:
            self._known[key] = Value(op, dtype, args, attrs)
        return self._known[key]

    def literal(self, number: float | int, dtype: DType) -> Value:
        return self.make("literal", dtype, (), type(number)(number))

    def checked(self, value: Value, extent: int) -> Affine:
        """An index read from memory, bounds checked, as a term of a position."""
        return Affine.of(self.make("checked", dtypes.int64, [value], extent))

    @property
    def nowhere(self) -> Value:
        return self.literal(NOWHERE, dtypes.int64)

    def load(self, array: Array, position: Affine) -> Value:
        terms = tuple(t for t, _ in position.terms if isinstance(t, Value))
        return self.make("load", array.dtype, terms, array, position)

    def index(self, dtype: DType, position: Affine) -> Value:
        """The number that a position is."""
        terms = tuple(t for t, _ in position.terms if isinstance(t, Value))
        return self.make("index", dtype, terms, position)

    # ---- nodes

    def here(self, x: Node) -> Value:
        """A node's value at the current position of its loops."""
        return self.at(x, self.place(self.frame.index(x)))

    def place(self, index: Index) -> Index:
        """An index with unrolled axes replaced by where they are."""
        if not self.fixed:
            return index
        return tuple(i.substitute(self.fixed) for i in index)

    def at(self, x: Node, index: Index) -> Value:
        """A node's value at an index."""
        key = (x, index)
        if key not in self._at:
            self._at[key] = self._evaluate(x, index)
        return self._at[key]

    def _evaluate(self, x: Node, index: Index) -> Value:
        if x in self.memory:
            return self.load(self.array(x), dot(index, row_major(x.shape)))
        rule = _RULES.get(x.op.name) or _KIND_RULES.get(x.op.kind)
        if rule is None:
            raise NotImplementedError(f"{x.op.name} is no part of a fused loop")
        return rule(self, x, index)

    def operand(self, x: Node, y: Node, index: Index) -> Value:
        """A broadcast operand of an elementwise node."""
        own = index[len(index) - len(y.shape) :] if y.shape else ()
        return self.at(y, tuple(ZERO if n == 1 else i for n, i in zip(y.shape, own, strict=True)))


# ---- elementwise ---------------------------------------------------------------------------------


def _elementwise(t: Trace, x: Node, index: Index) -> Value:
    args = [t.operand(x, y, index) for y in x.inputs]
    return t.make(x.op.name, x.dtype, args)


def _identity(t: Trace, x: Node, index: Index) -> Value:
    return t.operand(x, x.inputs[0], index)


def _cast(t: Trace, x: Node, index: Index) -> Value:
    value = t.operand(x, x.inputs[0], index)
    return value if value.dtype is x.dtype else t.make("cast", x.dtype, [value])


def _int_pow(t: Trace, x: Node, index: Index) -> Value:
    """By squaring and multiplying, in the interpreter's order."""
    exponent, square = abs(x.attrs["exponent"]), t.operand(x, x.inputs[0], index)
    result: Value | None = None
    while exponent:
        if exponent & 1:
            result = square if result is None else t.make("mul", x.dtype, [result, square])
        exponent >>= 1
        if exponent:
            square = t.make("mul", x.dtype, [square, square])
    if result is None:
        result = t.literal(1, x.dtype)
    if x.attrs["exponent"] < 0:
        return t.make("reciprocal", x.dtype, [result])
    return result


def _random_bits(t: Trace, x: Node, index: Index) -> Value:
    linear = t.index(dtypes.uint32, dot(index, row_major(x.shape)))
    key, offset = (t.at(x.inputs[0], (Affine((), i),)) for i in (0, 1))
    word = t.make("philox", x.dtype, [linear, offset, key])
    return t.make("word", x.dtype, [word], x.attrs["word"])


def _iota(t: Trace, x: Node, index: Index) -> Value:
    return t.index(x.dtype, index[x.attrs["axis"]])


def _scalar(t: Trace, x: Node, index: Index) -> Value:
    return t.make("scalar", x.dtype, (), x)


# ---- movement ------------------------------------------------------------------------------------


def _reshape(t: Trace, x: Node, index: Index) -> Value:
    linear, y = dot(index, row_major(x.shape)), x
    while y.op.name == "reshape" and y not in t.memory:
        # Only positions count: the shapes of reshapes in between do not matter.
        y = y.inputs[0]
        if y in t.memory:
            return t.load(t.array(y), linear)
        inner = split(linear, y.shape, _term_size)
        if inner is not None:
            return t.at(y, tuple(inner))
    raise NotImplementedError(f"{x!r} of {y!r} does not follow the loops")


def _term_size(term: Any) -> int:
    """How many numbers a term of an index takes: an axis' extent, a gather's range."""
    return term.size if isinstance(term, Axis) else term.attrs[0]


def _permute(t: Trace, x: Node, index: Index) -> Value:
    inner = [ZERO] * len(index)
    for i, axis in zip(index, x.attrs["axes"], strict=True):
        inner[axis] = i
    return t.at(x.inputs[0], tuple(inner))


def _slice(t: Trace, x: Node, index: Index) -> Value:
    rows = zip(index, x.attrs["start"], x.attrs["step"], strict=True)
    return t.at(x.inputs[0], tuple(i * step + start for i, start, step in rows))


def _flip(t: Trace, x: Node, index: Index) -> Value:
    axes, shape = x.attrs["axes"], x.shape
    pairs = enumerate(zip(index, shape, strict=True))
    return t.at(x.inputs[0], tuple(i * -1 + (n - 1) if a in axes else i for a, (i, n) in pairs))


def _window(t: Trace, x: Node, index: Index) -> Value:
    a = x.attrs
    inner = list(index[: len(x.inputs[0].shape)])
    tail = index[len(inner) :]
    for axis, k, stride, dilation in zip(a["axes"], tail, a["stride"], a["dilation"], strict=True):
        inner[axis] = inner[axis] * stride + k * dilation
    return t.at(x.inputs[0], tuple(inner))


def _gather(t: Trace, x: Node, index: Index) -> Value:
    source, positions = x.inputs
    axis = x.attrs["axis"]
    inner = list(index)
    inner[axis] = t.checked(t.at(positions, index), source.shape[axis])
    return t.at(source, tuple(inner))


# ---- reductions ----------------------------------------------------------------------------------


def _reduce(t: Trace, x: Node, index: Index) -> Value:
    if index != t.place(t.frame.index(x)):
        raise NotImplementedError(f"{x!r} is read where its loops are not")
    axes = t.frame.reduced(x)
    if x.inputs[0].size == 0:
        return t.literal(identity(_fold(x), x.dtype), x.dtype)
    if t.unrolled:
        return _unrolled(t, x, axes)
    operand = t.at(x.inputs[0], t.place(t.frame.domain_index(x)))
    if not axes:
        return operand if x.op.name in _FOLDS else t.literal(0, dtypes.int64)
    if x.op.name in _FOLDS:
        return t.make("reduce", x.dtype, [operand], _fold(x), tuple(axes))
    best = t.make("reduce", operand.dtype, [operand], _EXTREMUM[x.op.name], tuple(axes))
    place = t.index(dtypes.int64, t.frame.domain_index(x)[x.attrs["axis"]])
    found = t.make("where", dtypes.int64, [_hits(t, operand, best), place, t.nowhere])
    return t.make("reduce", dtypes.int64, [found], "minimum", tuple(axes))


def _fold(x: Node) -> str:
    """The binary operation a reduction repeats; on booleans, or and and."""
    if x.dtype is dtypes.bool_:
        return "bitwise_or" if x.op.name in ("sum", "max") else "bitwise_and"
    return _FOLDS[x.op.name]


def _hits(t: Trace, operand: Value, best: Value) -> Value:
    """Where an element is the extremum; a NaN is, as soon as there is one."""
    hit = t.make("eq", dtypes.bool_, [operand, best])
    if not operand.dtype.is_floating_point:
        return hit
    nan = t.make("ne", dtypes.bool_, [operand, operand])
    return t.make("bitwise_or", dtypes.bool_, [hit, nan])


def _unrolled(t: Trace, x: Node, axes: Sequence[Axis]) -> Value:
    """A reduction over a few elements, written out."""
    outside, operands, places = t.fixed, [], []
    for fixed in positions(axes):
        t.fixed = {**outside, **fixed}
        operands.append(t.at(x.inputs[0], t.place(t.frame.domain_index(x))))
        if "axis" in x.attrs:
            place = t.place(t.frame.domain_index(x))[x.attrs["axis"]]
            places.append(t.index(dtypes.int64, place))
    t.fixed = outside
    if x.op.name in _FOLDS:
        return total(t, _fold(x), operands)
    best = total(t, _EXTREMUM[x.op.name], operands)
    result = t.nowhere
    for operand, place in zip(reversed(operands), reversed(places), strict=True):
        result = t.make("where", dtypes.int64, [_hits(t, operand, best), place, result])
    return result


def positions(axes: Sequence[Axis]) -> Iterator[dict[Axis, Affine]]:
    """Every position of some axes, the last one running fastest."""
    for position in itertools.product(*(range(a.size) for a in axes)):
        yield {a: Affine((), p) for a, p in zip(axes, position, strict=True)}


def total(t: Trace, op: str, values: list[Value]) -> Value:
    """Values folded in pairs."""
    while len(values) > 1:
        odd = values[len(values) // 2 * 2 :]
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [t.make(op, a.dtype, (a, b)) for a, b in pairs] + odd
    return values[0]


def identity(op: str, dtype: DType) -> Any:
    """What a reduction starts with."""
    if dtype is dtypes.bool_:
        return op in ("bitwise_and", "minimum", "mul")
    if op in ("add", "mul", "bitwise_or", "bitwise_and"):
        number = {"add": 0, "mul": 1, "bitwise_or": 0, "bitwise_and": -1}[op]
        return float(number) if dtype.is_floating_point else number
    if dtype.is_floating_point:
        return float("-inf") if op == "maximum" else float("inf")
    bounds = _bounds(dtype)
    return bounds[0] if op == "maximum" else bounds[1]


def _bounds(dtype: DType) -> tuple[int, int]:
    """The smallest and largest integer of a dtype."""
    bits = 8 * dtype.itemsize
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.is_signed else (0, 2**bits - 1)


_FOLDS = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum"}
_EXTREMUM = {"argmax": "maximum", "argmin": "minimum"}

_RULES: dict[str, Callable[[Trace, Node, Index], Value]] = {
    "identity": _identity,
    "cast": _cast,
    "int_pow": _int_pow,
    "random_bits": _random_bits,
    "iota": _iota,
    "scalar": _scalar,
    "reshape": _reshape,
    "permute": _permute,
    "expand": _identity,
    "slice": _slice,
    "flip": _flip,
    "window": _window,
    "gather": _gather,
}
_KIND_RULES = {"elementwise": _elementwise, "reduce": _reduce}
