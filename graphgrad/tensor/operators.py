"""Elementwise operations: arithmetic, comparison, logic and mathematical functions.

``x + y``, ``gg.sin(x)``, ``x.clamp(0, 1)``: rows of the tables below, and compositions of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad.dtypes import BOOL, FLOAT, DType, bool_
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import Tensor, both, function, method, publish
from graphgrad.tensor.dispatch import (
    _joined_binary,
    binary,
    integer_power,
    same,
    unary,
)
from graphgrad.tensor.plan import apply, rename
from graphgrad.tensor.promotion import floating, is_number, joined
from graphgrad.tensor.state import state


def _no_bool(what: str) -> Callable[[DType], DType]:
    def check(dtype: DType) -> DType:
        if dtype.category == BOOL:
            raise RuntimeError(
                f"{what}, the `-` operator, with a bool tensor is not supported. If you are trying "
                "to invert a mask, use the `~` or `logical_not()` operator instead."
            )
        return dtype

    return check


def expect_tensors(name: str, **operands: Any) -> None:
    """PyTorch's error for a number where a function takes tensors only."""
    for i, (argument, value) in enumerate(operands.items(), 1):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {i}) must be Tensor, not "
                f"{type(value).__name__}"
            )


def tied(out: Tensor, *others: Any) -> Tensor:
    """``out``, with a gradient of zeros for ``others``, as PyTorch has it for flat functions."""
    for x in others:
        if isinstance(x, Tensor) and x._needs and state.grad:
            out = apply("where", out.new_full((), False, dtype=bool_), x.to(out.dtype), out)
    return out


# ------------------------------------------------------------------------------------------- tables

# Our primitive's name and PyTorch's other names for it. Integers become floats.
_FLOAT: dict[str, tuple[str, ...]] = {
    name: (name,) for name in "exp expm1 log log1p log2 sin cos tan tanh sinh cosh".split()
}
_FLOAT |= {name: (name,) for name in "erf erfc sqrt rsqrt reciprocal sigmoid".split()}
_FLOAT |= {f"a{name}": (f"a{name}", f"arc{name}") for name in "sin cos tan sinh cosh tanh".split()}
_KEEP = {
    "neg": (),
    "abs": ("abs", "absolute"),
    "sign": ("sgn",),
    "logical_not": (),
    "bitwise_not": ("bitwise_not",),
}
_ROUND = {"floor": ("floor",), "ceil": ("ceil",), "trunc": ("trunc", "fix"), "round": ()}
# Primitive: (what the joined operand type becomes, PyTorch's names).
_BINARY: dict[str, tuple[Callable[[DType], DType], tuple[str, ...]]] = {
    "add": (same, ()),
    "sub": (_no_bool("Subtraction"), ()),
    "mul": (same, ("mul", "multiply")),
    "div": (floating, ()),
    "pow": (same, ()),
    "floor_div": (same, ("floor_divide",)),
    "remainder": (same, ("remainder",)),
    "fmod": (same, ("fmod",)),
    "maximum": (same, ()),
    "minimum": (same, ()),
    "atan2": (floating, ()),
    "eq": (same, ("eq",)),
    "ne": (same, ("ne", "not_equal")),
    "lt": (same, ("lt", "less")),
    "le": (same, ("le", "less_equal")),
    "gt": (same, ("gt", "greater")),
    "ge": (same, ("ge", "greater_equal")),
    "bitwise_and": (same, ("bitwise_and",)),
    "bitwise_or": (same, ("bitwise_or",)),
    "bitwise_xor": (same, ("bitwise_xor",)),
    "shift_left": (same, ("bitwise_left_shift",)),
    "shift_right": (same, ("bitwise_right_shift",)),
}


_unary = {name: unary(name, floating) for name in _FLOAT} | {
    name: unary(name, _no_bool("Negation") if name == "neg" else same) for name in _KEEP
}
_binary = {name: binary(name, result) for name, (result, _) in _BINARY.items()}
for _name, _names in (_FLOAT | _KEEP).items():
    publish(_names, _unary[_name])
