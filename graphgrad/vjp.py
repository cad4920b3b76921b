"""Gradients: a row per primitive, a rule per operand, written in the graph language.

The names of a rule's parameters say what it reads, and so what a record has to save:

    g       the cotangent of the result          x, y, z   the operands' values
    out     the result's value                   call      attributes and types, never values

    "mul": (lambda g, y: mul(g, y), lambda g, x: mul(g, x))

``None`` marks an operand without gradient. Cotangents of broadcast operands are summed back by
``pull``, so elementwise rules ignore broadcasting. Rules for operations with several results are
in ``JOINT``: they see the Node and all cotangents at once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from graphgrad import ir
from graphgrad.dtypes import int64
from graphgrad.lang import (
    add,
    apply,
    cast,
    conj,
    cos,
    cosh,
    div,
    dot_general,
    eq,
    exp,
    expand,
    flip,
    full,
    full_like,
    ge,
    identity,
    int_pow,
    iota,
    keep,
    log,
    mul,
    ne,
    neg,
    pad,
    permute,
    pow_,
    real,
    reshape,
    rsqrt,
    sign,
    sin,
    sinh,
    slice_,
    sub,
    sum_,
    unbroadcast,
    where,
)

Value = Any
Rule = Callable[..., Value]

# d erf(x) / dx = 2/sqrt(pi) exp(-x²)
_ERF = 2 / math.sqrt(math.pi)


def _half(g: Value, chosen: Value, x: Value, y: Value) -> Value:
    """Cotangent where ``chosen``; half of it at ties, as PyTorch's maximum and minimum do."""
    return where(eq(x, y), mul(g, 0.5), where(chosen, g, 0.0))


def _pow_base(g: Value, x: Value, y: Value) -> Value:
    """y·x^(y-1), and 0 where y is 0 even if x is 0."""
    return mul(g, where(eq(y, 0.0), 0.0, mul(y, pow_(x, sub(y, 1.0)))))


def _pow_exponent(g: Value, x: Value, y: Value, out: Value) -> Value:
    """out·log(x), and 0 where x is 0 and y ≥ 0."""
    zero = apply("bitwise_and", eq(x, 0.0), ge(real(y), 0.0))
    return mul(g, where(zero, 0.0, mul(out, log(x))))


def _abs(g: Value, x: Value) -> Value:
    """Along the direction of ``x``; of complex numbers, a complex one."""
    return mul(cast(g, x.dtype), sign(x))


def _sign(g: Value, x: Value, out: Value) -> Value:
    """0; for complex numbers, what turns x/|x| without lengthening it: (g - out·Re(g·out*))/|x|."""
    if not x.dtype.is_complex:
        return full_like(g, 0)
    along = mul(out, cast(real(mul(g, conj(out))), g.dtype))
    size = apply("abs", x)
    safe = cast(where(eq(size, 0.0), 1.0, size), g.dtype)
    return where(eq(size, 0.0), 0.0, div(sub(g, along), safe))


def _cast(g: Value, call: Any) -> Value:
    """Back to the operand's type; of a complex cotangent a real operand gets the real part."""
    dtype = call.inputs[0].dtype
    return cast(g if dtype.is_complex else real(g), dtype)


def _acosh(g: Value, x: Value) -> Value:
    """1/sqrt(x² - 1); of complex numbers in two factors, whose branches are those of acosh."""
    if x.dtype.is_complex:
        return mul(g, mul(rsqrt(sub(x, 1.0)), rsqrt(add(x, 1.0))))
    return mul(g, rsqrt(sub(mul(x, x), 1.0)))


def _int_pow(g: Value, x: Value, call: Any) -> Value:
    n = call.attrs["exponent"]
    if n == 0:
        return full_like(g, 0)
    return mul(g, mul(int_pow(x, n - 1), n)) if n != 1 else g


