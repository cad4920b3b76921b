"""The NumPy interpreter: one rule a primitive. It is the definition of the operations.

    run(graph, [array, …]) -> [array, …]

Kernels are tested against it, constants are folded with it, and eager code runs small operations
through ``RULES`` directly. Rules take arrays and attributes and return arrays (a tuple of arrays
for an operation with several results). They may return views; callers that write must copy.

``rule_of(name, operands)`` is the rule for operands of some types: what is computed with float16 or
bfloat16 is computed in float32 and rounded to the nearest value, ties to even.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphgrad.errors import GraphError, RangeError
from graphgrad.ir import Constant, Graph, Node
from graphgrad.ops import size_of
from graphgrad.philox import philox2x32_numpy

Array = Any
RULES: dict[str, Callable[..., Any]] = {}

# Infinities and NaNs are values here, as in PyTorch: NumPy's warnings about them, raised from this
# module's lines, would only repeat that. A filter costs nothing per call; np.errstate costs 0.5 µs.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"graphgrad\.")


def run(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """Evaluate ``graph`` on one array an input; returns one array an output."""
    value: dict[Node, Any] = dict(zip(graph.inputs, arrays, strict=True))
    for x in graph.nodes:
        if x not in value:
            value[x] = evaluate(x, [value[i] for i in x.inputs])
    return [value[y] for y in graph.outputs]


def evaluate(x: Node, operands: Sequence[Any]) -> Any:
    """One node's value from its operands' values."""
    try:
        result = rule_of(x.op.name, x.inputs)(*operands, **x.attrs)
    except IndexError as error:
        raise RangeError(f"{error} (in {x.op.name}, {x.origin})") from None
    return result if x.op.results else _typed(result, x)


def _typed(result: Any, x: Node) -> Array:
    """NumPy scalars become 0-d arrays; anything of another type than the rules say is a bug."""
    array = np.asarray(result)
    if array.dtype != x.dtype.numpy or array.shape != x.shape:
        got = f"{array.dtype}{list(array.shape)}"
        raise GraphError(f"the interpreter made {got} for {x!r} ({x.origin})")
    return array


# Operations that only move values, or that know their types themselves.
_MOVING = frozenset(
    "identity cast bitcast where reshape permute expand slice pad flip concat window slice_update "
    "gather scatter sort argmax argmin max min cummax cummin result scan cond while_loop "
    "custom_call".split()
)


def rule_of(name: str, operands: Sequence[Any]) -> Callable[..., Any]:
    """The rule for operands, anything with a ``dtype``."""
    if name in _MOVING or not any(x.dtype.is_half for x in operands):
        return RULES[name]
    return partial(_in_float32, RULES[name])


def _in_float32(rule: Callable[..., Any], *operands: Any, **attrs: Any) -> Any:
    kinds = {x.dtype for x in operands if x.dtype.itemsize == 2 and x.dtype not in _WHOLE}
    wide = [x.astype(np.float32) if x.dtype in kinds else x for x in operands]
    result = rule(*wide, **attrs)
    return result.astype(*kinds) if result.dtype == np.float32 else result


_WHOLE = (np.dtype(np.int16), np.dtype(np.uint16))


def rule(name: str) -> Callable[[Any], Any]:
    """Register the NumPy meaning of a primitive."""

    def register(function: Any) -> Any:
        RULES[name] = function
        return function

    return register


# -------------------------------------------------------------------------------------- elementwise


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow: exp only ever sees -|x|."""
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype, copy=False)


def int_pow(x: Array, exponent: int) -> Array:
    """x to an integer power by squaring and multiplying, as kernels do it."""
    if exponent < 0:
        return np.reciprocal(int_pow(x, -exponent))
    result, square = None, x
    while exponent:
        if exponent & 1:
            result = square if result is None else np.multiply(result, square)
        exponent >>= 1
        if exponent:
            square = np.multiply(square, square)
    return np.ones_like(x) if result is None else result


