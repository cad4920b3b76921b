"""Functions of elements, composed of the operators: powers, angles, logarithms of sums, signs."""

from __future__ import annotations

import math
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT
from graphgrad.tensor.core import FUNCTIONS, Tensor, both
from graphgrad.tensor.operators import clamp, expect_tensors, pow, tied, where
from graphgrad.tensor.promotion import floating, is_number
from graphgrad.tensor.state import as_one


@both
def square(input: Tensor) -> Tensor:
    """``input ** 2``."""
    return pow(input, 2)


@both
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return input.log() * (1 / math.log(10))


@both
def exp2(input: Tensor) -> Tensor:
    """``2 ** input``."""
    return (input * math.log(2)).exp()


@both
def frac(input: Tensor) -> Tensor:
    """The part behind the point, with the sign of ``input``."""
    return input - input.trunc()


@both
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return input * (math.pi / 180)


@both
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return input * (180 / math.pi)


@both
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``."""
    return input + (end - input) * weight


@both
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


@both
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


@both
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """``maximum`` that prefers a number to NaN."""
    expect_tensors("fmax", input=input, other=other)
    return where((input >= other) | (other != other), input, other)


@both
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """``minimum`` that prefers a number to NaN."""
    expect_tensors("fmin", input=input, other=other)
    return where((input <= other) | (other != other), input, other)


@both
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """``sqrt(input² + other²)``."""
    expect_tensors("hypot", input=input, other=other)
    return (input * input + other * other).sqrt()


@both
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """``input * 2 ** other``."""
    expect_tensors("ldexp", input=input, other=other)
    return input * FUNCTIONS["pow"](input.new_full((), 2.0, dtype=floating(input.dtype)), other)


@both
@as_one
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """``log(exp(input) + exp(other))`` without overflow."""
    expect_tensors("logaddexp", input=input, other=other)
    high = FUNCTIONS["maximum"](input, other).detach()
    finite = where(high.isinf(), 0.0, high)
    return ((input - finite).exp() + (other - finite).exp()).log() + finite


@both
@as_one
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """``log2(2 ** input + 2 ** other)`` without overflow."""
    expect_tensors("logaddexp2", input=input, other=other)
    return logaddexp(input * math.log(2), other * math.log(2)) / math.log(2)


@both
@as_one
def xlogy(input: Any, other: Tensor) -> Tensor:
    """``input * log(other)``, 0 where ``input`` is 0 (and ``other`` is a number)."""
    if not isinstance(other, Tensor):
        other = input.new_full((), other, dtype=floating(input.dtype))
    zero = (input == 0) & ((other <= 0) | (other == math.inf))
    # At 0·log(0) the gradient of `other` is 0/0, as PyTorch's: that of a root at 0, times 0.
    nothing = where(zero & (other == 0), other, 1.0).sqrt() * 0
    return where(zero, nothing, input * where(zero, 1.0, other).log())


@both
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, ``values`` at zero."""
    return where(input == 0, values, (input > 0).to(input.dtype))


@both
def copysign(input: Tensor, other: Any) -> Tensor:
    """The magnitude of ``input`` with the sign of ``other`` (-0.0 is negative)."""
    size = (input if input.dtype.category >= FLOAT else input.to(floating(input.dtype))).abs()
    if is_number(other):
        return -size if math.copysign(1, other) < 0 else size
    turn = where(FUNCTIONS["signbit"](other), -1.0, size.new_full((), 1.0))
    return size * tied(turn, other)


@both
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``; ``eps`` keeps x inside (eps, 1 - eps)."""
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return (x / (1 - x)).log()


@both
def sinc(input: Tensor) -> Tensor:
    """``sin(πx) / (πx)``, 1 at zero."""
    scaled = input * math.pi
    safe = where(scaled == 0, 1.0, scaled)
    return where(scaled == 0, 1.0, safe.sin() / safe)


@both
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN and infinities by finite numbers (by default 0 and the type's limits)."""
    if input.dtype.category < FLOAT:
        return input.clone()
    limit = float(dtypes.limits(input.dtype).max)
    x = where(input.isnan(), nan, input)
    x = where(x == math.inf, limit if posinf is None else posinf, x)
    return where(x == -math.inf, -limit if neginf is None else neginf, x)