ELEMENTWISE: dict[str, tuple[Rule | None, ...]] = {
    "neg": (lambda g: neg(g),),
    "abs": (_abs,),
    "sign": (_sign,),
    "conj": (lambda g: conj(g),),
    "exp": (lambda g, out: mul(g, out),),
    "expm1": (lambda g, out: mul(g, add(out, 1.0)),),
    "log": (lambda g, x: div(g, x),),
    "log1p": (lambda g, x: div(g, add(x, 1.0)),),
    "log2": (lambda g, x: div(g, mul(x, math.log(2))),),
    "sin": (lambda g, x: mul(g, cos(x)),),
    "cos": (lambda g, x: neg(mul(g, sin(x))),),
    "tan": (lambda g, out: mul(g, add(mul(out, out), 1.0)),),
    "tanh": (lambda g, out: mul(g, sub(1.0, mul(out, out))),),
    "sinh": (lambda g, x: mul(g, cosh(x)),),
    "cosh": (lambda g, x: mul(g, sinh(x)),),
    "asin": (lambda g, x: mul(g, rsqrt(sub(1.0, mul(x, x)))),),
    "acos": (lambda g, x: neg(mul(g, rsqrt(sub(1.0, mul(x, x))))),),
    "atan": (lambda g, x: div(g, add(mul(x, x), 1.0)),),
    "asinh": (lambda g, x: mul(g, rsqrt(add(mul(x, x), 1.0))),),
    "acosh": (_acosh,),
    "atanh": (lambda g, x: div(g, sub(1.0, mul(x, x))),),
    "erf": (lambda g, x: mul(g, mul(exp(neg(mul(x, x))), _ERF)),),
    "erfc": (lambda g, x: neg(mul(g, mul(exp(neg(mul(x, x))), _ERF))),),
    "sqrt": (lambda g, out: div(g, mul(out, 2.0)),),
    "rsqrt": (lambda g, out: mul(mul(g, -0.5), mul(out, mul(out, out))),),
    "reciprocal": (lambda g, out: neg(mul(g, mul(out, out))),),
    "sigmoid": (lambda g, out: mul(g, mul(out, sub(1.0, out))),),
    "floor": (lambda g: full_like(g, 0),),
    "ceil": (lambda g: full_like(g, 0),),
    "round": (lambda g: full_like(g, 0),),
    "trunc": (lambda g: full_like(g, 0),),
    "int_pow": (_int_pow,),
    "add": (lambda g: g, lambda g: g),
    "sub": (lambda g: g, lambda g: neg(g)),
    "mul": (lambda g, y: mul(g, y), lambda g, x: mul(g, x)),
    "div": (lambda g, y: div(g, y), lambda g, x, y: neg(div(mul(g, div(x, y)), y))),
    "pow": (_pow_base, _pow_exponent),
    "maximum": (
        lambda g, x, y: _half(g, ge(x, y), x, y),
        lambda g, x, y: _half(g, ge(y, x), x, y),
    ),
    "minimum": (
        lambda g, x, y: _half(g, ge(y, x), x, y),
        lambda g, x, y: _half(g, ge(x, y), x, y),
    ),
    "remainder": (
        lambda g: g,
        lambda g, x, y: neg(mul(g, apply("floor", div(x, y)))),
    ),
    "fmod": (
        lambda g: g,
        lambda g, x, y: neg(mul(g, apply("trunc", div(x, y)))),
    ),
    "floor_div": (lambda g: full_like(g, 0), lambda g: full_like(g, 0)),
    "atan2": (
        lambda g, x, y: div(mul(g, y), add(mul(x, x), mul(y, y))),
        lambda g, x, y: neg(div(mul(g, x), add(mul(x, x), mul(y, y)))),
    ),
    "where": (
        None,
        lambda g, x: where(x, g, 0.0),
        lambda g, x: where(x, 0.0, g),
    ),
    "identity": (lambda g: identity(g),),
    "cast": (_cast,),
}


# ----------------------------------------------------------------------------- movement, reductions


def _unslice(g: Value, call: Any) -> Value:
    """Zeros around and between the elements a strided slice took."""
    a, shape = call.attrs, call.inputs[0].shape
    high, interior = [], [s - 1 for s in a["step"]]
    for start, step, n, out in zip(a["start"], a["step"], shape, g.shape, strict=True):
        high.append(n - start - ((out - 1) * step + 1 if out else 0))
    return pad(g, a["start"], high, interior)


