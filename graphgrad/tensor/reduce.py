"""Reductions over dimensions: sums, means, extrema, norms, and running totals."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import BOOL, FLOAT, DType
from graphgrad.ops import size_of
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, publish
from graphgrad.tensor.operators import where
from graphgrad.tensor.plan import apply, rename
from graphgrad.tensor.promotion import accumulating, floating
from graphgrad.tensor.shapes import axes_of, axis_of, reshape_view


def reduced(name: str, x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """One reduction primitive over ``axes``."""
    out = apply(name, x, axes=tuple(sorted(axes)))
    return kept(out, axes, x.shape) if keepdim else out


def kept(out: Tensor, axes: tuple[int, ...], shape: Any) -> Tensor:
    """Reduced dimensions back as size 1."""
    return reshape_view(out, tuple(1 if a in axes else n for a, n in enumerate(shape)))


def converted(input: Tensor, dtype: DType | None, default: Callable[[DType], DType]) -> Tensor:
    wanted = dtype or default(input.dtype)
    return input if input.dtype is wanted else input.to(wanted)


@both
def sum_(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over ``dim`` (all dimensions by default); integers are summed as int64."""
    x = converted(input, dtype, accumulating)
    return reduced("sum", x, axes_of(dim, x.ndim), keepdim)


@both
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """``sum`` with NaN counted as 0."""
    return sum_(where(input.isnan(), 0.0, input), dim, keepdim, dtype=dtype)


@both
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over ``dim``."""
    x = converted(input, dtype, accumulating)
    return reduced("prod", x, axes_of(dim, x.ndim), keepdim)


@both
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over ``dim``; needs floating-point elements (or a ``dtype``)."""
    x = input if dtype is None else input.to(dtype)
    if x.dtype.category < FLOAT:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {_spelled(x)}"
        )
    axes = axes_of(dim, x.ndim)
    return rename(_mean(x, axes, bool(keepdim)), f"MeanBackward{int(len(axes) < x.ndim)}")


@composite("MeanBackward0")
def _mean(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    n = size_of(tuple(x.shape[a] for a in axes))
    total = reduced("sum", x, axes, keepdim)
    return total / n if n else total * math.nan


def _spelled(x: Tensor) -> str:
    return {"int64": "Long", "int32": "Int", "bool": "Bool"}.get(x.dtype.name, x.dtype.name)


@both
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean of what is not NaN."""
    count = (~input.isnan()).to(input.dtype).sum(dim, keepdim)
    return nansum(input, dim, keepdim) / count


@both
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """Mean squared distance from the mean, divided by n - correction (1 by default)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axes = axes_of(dim, input.ndim)
    less = correction if correction is not None else (1 if unbiased in (None, True) else 0)
    return _var(input, axes, less, bool(keepdim))


@composite("VarBackward0")
def _var(x: Tensor, axes: tuple[int, ...], less: Any, keepdim: bool) -> Tensor:
    n = size_of(tuple(x.shape[a] for a in axes))
    centred = x - _mean(x, axes, True)
    total = reduced("sum", _square(centred), axes, keepdim)
    return total / (n - less) if n > less else total * math.nan


def _square(x: Tensor) -> Tensor:
    """``|x|²``."""
    return (x * x.conj()).real if x.dtype.is_complex else x * x


@both
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """The square root of ``var``."""
    root = var(input, dim, unbiased, keepdim, correction=correction).sqrt()
    return rename(root, "StdBackward0")


def _and_mean(name: str, spread: Callable[..., Tensor]) -> None:
    def operation(
        input: Tensor,
        dim: Any = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: Any = None,
    ) -> tuple[Tensor, Tensor]:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        width = spread(input, dim, unbiased, keepdim, correction=correction)
        return width, mean(input, dim, keepdim)

    operation.__name__ = f"{name}_mean"
    operation.__doc__ = f"``{name}`` and ``mean``."
    function(operation)


_and_mean("var", var)
_and_mean("std", std)


@both
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(input)))`` without overflow."""
    x = converted(input, None, floating)
    return _logsumexp(x, axes_of(dim, x.ndim), bool(keepdim))


@composite("LogsumexpBackward0")
def _logsumexp(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    high = reduced("max", x.detach(), axes, True)
    high = where(high.isfinite(), high, 0.0)
    total = reduced("sum", (x - high).exp(), axes, keepdim).log()
    return total + (high if keepdim else reshape_view(high, tuple(total.shape)))


# ------------------------------------------------------------------------------------------ extrema


def returned(name: str) -> Any:
    """The named tuple (values, indices) that PyTorch returns from ``name``."""
    kind: Any = namedtuple(name, "values indices")
    kind.__repr__ = lambda self: (
        f"torch.return_types.{name}(\nvalues={self.values!r},\nindices={self.indices!r})"
    )
    return kind


def expect_some(name: str, input: Tensor, axes: tuple[int, ...], dim: Any) -> None:
    """PyTorch's error for the extremum of nothing."""
    empty = [a for a in axes if input.shape[a] == 0]
    if not empty:
        return
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    raise IndexError(f"{name}(): Expected reduction dim {empty[0]} to have non-zero size.")


