"""Questions about elements: finite or not, close, equal."""

from __future__ import annotations

import math

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT, INTEGER
from graphgrad.tensor.core import Tensor, both
from graphgrad.tensor.plan import apply
from graphgrad.tensor.state import as_one


@both
def isnan(input: Tensor) -> Tensor:
    """True where an element is NaN."""
    return input != input


@both
def isinf(input: Tensor) -> Tensor:
    """True where an element is infinite."""
    if input.dtype.category < FLOAT:
        return input != input
    return input.abs() == math.inf


@both
def isfinite(input: Tensor) -> Tensor:
    """True where an element is neither infinite nor NaN."""
    if input.dtype.category < FLOAT:
        return input == input
    return input.abs() < math.inf


@both
def isposinf(input: Tensor) -> Tensor:
    """True where an element is +inf."""
    return input == math.inf


@both
def isneginf(input: Tensor) -> Tensor:
    """True where an element is -inf."""
    return input == -math.inf


@both
def signbit(input: Tensor) -> Tensor:
    """True where an element is negative, -0.0 included."""
    if input.dtype.category < FLOAT:
        return input < 0
    return apply("bitcast", input.detach(), dtype=_BITS[input.dtype.itemsize]) < 0


_BITS = {2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}


@both
@as_one
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """``|input - other| <= atol + rtol * |other|``, elementwise."""
    same_value = input == other
    if equal_nan:
        same_value = same_value | (input.isnan() & other.isnan())
    if dtypes.promote(input.dtype, other.dtype).category <= INTEGER and rtol == atol == 0:
        return same_value
    x, y = (v if v.dtype.category >= FLOAT else v.double() for v in (input, other))
    near = (x - y).abs() <= atol + rtol * y.abs()
    return same_value | (near & y.isfinite() & x.isfinite())


@both
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@both
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    return tuple(input.shape) == tuple(other.shape) and bool((input == other).all())