def _erf(x: Array) -> Array:
    """Error function: Abramowitz and Stegun 7.1.5 series, and the 7.1.14 continued fraction.

    Evaluated in float64, so float32 results are correctly rounded up to the last bit.
    """
    return np.where(
        np.abs(x) < 2.5, _erf_series(x), np.sign(x) * (1 - _erfc_tail(np.abs(x)))
    ).astype(x.dtype, copy=False)


def _erfc(x: Array) -> Array:
    tail = _erfc_tail(np.abs(x))
    far = np.where(x > 0, tail, 2 - tail)
    return np.where(np.abs(x) < 2.5, 1 - _erf_series(x), far).astype(x.dtype, copy=False)


def _erf_series(x: Array) -> Array:
    """erf(x) = 2/sqrt(pi) exp(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!! (A&S 7.1.6): all terms positive."""
    v = np.clip(np.asarray(x, np.float64), -2.5, 2.5)
    square = 2 * v * v
    term, total = v, v.copy() if isinstance(v, np.ndarray) else v
    for n in range(1, 60):
        term = term * square / (2 * n + 1)
        total = total + term
    return np.where(np.isnan(x), np.nan, 2 / np.sqrt(np.pi) * np.exp(-v * v) * total)


def _erfc_tail(x: Array) -> Array:
    """erfc(x) for x >= 2.5 by its continued fraction (A&S 7.1.14)."""
    v = np.maximum(np.asarray(x, np.float64), 2.5)
    fraction = v
    for n in range(60, 0, -1):
        fraction = v + (n / 2) / fraction
    return np.where(np.isinf(v), 0.0, np.exp(-v * v) / (np.sqrt(np.pi) * fraction))


RULES |= {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "conj": np.conjugate,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _erf,
    "erfc": _erfc,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "reciprocal": np.reciprocal,
    "sigmoid": sigmoid,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "int_pow": int_pow,
    "logical_not": np.logical_not,
    "bitwise_not": np.invert,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "pow": np.power,
    "floor_div": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "atan2": np.arctan2,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "where": np.where,
    "identity": lambda x: np.array(x, order="C"),
    "cast": lambda x, dtype: x.astype(dtype.numpy),
    "bitcast": lambda x, dtype: np.ascontiguousarray(x).view(dtype.numpy).reshape(x.shape),
}


# ----------------------------------------------------------------------------------------- creation


@rule("input")
def _input(**_: Any) -> Array:
    raise GraphError("an input of this graph was given no value")


@rule("scalar")
def _scalar(value: Any, dtype: Any) -> Array:
    return np.asarray(value).astype(dtype.numpy)


@rule("constant")
def _constant(array: Constant) -> Array:
    return array.value


@rule("iota")
def _iota(shape: tuple[int, ...], axis: int, dtype: Any) -> Array:
    steps = [1] * len(shape)
    steps[axis] = shape[axis]
    counted = np.arange(shape[axis]).astype(dtype.numpy)
    return np.broadcast_to(counted.reshape(steps), shape)


@rule("random_bits")
def _random_bits(state: Array, shape: tuple[int, ...], word: int) -> Array:
    seed, offset = (int(v) & 0xFFFFFFFF for v in state)
    return _words(seed, offset, size_of(shape))[word].reshape(shape)


@lru_cache(2)
def _words(seed: int, offset: int, count: int) -> tuple[Array, Array]:
    """Both words of a draw: the distributions that need two ask twice."""
    return philox2x32_numpy(np.arange(count, dtype=np.uint32), offset, seed)


# ----------------------------------------------------------------------------------------- movement


@rule("reshape")
def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


@rule("permute")
def _permute(x: Array, axes: tuple[int, ...]) -> Array:
    return x.transpose(axes)


@rule("expand")
def _expand(x: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, shape)


@rule("slice")
def _slice(x: Array, start: Any, stop: Any, step: Any) -> Array:
    return x[tuple(map(slice, start, stop, step))]


