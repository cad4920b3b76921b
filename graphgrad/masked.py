"""Reductions and normalisations of what a mask keeps, by their names in ``torch.masked``.

    masked.mean(x, dim=1, mask=x > 0)        # of the positive elements of each row

``mask`` is True where an element counts and broadcasts to ``input``; without one, all count. Where
nothing counts, a reduction gives its identity (0 for sums, -inf for maxima, NaN for means).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphgrad import functional
from graphgrad.dtypes import FLOAT
from graphgrad.nearest import names_of
from graphgrad.tensor import FUNCTIONS, Tensor
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import accumulating
from graphgrad.tensor.shapes import axes_of

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]


def _held(input: Tensor, mask: Tensor | None) -> Tensor:
    """The mask in the shape of ``input``."""
    if mask is None:
        return input.new_ones(tuple(input.shape)).bool()
    if mask.ndim > input.ndim:
        raise IndexError("mask dimension is larger than the input's: it must broadcast to input")
    return mask.bool().expand(input.shape)


def _filled(input: Tensor, mask: Tensor | None, value: Any, dtype: Any = None) -> Tensor:
    """``input`` with ``value`` in place of what does not count."""
    x = input if dtype is None else input.to(dtype)
    return x if mask is None else where(_held(x, mask), x, value)


def _count(input: Tensor, mask: Tensor | None, dim: Any, keepdim: bool) -> Tensor:
    return _held(input, mask).sum(axes_of(dim, input.ndim), keepdim=keepdim)


# --------------------------------------------------------------------------------------- reductions


def _lowest(x: Tensor) -> Any:
    return -math.inf if x.dtype.category >= FLOAT else FUNCTIONS["iinfo"](x.dtype).min


def _highest(x: Tensor) -> Any:
    return math.inf if x.dtype.category >= FLOAT else FUNCTIONS["iinfo"](x.dtype).max


def _reduction(
    name: str, identity: Callable[[Tensor], Any], several: bool
) -> Callable[..., Tensor]:
    """``several``: whether the reduction itself takes more than one dimension."""

    def operation(
        input: Tensor,
        dim: Any = None,
        *,
        keepdim: bool = False,
        dtype: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        x = _filled(input, mask, identity(input), dtype)
        x = x if dtype is not None or name in ("amax", "amin") else x.to(accumulating(x.dtype))
        axes = axes_of(dim, x.ndim)
        if not axes:
            return x.clone()
        if several:
            return FUNCTIONS[name](x, axes, keepdim)
        for axis in sorted(axes, reverse=True):
            x = FUNCTIONS[name](x, axis, keepdim)
        return x

    operation.__name__ = name
    operation.__doc__ = f"The {name} over ``dim`` (all dimensions by default) of what counts."
    return operation


sum = _reduction("sum", lambda x: 0, several=True)
prod = _reduction("prod", lambda x: 1, several=False)
amax = _reduction("amax", _lowest, several=True)
amin = _reduction("amin", _highest, several=True)


def mean(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean over ``dim`` of what counts; NaN where nothing does."""
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, mask, dim, keepdim)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The lower median along ``dim`` of what counts; NaN where nothing does."""
    if input.dtype.category < FLOAT:
        raise ValueError("input with boolean or integer elements has no masked median: use float")
    if not input.ndim:
        return _filled(input, mask, math.nan, dtype).clone()
    # NaN marks what does not count, so a NaN that counts is put back in the end.
    x = _filled(input, mask, math.nan, dtype)
    middle = x.nanmedian(dim, keepdim).values
    spoiled = (_held(x, mask) & x.isnan()).any(dim, keepdim)
    return where(spoiled, math.nan, middle)


def logsumexp(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """``log(sum(exp(input)))`` over ``dim`` of what counts."""
    x = _filled(input, mask, -math.inf, dtype)
    return FUNCTIONS["logsumexp"](x, axes_of(dim, x.ndim), keepdim=keepdim)


def norm(
    input: Tensor,
    ord: Any = 2.0,
    dim: Any = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The ``ord``-norm over ``dim`` of what counts."""
    outside = math.inf if ord == -math.inf else 0
    x = _filled(input, mask, outside, dtype)
    return FUNCTIONS["norm"](x, ord, axes_of(dim, x.ndim), keepdim)


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    *,
    correction: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The variance over ``dim`` of what counts, divided by its number less ``correction``."""
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    less = correction if correction is not None else int(unbiased is not False)
    x = input if dtype is None else input.to(dtype)
    x = x if x.dtype.category >= FLOAT else x.to(FUNCTIONS["get_default_dtype"]())
    axes = axes_of(dim, x.ndim)
    centre = mean(x, axes, keepdim=True, mask=mask)
    off = _filled(x - centre, mask, 0)
    total = (off * off).sum(axes, keepdim=keepdim)
    count = _count(x, mask, axes, keepdim).to(x.dtype) - less
    return total / count.clamp(min=0)


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    *,
    correction: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The square root of ``var``."""
    return var(
        input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
    ).sqrt()


def _place(name: str, identity: Callable[[Tensor], Any]) -> Callable[..., Tensor]:
    def operation(
        input: Tensor,
        dim: int | None = None,
        *,
        keepdim: bool = False,
        dtype: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        x = _filled(input, mask, identity(input), dtype)
        return FUNCTIONS[name](x, dim, keepdim).to(x.dtype)

    operation.__name__ = name
    operation.__doc__ = (
        f"The position of the {name[3:]}imum of what counts, in the type of ``input``."
    )
    return operation


argmax, argmin = _place("argmax", _lowest), _place("argmin", _highest)


# --------------------------------------------------------------------------------------- same shape


def _running(name: str, identity: int) -> Callable[..., Tensor]:
    def operation(
        input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
    ) -> Tensor:
        return FUNCTIONS[name](_filled(input, mask, identity, dtype), dim)

    operation.__name__ = name
    operation.__doc__ = f"The {name} along ``dim``; what does not count is {identity}."
    return operation


cumsum, cumprod = _running("cumsum", 0), _running("cumprod", 1)


def _soft(name: str, outside: float) -> Callable[..., Tensor]:
    def operation(
        input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
    ) -> Tensor:
        return getattr(functional, name)(_filled(input, mask, outside, dtype), dim)

    operation.__name__ = name
    operation.__doc__ = f"``{name}`` along ``dim`` of what counts."
    return operation


softmax, log_softmax = _soft("softmax", -math.inf), _soft("log_softmax", -math.inf)
softmin = _soft("softmin", math.inf)


def normalize(
    input: Tensor,
    ord: Any,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Slices of ``dim`` divided by their ``ord``-norm, or by ``eps`` where that is smaller."""
    x = _filled(input, mask, 0, dtype)
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return x / size.clamp(min=eps)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: Any = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """``log(exp(input) + exp(other))``, each counting where its own mask holds."""
    x = _filled(input, input_mask, -math.inf, dtype)
    y = _filled(other, other_mask, -math.inf, dtype)
    return FUNCTIONS["logaddexp"](x, y)


__getattr__ = names_of("graphgrad.masked", globals())
