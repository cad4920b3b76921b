"""Orthogonal polynomials by their recurrences: Chebyshev, Hermite, Laguerre, Legendre.

    graphgrad.special.legendre_polynomial_p(x, 3)

The degree is a whole number, or a tensor of them (eagerly only); below 0 the result is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad.tensor.core import Tensor
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import floating

# Degree 1 as a function of x, and degree k + 1 from x, degree k and degree k - 1.
_First = Callable[[Tensor], Tensor]
_Next = Callable[[Tensor, int, Tensor, Tensor], Tensor]


def _twice(x: Tensor, k: int, now: Tensor, before: Tensor) -> Tensor:
    return x * now * 2.0 - before


_RECURRENCES: dict[str, tuple[_First, _Next]] = {
    "chebyshev_polynomial_t": (lambda x: x, _twice),
    "chebyshev_polynomial_u": (lambda x: x * 2.0, _twice),
    "chebyshev_polynomial_v": (lambda x: x * 2.0 - 1.0, _twice),
    "chebyshev_polynomial_w": (lambda x: x * 2.0 + 1.0, _twice),
    "hermite_polynomial_h": (
        lambda x: x * 2.0,
        lambda x, k, now, before: x * now * 2.0 - before * (2.0 * k),
    ),
    "hermite_polynomial_he": (
        lambda x: x,
        lambda x, k, now, before: x * now - before * float(k),
    ),
    "laguerre_polynomial_l": (
        lambda x: 1.0 - x,
        lambda x, k, now, before: ((2 * k + 1.0 - x) * now - before * float(k)) / (k + 1.0),
    ),
    "legendre_polynomial_p": (
        lambda x: x,
        lambda x, k, now, before: (x * now * (2 * k + 1.0) - before * float(k)) / (k + 1.0),
    ),
}


def _polynomial(name: str, first: _First, following: _Next, shifted: bool) -> Any:
    def operation(input: Any, n: Any) -> Tensor:
        if not isinstance(input, Tensor):
            input = n.new_full((), input, dtype=floating(n.dtype))
        x = input.to(floating(input.dtype))
        x = x * 2.0 - 1.0 if shifted else x
        degree = n if isinstance(n, Tensor) else int(n)
        highest = int(degree.max()) if isinstance(degree, Tensor) and degree.numel() else degree
        before, now = x * 0.0, x * 0.0 + 1.0
        out = _picked(degree, 0, now, before)
        for k in range(highest if isinstance(highest, int) else 0):
            before, now = now, following(x, k, now, before) if k else first(x)
            out = _picked(degree, k + 1, now, out)
        return out

    operation.__name__ = name
    operation.__doc__ = f"``{name}`` of degree ``n`` at ``input``."
    return operation


def _picked(degree: Any, k: int, value: Tensor, out: Tensor) -> Tensor:
    """``value`` where the degree is ``k``, what there was elsewhere."""
    if isinstance(degree, Tensor):
        return where(degree.trunc() == k, value, out)
    return value if degree == k else out


POLYNOMIALS = {name: _polynomial(name, *row, False) for name, row in _RECURRENCES.items()}
POLYNOMIALS |= {
    f"shifted_{name}": _polynomial(f"shifted_{name}", *row, True)
    for name, row in _RECURRENCES.items()
    if name.startswith("chebyshev")
}