def _unpad(g: Value, call: Any) -> Value:
    """Crop the border, then take every (interior + 1)-th element."""
    a, shape = call.attrs, call.inputs[0].shape
    low = [-lo for lo in a["low"]]
    high = [-hi for hi in a["high"]]
    cropped = pad(g, low, high)
    step = [i + 1 for i in a["interior"]]
    stop = [(n - 1) * s + 1 if n else 0 for n, s in zip(shape, step, strict=True)]
    return slice_(cropped, [0] * len(shape), stop, step)


def _unwindow(g: Value, call: Any) -> Value:
    extent = tuple(call.inputs[0].shape[a] for a in call.attrs["axes"])
    return apply("window_sum", g, **call.attrs, extent=extent)


def _rewindow(g: Value, call: Any) -> Value:
    attrs = {k: v for k, v in call.attrs.items() if k != "extent"}
    view = apply("window", g, **attrs)
    # The windows may not reach the end of the axis: keep as many positions as the operand had.
    shape = call.inputs[0].shape
    return view if tuple(view.shape) == shape else slice_(view, (0,) * len(shape), shape)


def _at_update(x: Value, call: Any) -> Value:
    """The block that slice_update wrote, read back from ``x``."""
    start, step = call.attrs["start"], call.attrs["step"]
    shape = call.inputs[1].shape
    stop = [a + (n - 1) * s + 1 if n else a for a, s, n in zip(start, step, shape, strict=True)]
    return slice_(x, start, stop, step)


def _without_update(g: Value, call: Any) -> Value:
    zero = full(call.inputs[1].shape, 0, g.dtype)
    return apply("slice_update", g, zero, **call.attrs)


def _spread(g: Value, call: Any) -> Value:
    """Broadcast a reduction's cotangent back over the reduced axes."""
    shape = call.inputs[0].shape
    return expand(keep(g, call.attrs["axes"], shape), shape)


def _extremum(g: Value, x: Value, out: Value, call: Any) -> Value:
    """Shared evenly among equal extrema, as PyTorch's amax and amin."""
    axes, shape = call.attrs["axes"], call.inputs[0].shape
    best = keep(out, axes, shape)
    # A NaN is its own extremum, though it equals nothing.
    hit = cast(where(ne(best, best), ne(x, x), eq(x, best)), g.dtype)
    share = div(g, sum_(hit, axes))
    return mul(hit, keep(share, axes, shape))


def _prod(g: Value, x: Value, call: Any) -> Value:
    """Products of all the others, from both ends, so that zeros are no special case."""
    axes, shape = call.attrs["axes"], call.inputs[0].shape
    front = [a for a in range(len(shape)) if a not in axes]
    order = (*front, *axes)
    moved = permute(x, order)
    kept = [shape[a] for a in front]
    n = math.prod(shape[a] for a in axes)
    flat = reshape(moved, (*kept, n))
    last = len(kept)
    others = mul(_exclusive(flat, last), flip(_exclusive(flip(flat, (last,)), last), (last,)))
    spread = mul(others, reshape(g, (*kept, 1)))
    back = reshape(spread, [shape[a] for a in order])
    return permute(back, [order.index(a) for a in range(len(shape))])


def _exclusive(x: Value, axis: int) -> Value:
    """Running products that leave out the element itself: 1, x0, x0·x1, …"""
    low = [0] * len(x.shape)
    high = [0] * len(x.shape)
    low[axis], high[axis] = 1, -1
    return apply("cumprod", pad(x, low, high, None, 1), axis=axis)


def _reverse_cumsum(g: Value, axis: int) -> Value:
    return flip(apply("cumsum", flip(g, (axis,)), axis=axis), (axis,))


def _cumprod(g: Value, x: Value, call: Any) -> Value:
    """Σ_{j≥i} g_j·Π_{k≤j, k≠i} x_k, as a table: exact where x has zeros (quadratic in the axis)."""
    axis, shape = call.attrs["axis"], tuple(call.inputs[0].shape)
    n = shape[axis]
    # element [.., i, j, ..]: x_j, but 1 at j == i; its running product over j leaves x_i out.
    wide = (*shape[: axis + 1], n, *shape[axis + 1 :])
    i, j = (iota(wide, a, int64) for a in (axis, axis + 1))
    row = reshape(x, (*shape[:axis], 1, *shape[axis:]))
    others = apply("cumprod", where(eq(i, j), 1.0, expand(row, wide)), axis=axis + 1)
    weight = reshape(g, (*shape[:axis], 1, *shape[axis:]))
    terms = where(ge(j, i), mul(others, expand(weight, wide)), 0.0)
    return sum_(terms, (axis + 1,))