def _extremum(name: str, keeps: str) -> Callable[..., Any]:
    def over_axes(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        axes = axes_of(dim, input.ndim)
        expect_some(keeps, input, axes, dim)
        return reduced(name, input, axes, keepdim)

    over_axes.__name__ = keeps
    over_axes.__doc__ = f"The {name} over ``dim``; equal extrema share the gradient evenly."
    return over_axes


amax, amin = _extremum("max", "amax"), _extremum("min", "amin")
publish(("amax",), amax)
publish(("amin",), amin)


def _max_or_min(name: str) -> Callable[..., Any]:
    result = returned(name)

    def operation(
        input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None
    ) -> Any:
        second = dim if isinstance(dim, Tensor) else other
        if second is not None:
            return FUNCTIONS[f"{name}imum"](input, second)
        if dim is None:
            whole = reduced(name, input, tuple(range(input.ndim)), False)
            return rename(whole, f"{name.capitalize()}Backward1")
        places = _arg_reduced(f"arg{name}", input, dim, True)
        axis = axis_of(dim, input.ndim)
        values = input.gather(axis, places) if input.ndim else input.clone()
        if not keepdim and input.ndim:
            values, places = (reshape_view(v, _without(v.shape, axis)) for v in (values, places))
        values = rename(values, f"{name.capitalize()}Backward0")
        return result(values, places)

    operation.__name__ = name
    operation.__doc__ = (
        f"The {name}imum of all elements; over ``dim``, (values, indices); with another tensor, "
        f"the elementwise {name}imum."
    )
    return operation


def _without(shape: Any, axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


publish(("max",), _max_or_min("max"))
publish(("min",), _max_or_min("min"))


def _arg_reduced(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    x = input.detach()
    x = x.to(dtypes.uint8) if x.dtype.category == BOOL else x
    if dim is None:
        out = apply(name, x.reshape(-1), axis=0)
        return out.reshape((1,) * x.ndim) if keepdim else out
    if x.ndim == 0:
        return apply(name, x.reshape(1), axis=0)
    axis = axis_of(dim, x.ndim)
    out = apply(name, x, axis=axis)
    return kept(out, (axis,), x.shape) if keepdim else out


@both
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the first largest element."""
    return _arg_reduced("argmax", input, dim, keepdim)


@both
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the first smallest element."""
    return _arg_reduced("argmin", input, dim, keepdim)


@both
def aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Smallest and largest element, as a named tuple (min, max)."""
    axes = axes_of(dim, input.ndim)
    expect_some("aminmax", input, axes, dim)
    return _Aminmax(reduced("min", input, axes, keepdim), reduced("max", input, axes, keepdim))


_Aminmax = namedtuple("aminmax", "min max")  # type: ignore[name-match]


@both
def all_(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are non-zero."""
    return _quantified("min", input, dim, keepdim, True)


@both
def any_(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element is non-zero."""
    return _quantified("max", input, dim, keepdim, False)


def _quantified(name: str, input: Tensor, dim: Any, keepdim: bool, empty: bool) -> Tensor:
    axes = axes_of(dim, input.ndim)
    truth = input.detach() if input.dtype.category == BOOL else input.detach() != 0
    if any(input.shape[a] == 0 for a in axes):
        shape = reduced("sum", truth.to(dtypes.int64), axes, keepdim).shape
        return truth.new_full(shape, empty)
    return reduced(name, truth, axes, keepdim)


@both
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not 0."""
    return (input != 0).sum(dim)


# -------------------------------------------------------------------------------------------- norms


@both
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """The p-norm of the elements, ``sum(|x|^p)^(1/p)``; 2 by default, inf and -inf are extrema."""
    x = input if dtype is None else input.to(dtype)
    if isinstance(p, str) and p != "fro":
        raise NotImplementedError(f"norm(p={p!r}): use linalg.norm for matrix norms")
    return _norm(x, 2 if p in ("fro", None) else p, axes_of(dim, x.ndim), bool(keepdim))


@composite("LinalgVectorNormBackward0")
def _norm(x: Tensor, p: Any, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    if p == 2:
        return _root(reduced("sum", _square(x), axes, keepdim))
    if p == math.inf:
        return reduced("max", x.abs(), axes, keepdim)
    if p == -math.inf:
        return reduced("min", x.abs(), axes, keepdim)
    if p == 0:
        # NaN is not 0; the gradient is 0 everywhere.
        return reduced("sum", where(x.isnan(), 1.0, x.abs().sign()), axes, keepdim)
    if p == 1:
        return reduced("sum", x.abs(), axes, keepdim)
    return _root(reduced("sum", _powers(x.abs(), p), axes, keepdim), p)


def _powers(size: Tensor, p: Any) -> Tensor:
    """``size ** p`` whose gradient at 0 is 0."""
    zero = size == 0
    return where(zero, 0.0 if p > 0 else math.inf, where(zero, 1.0, size) ** p)


def _root(total: Tensor, p: Any = 2) -> Tensor:
    """A root whose gradient at 0 is 0, as PyTorch's norm has it."""
    zero = total == 0
    safe = where(zero, 1.0, total)
    return where(zero, 0.0 if p > 0 else math.inf, safe.sqrt() if p == 2 else safe ** (1 / p))


@both
def dist(input: Tensor, other: Tensor, p: Any = 2) -> Tensor:
    """The p-norm of ``input - other``."""
    return norm(input - other, p)


@both
def renorm(input: Tensor, p: Any, dim: int, maxnorm: float) -> Tensor:
    """Scale slices of ``dim`` whose p-norm exceeds ``maxnorm`` down to it."""
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    if p <= 0 or maxnorm < 0:
        raise RuntimeError(f"renorm: a positive p and maxnorm expected, got {p} and {maxnorm}")
    axis = axis_of(dim, input.ndim)
    sizes = norm(input, p, tuple(a for a in range(input.ndim) if a != axis), True)
    return input * where(sizes > maxnorm, maxnorm / (sizes + 1e-7), 1.0)


@function
def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares."""
    return norm(input, 2, dim, keepdim)


@both
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return input.diagonal().sum()
