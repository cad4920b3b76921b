"""Modified Bessel functions of the first kind, of orders 0 and 1, plain and scaled.

    graphgrad.i0(x)      graphgrad.special.i1e(x)        # exp(-|x|) I₁(x)

All are even or odd. Up to 18 they are power series of x²/4 with positive terms, beyond that
Hankel's asymptotic series; both are exact to double precision there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphgrad.tensor.core import Tensor, publish
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import floating
from graphgrad.tensor.state import as_one

_FAR = 18.0
_NEAR_TERMS, _FAR_TERMS = 52, 30


def near(order: int, x: Tensor) -> Tensor:
    """Σ (x²/4)^k / (k! (k + order)!) · (x/2)^order for |x| ≤ 18 (A&S 9.6.10)."""
    y = x * x * 0.25
    total = y.new_full((), 1.0)
    for k in range(_NEAR_TERMS, 0, -1):
        total = total * y * (1.0 / (k * (k + order))) + 1.0
    return total * x * 0.5 if order else total


def hankel(order: int, size: Tensor) -> Tensor:
    """exp(-x) I(x) √(2πx) for x ≥ 18: Σ (-1)^k Π (4·order² - (2j-1)²) / (k! (8x)^k) (A&S 9.7.1)."""
    y = 0.125 / size
    total = y.new_full((), 1.0)
    for k in range(_FAR_TERMS, 0, -1):
        total = 1.0 - total * y * ((4 * order * order - (2 * k - 1) ** 2) / k)
    return total


def _modified(order: int, scaled: bool) -> Callable[[Tensor], Tensor]:
    def operation(input: Tensor) -> Tensor:
        x = input.double()
        size = x.abs()
        far = size > _FAR
        low, high = where(far, 0.0, x), where(far, size, _FAR)
        inner = near(order, low)
        outer = hankel(order, high) * (high * (2 * math.pi)).rsqrt()
        outer = outer * x.sign() if order else outer
        if scaled:
            inner = inner * (-low.abs()).exp()
        else:
            # In two halves, so that it is finite as far as the result is.
            half = (high * 0.5).exp()
            outer = outer * half * half
        return where(far, outer, inner).to(floating(input.dtype))

    operation.__name__ = f"i{order}e" if scaled else f"i{order}"
    operation.__doc__ = f"The modified Bessel function of the first kind and order {order}" + (
        ", times ``exp(-|x|)``." if scaled else "."
    )
    return as_one(operation)


i0, i1 = _modified(0, False), _modified(1, False)
i0e, i1e = _modified(0, True), _modified(1, True)
publish(("i0",), i0)