def _cumulative_extremum(g: Value, x: Value, out: Value, call: Any) -> Value:
    """Each result's cotangent goes to the last position so far that held the extremum."""
    axis, shape = call.attrs["axis"], tuple(call.inputs[0].shape)
    place = iota(shape, axis, int64)
    found = apply("cummax", where(eq(x, out), place, 0), axis=axis)
    return apply("scatter_add", full(shape, 0, g.dtype), found, g, axis=axis)


def _dot_operand(g: Value, other: Value, call: Any, mine: int) -> Value:
    """Contract the cotangent with the other operand over the other's free dimensions."""
    contract, batch = call.attrs["contract"], call.attrs["batch"]
    theirs = 1 - mine
    free = [
        [i for i in range(len(call.inputs[s].shape)) if i not in (*contract[s], *batch[s])]
        for s in (0, 1)
    ]
    n = len(batch[0])
    # The cotangent's dimensions: batch, free of the left, free of the right.
    spans = (range(n, n + len(free[0])), range(n + len(free[0]), n + len(free[0]) + len(free[1])))
    pairs = (tuple(spans[theirs]), tuple(free[theirs]))
    out = dot_general(g, other, pairs, (tuple(range(n)), tuple(batch[theirs])))
    # The result's dimensions: batch, my free ones, then their contracted ones in ascending order.
    mate = dict(zip(contract[theirs], contract[mine], strict=True))
    order = [*batch[mine], *free[mine], *(mate[i] for i in sorted(contract[theirs]))]
    return permute(out, [order.index(i) for i in range(len(order))])


STRUCTURAL: dict[str, tuple[Rule | None, ...]] = {
    "reshape": (lambda g, call: reshape(g, call.inputs[0].shape),),
    "permute": (
        lambda g, call: permute(
            g, [call.attrs["axes"].index(i) for i in range(len(call.attrs["axes"]))]
        ),
    ),
    "expand": (lambda g, call: unbroadcast(g, call.inputs[0].shape),),
    "slice": (_unslice,),
    "pad": (_unpad,),
    "flip": (lambda g, call: flip(g, call.attrs["axes"]),),
    "view_as_real": (lambda g: apply("view_as_complex", g),),
    "view_as_complex": (lambda g: apply("view_as_real", g),),
    "window": (_unwindow,),
    "window_sum": (_rewindow,),
    "slice_update": (_without_update, lambda g, call: _at_update(g, call)),
    "sum": (_spread,),
    "prod": (_prod,),
    "max": (_extremum,),
    "min": (_extremum,),
    "cumsum": (lambda g, call: _reverse_cumsum(g, call.attrs["axis"]),),
    "cumprod": (_cumprod,),
    "cummax": (_cumulative_extremum,),
    "cummin": (_cumulative_extremum,),
    "dot_general": (
        lambda g, y, call: _dot_operand(g, y, call, 0),
        lambda g, x, call: _dot_operand(g, x, call, 1),
    ),
    "gather": (
        lambda g, y, call: apply(
            "scatter_add", full(call.inputs[0].shape, 0, g.dtype), y, g, axis=call.attrs["axis"]
        ),
        None,
    ),
    "scatter_add": (
        lambda g: g,
        None,
        lambda g, y, call: _source_part(apply("gather", g, y, axis=call.attrs["axis"]), call),
    ),
    "scatter": (
        lambda g, y, call: apply(
            "scatter", g, y, full(y.shape, 0, g.dtype), axis=call.attrs["axis"]
        ),
        None,
        lambda g, y, call: _source_part(apply("gather", g, y, axis=call.attrs["axis"]), call),
    ),
}


