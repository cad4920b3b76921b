"""The language gradients are written in: one function a primitive, over Nodes or Tensors alike.

    g * cos(x)  is  mul(g, cos(x))

Operands that are Nodes make a Node. As soon as one is a Tensor, its class decides (``_apply``):
eagerly a value, with a record when gradients of gradients are wanted. Python numbers take the dtype
of the other operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphgrad import ir
from graphgrad.dtypes import DType
from graphgrad.ir import Constant, Graph, Node
from graphgrad.ops import Shape

Value = Any


def apply(name: str, *inputs: Value, **attrs: Any) -> Value:
    """Build or run one primitive, whichever its operands call for."""
    for x in inputs:
        if type(x) is not Node:
            return x._apply(name, inputs, attrs)
    return ir.node(name, *inputs, **attrs)


def scalar(value: Any, dtype: DType) -> Node:
    """A literal: a 0-d value that kernels read at run time."""
    return ir.node("scalar", value=value, dtype=dtype)


def constant(array: Any) -> Node:
    """A small array that belongs to the graph."""
    return ir.node("constant", array=Constant(array))


def iota(shape: Shape, axis: int, dtype: DType) -> Node:
    """Positions along ``axis``: 0, 1, 2, …"""
    return ir.node("iota", shape=tuple(shape), axis=axis, dtype=dtype)


def full(shape: Shape, value: Any, dtype: DType) -> Node:
    """``value`` everywhere."""
    return expand(scalar(value, dtype), tuple(shape))


def full_like(x: Value, value: Any) -> Node:
    """``value`` in the shape and dtype of ``x``."""
    return full(x.shape, value, x.dtype)


def _binary(name: str) -> Any:
    def function(x: Value, y: Value) -> Value:
        if isinstance(y, (int, float, complex)):
            y = scalar(y, x.dtype)
        elif isinstance(x, (int, float, complex)):
            x = scalar(x, y.dtype)
        return apply(name, x, y)

    function.__name__ = name
    return function


def _unary(name: str) -> Any:
    def function(x: Value) -> Value:
        return apply(name, x)

    function.__name__ = name
    return function


add, sub, mul, div = map(_binary, ("add", "sub", "mul", "div"))
maximum, minimum, pow_, atan2 = map(_binary, ("maximum", "minimum", "pow", "atan2"))
floor_div, remainder, fmod = map(_binary, ("floor_div", "remainder", "fmod"))
eq, ne, lt, le, gt, ge = map(_binary, ("eq", "ne", "lt", "le", "gt", "ge"))
bitwise_and, bitwise_or = map(_binary, ("bitwise_and", "bitwise_or"))
neg, abs_, sign, exp, expm1 = map(_unary, ("neg", "abs", "sign", "exp", "expm1"))
log, log1p, log2 = map(_unary, ("log", "log1p", "log2"))
sin, cos, tan, tanh, sinh, cosh = map(_unary, ("sin", "cos", "tan", "tanh", "sinh", "cosh"))
erf, erfc, sqrt, rsqrt, reciprocal = map(_unary, ("erf", "erfc", "sqrt", "rsqrt", "reciprocal"))
sigmoid, floor, trunc = map(_unary, ("sigmoid", "floor", "trunc"))
logical_not, identity = map(_unary, ("logical_not", "identity"))


def conj(x: Value) -> Value:
    """The complex conjugate; real values themselves."""
    return apply("conj", x) if x.dtype.is_complex else x


def _part(x: Value, index: int) -> Value:
    pairs = apply("view_as_real", x)
    last = len(x.shape)
    start, stop = [0] * (last + 1), list(pairs.shape)
    start[last], stop[last] = index, index + 1
    return reshape(slice_(pairs, start, stop), x.shape)


def real(x: Value) -> Value:
    """The real part; real values themselves."""
    return _part(x, 0) if x.dtype.is_complex else x


def imag(x: Value) -> Value:
    """The imaginary part of complex values."""
    return _part(x, 1)


def complex_(x: Value, y: Value) -> Value:
    """``x + iy``."""
    pairs = [reshape(v, (*v.shape, 1)) for v in (x, y)]
    return apply("view_as_complex", apply("concat", *pairs, axis=len(x.shape)))


def int_pow(x: Value, exponent: int) -> Value:
    """``x`` to a whole power that belongs to the operation, by multiplications."""
    return apply("int_pow", x, exponent=exponent)


def where(test: Value, x: Value, y: Value) -> Value:
    """``x`` where ``test`` is true, else ``y``; all broadcast."""
    if isinstance(x, (int, float, complex)):
        x = scalar(x, y.dtype)
    if isinstance(y, (int, float, complex)):
        y = scalar(y, x.dtype)
    return apply("where", test, x, y)


def cast(x: Value, dtype: DType) -> Value:
    """``x`` converted to ``dtype``; itself if it is of that type."""
    return x if x.dtype is dtype else apply("cast", x, dtype=dtype)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """The elements of ``x``, in row-major order, in another shape of the same size."""
    return x if tuple(shape) == tuple(x.shape) else apply("reshape", x, shape=tuple(shape))


def permute(x: Value, axes: Sequence[int]) -> Value:
    """Dimension i of the result is dimension ``axes[i]`` of ``x``."""
    identity_ = tuple(axes) == tuple(range(len(axes)))
    return x if identity_ else apply("permute", x, axes=tuple(axes))


def expand(x: Value, shape: Sequence[int]) -> Value:
    """``x`` broadcast to ``shape``."""
    return x if tuple(shape) == tuple(x.shape) else apply("expand", x, shape=tuple(shape))


def flip(x: Value, axes: Sequence[int]) -> Value:
    """``x`` backwards along ``axes``."""
    return apply("flip", x, axes=tuple(axes))


def slice_(x: Value, start: Any, stop: Any, step: Any = None) -> Value:
    """``x[start:stop:step, …]``: one start, stop and step (1 unless given) a dimension."""
    step = (1,) * len(start) if step is None else tuple(step)
    return apply("slice", x, start=tuple(start), stop=tuple(stop), step=step)


def pad(x: Value, low: Any, high: Any, interior: Any = None, value: Any = 0) -> Value:
    """``value`` before, after and, ``interior`` of it, between the elements of each dimension."""
    interior = (0,) * len(low) if interior is None else tuple(interior)
    return apply("pad", x, low=tuple(low), high=tuple(high), interior=interior, value=value)


def sum_(x: Value, axes: Sequence[int]) -> Value:
    """The sum over ``axes``, which the result does not have."""
    return apply("sum", x, axes=tuple(axes)) if axes else x


def keep(x: Value, axes: Sequence[int], shape: Sequence[int]) -> Value:
    """Put reduced axes back as size 1, so that ``x`` broadcasts against ``shape``."""
    return reshape(x, tuple(1 if a in axes else n for a, n in enumerate(shape)))


def unbroadcast(g: Value, shape: Shape) -> Value:
    """Sum a cotangent over the axes along which its operand was broadcast."""
    shape = tuple(shape)
    if tuple(g.shape) == shape:
        return g
    lead = len(g.shape) - len(shape)
    stretched = [i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1]
    return reshape(sum_(g, (*range(lead), *stretched)), shape)


def dot_general(x: Value, y: Value, contract: Any, batch: Any = ((), ())) -> Value:
    """Products summed over pairs of ``contract`` axes: (batch…, rest of x…, rest of y…)."""
    return apply("dot_general", x, y, contract=contract, batch=batch)


def result(x: Value, index: int) -> Value:
    """Result ``index`` of an operation with several."""
    return apply("result", x, index=index)


def scan(
    body: Graph,
    carries: Sequence[Value],
    sequences: Sequence[Value],
    constants: Sequence[Value],
    length: int,
    reverse: bool = False,
) -> list[Value]:
    """Run ``body`` over ``length`` steps; returns the last carries, then the stacked results.

    The scan also stacks each step's incoming carries, for the gradient; what nobody reads of it is
    removed by the dead-code pass.
    """
    n = len(carries)
    longer = Graph(body.inputs, (*body.outputs, *body.inputs[:n]), body.name)
    stepped = apply(
        "scan",
        *carries,
        *sequences,
        *constants,
        body=longer,
        carries=n,
        sequences=len(sequences),
        length=length,
        reverse=reverse,
    )
    return [result(stepped, i) for i in range(len(body.outputs))]