publish(("neg", "negative"), _unary["neg"])
for _name, (_, _names) in _BINARY.items():
    publish(_names, _binary[_name])


def _of_tensors(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A binary operation that takes no Python numbers, as PyTorch's."""
    operation = _binary[name]

    def checked(input: Tensor, other: Tensor) -> Tensor:
        if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
            expect_tensors(name, input=input, other=other)
        return operation(input, other)

    checked.__name__ = checked.__qualname__ = name
    return checked


for _name, _names in {"maximum": (), "minimum": (), "atan2": ("arctan2",)}.items():
    publish((_name, *_names), _of_tensors(_name))


def _rounding(name: str) -> Callable[[Tensor], Tensor]:
    """Rounding leaves integers alone."""
    for_floats = unary(name, same)

    def operation(input: Tensor) -> Tensor:
        return for_floats(input) if input.dtype.category >= FLOAT else input.clone()

    operation.__name__ = name
    return operation


_rounders = {name: _rounding(name) for name in _ROUND}
for _name, _names in _ROUND.items():
    publish(_names, _rounders[_name])

# ------------------------------------------------------------------------------- Python's operators

_add, _sub, _mul, _div = (_binary[n] for n in ("add", "sub", "mul", "div"))
_whole_power = integer_power()


def _reflected(name: str) -> Callable[[Tensor, Any], Any]:
    """``number - tensor`` and its like."""
    result = _BINARY[name][0]
    kind = {"sub": "RsubBackward1", "pow": "PowBackward1"}.get(name)
    if kind is None:
        return lambda self, other: _joined_binary(name, result, other, self)
    return lambda self, other: rename(_joined_binary(name, result, other, self), kind)


def pow(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent``, elementwise; small whole exponents are repeated multiplication."""
    if isinstance(exponent, Tensor):
        if not isinstance(input, Tensor):
            return _joined_binary("pow", same, input, exponent)
        return _binary["pow"](input, exponent)
    if exponent.__class__ is int or (exponent.__class__ is float and exponent.is_integer()):
        whole = int(exponent)
        is_kept = exponent.__class__ is int or input.dtype.category >= FLOAT
        if -64 <= whole <= 64 and is_kept and input.dtype.category != BOOL:
            return _whole_power(input, whole)
    if exponent == 0.5:
        return _unary["sqrt"](input)
    return _binary["pow"](input, exponent)


publish(("pow",), pow)


@both
def float_power(input: Any, exponent: Any) -> Tensor:
    """``pow`` in double precision, whatever the operands are."""
    x, y = (v.double() if isinstance(v, Tensor) else float(v) for v in (input, exponent))
    return pow(x, y)


_DUNDER: dict[str, Any] = {
    "add": _add,
    "radd": _add,
    "sub": _sub,
    "rsub": _reflected("sub"),
    "mul": _mul,
    "rmul": _mul,
    "truediv": _div,
    "rtruediv": _reflected("div"),
    "div": _div,
    "rdiv": _reflected("div"),
    "rlshift": _reflected("shift_left"),
    "rrshift": _reflected("shift_right"),
    "floordiv": _binary["floor_div"],
    "rfloordiv": _reflected("floor_div"),
    "mod": _binary["remainder"],
    "rmod": _reflected("remainder"),
    "pow": pow,
    "rpow": _reflected("pow"),
    "neg": _unary["neg"],
    "abs": _unary["abs"],
    "lshift": _binary["shift_left"],
    "rshift": _binary["shift_right"],
    **{name: _binary[name] for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: _binary[f"bitwise_{name}"] for name in ("and", "or", "xor")},
    **{f"r{name}": _binary[f"bitwise_{name}"] for name in ("and", "or", "xor")},
}
for _name, _operation in _DUNDER.items():
    setattr(Tensor, f"__{_name}__", _operation)


@method
def __pos__(self: Tensor) -> Tensor:
    return self


@method
def __invert__(self: Tensor) -> Tensor:
    return logical_not(self) if self.dtype.category == BOOL else _unary["bitwise_not"](self)


def _scaled(name: str) -> Callable[..., Tensor]:
    operation = _binary[name]

    def with_alpha(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
        if not isinstance(input, Tensor):
            return _joined_binary(name, same, input, other)
        return operation(input, other if alpha == 1 else other * alpha)

    with_alpha.__name__ = name
    with_alpha.__doc__ = f"``{name}`` of ``input`` and ``alpha * other``."
    return with_alpha


publish(("add",), _scaled("add"))
publish(("sub", "subtract"), _scaled("sub"))


@both
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    expect_tensors("rsub", input=input)
    return other - (input if alpha == 1 else input * alpha)


@both
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; ``rounding_mode`` "floor" or "trunc" makes it a whole quotient."""
    if not isinstance(input, Tensor):
        return _reflected("div")(other, input)
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode == "floor":
        return _binary["floor_div"](input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    whole = joined(input, other)
    return _rounders["trunc"](_div(input, other)).to(whole)


publish(("divide", "true_divide"), div)


@both
def round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest whole number, halves to even; ``decimals`` keeps that many digits."""
    if decimals == 0:
        return _rounders["round"](input)
    scale = 10.0**decimals
    return _rounders["round"](input * scale) / scale


@both
def logical_not(input: Tensor) -> Tensor:
    """True where ``input`` is zero."""
    return _unary["logical_not"](input if input.dtype.category == BOOL else input != 0)


@both
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; complex numbers have ``sgn``."""
    if input.dtype.is_complex:
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use "
            "torch.sgn instead."
        )
    return _unary["sign"](input)


def _logical(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    operation = _binary[f"bitwise_{name}"]
    return lambda input, other: operation(_truth(input), _truth(other))


def _truth(x: Tensor) -> Tensor:
    return x if x.dtype.category == BOOL else x != 0


for _name in ("and", "or", "xor"):
    publish((f"logical_{_name}",), _logical(_name))


@both
def bitwise_not(input: Tensor) -> Tensor:
    """Flip every bit; for booleans, the negation."""
    return input.__invert__()


# ------------------------------------------------------------------------ compositions, elementwise


@function
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` holds, else ``other``; alone, the places where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    kind = joined(input, other)
    x, y = (v.to(kind) if isinstance(v, Tensor) else v for v in (input, other))
    if is_number(x) and is_number(y):
        x = condition.new_full((), x, dtype=kind)
    return apply("where", _truth(condition), x, y)


def _chosen(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    return where(condition, self, other)


Tensor.where = _chosen  # type: ignore[attr-defined]


@both
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limit every element to ``[min, max]``; the gradient passes where the limits do not bind."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    kind = joined(*(v for v in (input, min, max) if v is not None))
    x = input.to(kind)
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = x if min is None else _binary["maximum"](x, _as(min, x))
        return x if max is None else _binary["minimum"](x, _as(max, x))
    return _clamp_numbers(x, min, max)


@composite("ClampBackward1")
def _clamp_numbers(x: Tensor, low: Any, high: Any) -> Tensor:
    """By comparison: elements equal to a limit pass their gradient, and NaN stays."""
    if low is not None:
        x = apply("where", x < low, low, x)
    if high is not None:
        high_first = low is not None and low > high
        x = x.new_full(x.shape, high) if high_first else apply("where", x > high, high, x)
    return x


def _as(value: Any, like: Tensor) -> Tensor:
    return value.to(like.dtype) if isinstance(value, Tensor) else like.new_full((), value)


publish(("clip",), clamp)


@both
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """``clamp`` from below."""
    return clamp(input, min=min)


@both
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """``clamp`` from above."""
    return clamp(input, max=max)