def _source_part(picked: Value, call: Any) -> Value:
    """A scatter reads only the leading block of its source that the index covers."""
    shape = call.inputs[2].shape
    high = [n - m for n, m in zip(shape, picked.shape, strict=True)]
    return pad(picked, [0] * len(shape), high) if any(high) else picked


RULES: dict[str, tuple[Rule | None, ...]] = ELEMENTWISE | STRUCTURAL

# Functions of complex numbers that have a derivative, which is no constant. The gradient by
# PyTorch's convention is g·f'(x)*: the rule above, which computes g·f'(x), between conjugations.
HOLOMORPHIC = frozenset(
    "exp expm1 log log1p log2 sin cos tan tanh sinh cosh asin acos atan asinh acosh atanh sqrt "
    "rsqrt reciprocal sigmoid int_pow mul div pow dot_general prod cumprod".split()
)

# Results that carry no gradient: booleans, integers, positions, random bits.
NOT_DIFFERENTIABLE = frozenset(
    [
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "logical_not",
        "bitwise_not",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "shift_left",
        "shift_right",
        "argmax",
        "argmin",
        "iota",
        "scalar",
        "constant",
        "input",
        "random_bits",
        "bitcast",
    ]
)


def _sort(x: Any, cotangents: Sequence[Value | None]) -> list[Value | None]:
    """Send each sorted element's cotangent back to where the element came from."""
    g = cotangents[0]
    if g is None:
        return [None]
    zero = full(x.inputs[0].shape, 0, g.dtype)
    index = apply("result", x, index=1)
    return [apply("scatter_add", zero, index, g, axis=x.attrs["axis"])]


def _custom_call(x: Any, cotangents: Sequence[Value | None]) -> list[Value | None]:
    """A NumPy function's own rule, if it brings one (``graphgrad.tensor.hosted``)."""
    function = x.attrs["function"]
    if not hasattr(function, "vjp"):
        raise NotImplementedError(f"{function!r} has no gradient ({x.origin})")
    results = [apply("result", x, index=i) for i in range(len(x.results))]
    return function.vjp(cotangents, x.inputs, results)


# Operations with several results: (node, cotangents of its results) -> cotangents of its operands.
JOINT: dict[str, Callable[[Any, Sequence[Value | None]], list[Value | None]]] = {
    "sort": _sort,
    "custom_call": _custom_call,
}


@cache
def saves(name: str, operand: int) -> tuple[str, ...]:
    """Which values the rule of one operand reads: some of ``x``, ``y``, ``z``, ``out``."""
    function = RULES[name][operand]
    if function is None:
        return ()
    return tuple(p for p in inspect.signature(function).parameters if p not in ("g", "call"))


@cache
def _reads_call(name: str, operand: int) -> bool:
    function = RULES[name][operand]
    return function is not None and "call" in inspect.signature(function).parameters


def has_rule(name: str, operand: int) -> bool:
    """Whether the primitive passes gradients to its ``operand``-th operand."""
    if name == "concat":
        return True
    rules = RULES.get(name)
    return rules is not None and operand < len(rules) and rules[operand] is not None


def pull(name: str, operand: int, g: Value, call: Any, values: Mapping[str, Value]) -> Value:
    """The cotangent of one operand; ``values``: the saved ones, by ``x``, ``y``, ``z``, ``out``."""
    if name == "concat":
        return _concat_part(g, call, operand)
    function = RULES[name][operand]
    if function is None:
        raise NotImplementedError(f"{name} has no gradient for operand {operand}")
    extra = {"call": call} if _reads_call(name, operand) else {}
    turned = g.dtype.is_complex and name in HOLOMORPHIC
    with ir.of_output(operand):
        g = conj(g) if turned else g
        pulled = function(g, **{k: values[k] for k in saves(name, operand)}, **extra)
        pulled = conj(pulled) if turned else pulled
        return unbroadcast(pulled, call.inputs[operand].shape) if name in ELEMENTWISE else pulled


def _concat_part(g: Value, call: Any, operand: int) -> Value:
    axis = call.attrs["axis"]
    start, stop = [0] * len(g.shape), list(g.shape)
    start[axis] = sum(x.shape[axis] for x in call.inputs[:operand])
    stop[axis] = start[axis] + call.inputs[operand].shape[axis]
    return slice_(g, start, stop)