@rule("pad")
def _pad(x: Array, low: Any, high: Any, interior: Any, value: Any) -> Array:
    shape = [
        max(n + (n - 1) * i if n else 0, 0) + lo + hi
        for n, lo, hi, i in zip(x.shape, low, high, interior, strict=True)
    ]
    out = np.full(shape, value, x.dtype)
    source, target = [], []
    for n, lo, i, size in zip(x.shape, low, interior, shape, strict=True):
        step = i + 1
        first = max(0, -(lo // step)) if lo < 0 else 0
        last = min(n, -(-(size - lo) // step))
        source.append(slice(first, max(first, last)))
        target.append(slice(lo + first * step, max(lo + last * step, lo + first * step), step))
    out[tuple(target)] = x[tuple(source)]
    return out


@rule("view_as_real")
def _view_as_real(x: Array) -> Array:
    return x[..., None].view(x.real.dtype)


@rule("view_as_complex")
def _view_as_complex(x: Array) -> Array:
    """In place where the two parts of each number lie side by side, else a copy."""
    pairs = x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)
    return pairs.view(np.result_type(x.dtype, np.complex64))[..., 0]


@rule("flip")
def _flip(x: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(x, axes)


@rule("concat")
def _concat(*xs: Array, axis: int) -> Array:
    return np.concatenate(xs, axis)


@rule("window")
def _window(x: Array, axes: Any, size: Any, stride: Any, dilation: Any) -> Array:
    shape, strides = list(x.shape), list(x.strides)
    tail = []
    for axis, k, s, d in zip(axes, size, stride, dilation, strict=True):
        tail.append(x.strides[axis] * d)
        shape[axis] = (shape[axis] - d * (k - 1) - 1) // s + 1
        strides[axis] *= s
    return as_strided(x, (*shape, *size), (*strides, *tail), writeable=False)


@rule("window_sum")
def _window_sum(x: Array, axes: Any, size: Any, stride: Any, dilation: Any, extent: Any) -> Array:
    shape = list(x.shape[: x.ndim - len(axes)])
    for axis, n in zip(axes, extent, strict=True):
        shape[axis] = n
    out = np.zeros(shape, x.dtype)
    for offsets in np.ndindex(*size):
        target = [slice(None)] * out.ndim
        for axis, o, s, d in zip(axes, offsets, stride, dilation, strict=True):
            target[axis] = slice(o * d, o * d + (x.shape[axis] - 1) * s + 1, s)
        out[tuple(target)] += x[(Ellipsis, *offsets)]
    return out


@rule("slice_update")
def _slice_update(x: Array, update: Array, start: Any, step: Any) -> Array:
    out = np.array(x, order="C")
    rows = zip(start, step, update.shape, strict=True)
    out[tuple(slice(a, a + n * s, s) for a, s, n in rows)] = update
    return out


# ------------------------------------------------------------------------- reductions, contractions

RULES |= {
    "sum": lambda x, axes: np.add.reduce(x, axes, x.dtype),
    "prod": lambda x, axes: np.multiply.reduce(x, axes, x.dtype),
    "max": lambda x, axes: np.maximum.reduce(x, axes),
    "min": lambda x, axes: np.minimum.reduce(x, axes),
    "argmax": lambda x, axis: np.argmax(x, axis).astype(np.int64),
    "argmin": lambda x, axis: np.argmin(x, axis).astype(np.int64),
    "cumsum": lambda x, axis: np.cumsum(x, axis, x.dtype),
    "cumprod": lambda x, axis: np.cumprod(x, axis, x.dtype),
    "cummax": lambda x, axis: np.maximum.accumulate(x, axis),
    "cummin": lambda x, axis: np.minimum.accumulate(x, axis),
}


@rule("dot_general")
def _dot_general(a: Array, b: Array, contract: Any, batch: Any) -> Array:
    """As one batched matrix product over regrouped dimensions."""
    free_a = [i for i in range(a.ndim) if i not in (*contract[0], *batch[0])]
    free_b = [i for i in range(b.ndim) if i not in (*contract[1], *batch[1])]
    sizes = [a.shape[i] for i in batch[0]]
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    k = int(np.prod([a.shape[i] for i in contract[0]]))
    left = a.transpose(*batch[0], *free_a, *contract[0]).reshape(*sizes, int(np.prod(rows)), k)
    right = b.transpose(*batch[1], *contract[1], *free_b)
    right = right.reshape(*sizes, k, int(np.prod(columns)))
    return np.matmul(left, right).reshape((*sizes, *rows, *columns))


# ----------------------------------------------------------------------------- indexing and sorting


def _checked(index: Array, size: int, axis: int) -> Array:
    wrong = (index < 0) | (index >= size)
    if wrong.any():
        bad = index[wrong].flat[0]
        raise RangeError(f"index {bad} is out of bounds for dimension {axis} with size {size}")
    return index


def _along(x: Array, index: Array, axis: int) -> tuple[Array, ...]:
    """The index tuple that walks ``index`` on ``axis`` and counts on every other."""
    place = list(np.ogrid[tuple(map(slice, index.shape))])
    place[axis] = _checked(index, x.shape[axis], axis)
    return tuple(place)


def _rows(x: Array, index: Array, axis: int) -> Array | None:
    """The 1-D index that ``index`` repeats over every other axis of ``x``, if it does."""
    others = (a for a in range(x.ndim) if a != axis)
    if any(index.shape[a] != x.shape[a] or index.strides[a] for a in others) or not index.size:
        return None
    first = tuple(slice(None) if a == axis else 0 for a in range(x.ndim))
    return _checked(index[first], x.shape[axis], axis)


@rule("gather")
def _gather(x: Array, index: Array, axis: int) -> Array:
    rows = _rows(x, index, axis)
    return x[_along(x, index, axis)] if rows is None else x.take(rows, axis)


@rule("scatter")
def _scatter(x: Array, index: Array, source: Array, axis: int) -> Array:
    out = np.array(x, order="C")
    out[_along(x, index, axis)] = source[tuple(map(slice, index.shape))]
    return out


@rule("scatter_add")
def _scatter_add(x: Array, index: Array, source: Array, axis: int) -> Array:
    out = np.array(x, order="C")
    # np.add.at is an order of magnitude faster on one dimension than on several.
    flat = np.ravel_multi_index(_along(x, index, axis), x.shape) if x.size else index
    np.add.at(out.reshape(-1), flat.reshape(-1), source[tuple(map(slice, index.shape))].reshape(-1))
    return out


@rule("sort")
def _sort(x: Array, axis: int, descending: bool) -> tuple[Array, Array]:
    if descending:
        # Reversing twice keeps equal elements in their order, and puts NaN first as in PyTorch.
        order = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
        order = x.shape[axis] - 1 - order
    else:
        order = np.argsort(x, axis, kind="stable")
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


# ---------------------------------------------------------------------------- control flow and host


@rule("result")
def _result(results: tuple[Array, ...], index: int) -> Array:
    return results[index]


@rule("scan")
def _scan(
    *operands: Array, body: Graph, carries: int, sequences: int, length: int, reverse: bool
) -> tuple[Array, ...]:
    state = list(operands[:carries])
    rows = operands[carries : carries + sequences]
    fixed = operands[carries + sequences :]
    stacks = [np.empty((length, *y.shape), y.dtype.numpy) for y in body.outputs[carries:]]
    for step in reversed(range(length)) if reverse else range(length):
        results = run(body, [*state, *(r[step] for r in rows), *fixed])
        state = results[:carries]
        for stack, y in zip(stacks, results[carries:], strict=True):
            stack[step] = y
    return (*state, *stacks)


@rule("cond")
def _cond(test: Array, *operands: Array, then: Graph, otherwise: Graph) -> tuple[Array, ...]:
    return tuple(run(then if test else otherwise, operands))


@rule("while_loop")
def _while_loop(*operands: Array, test: Graph, body: Graph, carries: int) -> tuple[Array, ...]:
    state, fixed = list(operands[:carries]), operands[carries:]
    while run(test, [*state, *fixed])[0]:
        state = run(body, [*state, *fixed])
    return tuple(state)


@rule("custom_call")
def _custom_call(*operands: Array, function: Any, types: Any) -> tuple[Array, ...]:
    results = function(*operands)
    return tuple(
        np.asarray(r, d.numpy).reshape(s) for r, (s, d) in zip(results, types, strict=True)
    )
