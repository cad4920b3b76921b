"""Along a dimension: running sums, products and extrema, differences, and integrals of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import BOOL
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, publish
from graphgrad.tensor.operators import where
from graphgrad.tensor.plan import apply
from graphgrad.tensor.promotion import accumulating, floating
from graphgrad.tensor.reduce import converted, returned
from graphgrad.tensor.shapes import axis_of


def _running(name: str) -> Callable[..., Tensor]:
    def operation(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        x = converted(input, dtype, accumulating)
        return apply(name, x, axis=axis_of(dim, x.ndim)) if x.ndim else x.clone()

    operation.__name__ = name
    return operation


cumsum, cumprod = _running("cumsum"), _running("cumprod")
publish(("cumsum",), cumsum)
publish(("cumprod",), cumprod)


def _running_extremum(name: str) -> Callable[..., Any]:
    result = returned(name)

    def operation(input: Tensor, dim: int) -> Any:
        axis = axis_of(dim, input.ndim)
        if input.ndim == 0:
            return result(input.clone(), input.new_zeros((), dtype=dtypes.int64))
        x = input.detach()
        high = apply(name, x, axis=axis)
        places = FUNCTIONS["arange"](x.shape[axis], device=x.device).view(
            -1, *[1] * (x.ndim - axis - 1)
        )
        # A NaN is its own extremum, though it equals nothing.
        here = where((x == high) | (x != x), places.expand(x.shape), 0)
        index = apply("cummax", here, axis=axis)
        return result(input.gather(axis, index), index)

    operation.__name__ = name
    operation.__doc__ = f"(values, indices) of the running {name[3:]}imum along ``dim``."
    return operation


publish(("cummax",), _running_extremum("cummax"))
publish(("cummin",), _running_extremum("cummin"))


@both
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(input)))`` without overflow: sums of 2, 4, 8, … neighbours, by doubling."""
    axis = axis_of(dim, input.ndim)
    out, reach = converted(input, None, floating), 1
    while out.ndim and reach < out.shape[axis]:
        n = out.shape[axis] - reach
        summed = FUNCTIONS["logaddexp"](out.narrow(axis, reach, n), out.narrow(axis, 0, n))
        out = FUNCTIONS["cat"]((out.narrow(axis, 0, reach), summed), axis)
        reach *= 2
    return out.clone() if out is input else out


@both
def diff(
    input: Tensor,
    n: Any = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along ``dim``, ``n`` times, with others put before and after.

    Of two Graphs, ``diff(before, after)``, or of a compiled function: ``viz.diff`` of them.
    """
    if not isinstance(input, Tensor):
        from graphgrad import viz

        return viz.diff(input, n if n != 1 else None)
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    given = input
    if n and (prepend is not None or append is not None):
        parts = [t for t in (prepend, input, append) if t is not None]
        input = FUNCTIONS["cat"](parts, dim)
    for _ in range(min(n, input.shape[dim])):
        size = input.shape[dim]
        above, below = input.narrow(dim, 1, size - 1), input.narrow(dim, 0, size - 1)
        input = above ^ below if input.dtype.category == BOOL else above - below
    return input.clone() if input is given else input


@function
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integral of samples ``y`` by the trapezoidal rule."""
    size = y.shape[dim]
    heights = y.narrow(dim, 1, size - 1) + y.narrow(dim, 0, size - 1)
    widths = dx if x is None else diff(x, 1, dim)
    return (heights * widths).sum(dim) / 2


FUNCTIONS["trapz"] = trapezoid


@function
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1
) -> Tensor:
    """The running integral of samples ``y`` by the trapezoidal rule."""
    size = y.shape[dim]
    heights = y.narrow(dim, 1, size - 1) + y.narrow(dim, 0, size - 1)
    widths = dx if x is None else diff(x, 1, dim)
    return cumsum(heights * widths, dim) / 2
