"""Quantiles, medians and modes of rows; covariances of variables.

NaN: ``quantile`` gives NaN for a row with one, ``nanquantile`` and ``nanmedian`` leave it out.
"""

from __future__ import annotations

from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT, INTEGER
from graphgrad.tensor.core import FUNCTIONS, Tensor, both
from graphgrad.tensor.operators import where
from graphgrad.tensor.place import at_hand
from graphgrad.tensor.plan import apply
from graphgrad.tensor.reduce import returned
from graphgrad.tensor.shapes import axis_of
from graphgrad.tensor.sorting import sort

_nanmedian_result, _mode_result = returned("nanmedian"), returned("mode")

# ---------------------------------------------------------------------------------------- quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@both
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The ``q``-quantiles of rows along ``dim``, all elements by default.

    q: a number or a 1-d tensor of numbers from 0 to 1; a tensor adds a leading dimension.
    interpolation: between neighbours, "linear" or "midpoint"; or one of them, "lower", "higher" or
    "nearest".
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@both
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """``quantile`` of what is not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _quantile(name: str, input: Tensor, q: Any, dim: Any, keepdim: bool, between: str) -> Tensor:
    steps = _steps(name, input, q)
    if between not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {between}"
        )
    axis = axis_of(0 if dim is None else dim, input.ndim)
    rows = input.reshape(-1) if dim is None or not input.ndim else input.movedim(axis, -1)
    found = _at_ranks(sort(rows, -1).values, _ranks(name, rows, steps), between)
    found = found.movedim(-1, 0)
    if keepdim:
        ones = [1] * input.ndim
        found = found.reshape(-1, *ones) if dim is None else found.unsqueeze(axis + 1)
        found = found if input.ndim else found.reshape(-1)
    return found if isinstance(q, Tensor) and q.ndim else found[0]


def _steps(name: str, input: Tensor, q: Any) -> Tensor:
    """``q`` as a vector of the input's type."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not input.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        return input.new_full((1,), q)
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    return q.reshape(-1)


def _ranks(name: str, rows: Tensor, steps: Tensor) -> Tensor:
    """Positions in the sorted rows, with fractions; NaN comes last in a sorted row."""
    missing = rows.detach().isnan()
    if name == "nanquantile":
        last = (~missing).to(rows.dtype).sum(-1, keepdim=True) - 1.0
        return (steps * last).clamp(min=0.0)
    last = float(rows.shape[-1] - 1)
    return where(missing.any(-1, keepdim=True), last, steps * last)


def _at_ranks(ordered: Tensor, ranks: Tensor, between: str) -> Tensor:
    if between in ("lower", "higher", "nearest"):
        whole = {"lower": "floor", "higher": "ceil", "nearest": "round"}[between]
        return ordered.gather(-1, FUNCTIONS[whole](ranks.detach()).to(dtypes.int64))
    low = ranks.detach().floor()
    a = ordered.gather(-1, low.to(dtypes.int64))
    b = ordered.gather(-1, ranks.detach().ceil().to(dtypes.int64))
    weight = ranks - low if between == "linear" else 0.5
    return a + (b - a) * weight


@both
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN: of all elements, or (values, indices) along ``dim``."""
    if dim is None:
        return _nanmedian(input.reshape(-1), 0, False)[0]
    if not input.ndim:
        return _nanmedian_result(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    return _nanmedian_result(*_nanmedian(input, axis_of(dim, input.ndim), keepdim))


def _nanmedian(input: Tensor, axis: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    values, places = sort(input, axis)
    held = (values == values).to(dtypes.int64).sum(axis, keepdim=True)
    middle = ((held - 1) // 2).clamp(min=0)
    picked = values.gather(axis, middle), places.gather(axis, middle)
    return picked if keepdim else (picked[0].squeeze(axis), picked[1].squeeze(axis))


@both
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent, then smallest, element along ``dim``."""
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        return _mode_result(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    ordered, places = sort(input.detach(), axis)
    n = ordered.shape[axis]
    here = (
        FUNCTIONS["arange"](n, device=input.device)
        .reshape(-1, *[1] * (input.ndim - axis - 1))
        .expand(input.shape)
    )
    changed = ordered.narrow(axis, 1, n - 1) != ordered.narrow(axis, 0, n - 1)
    first = changed.new_ones((*changed.shape[:axis], 1, *changed.shape[axis + 1 :]))
    start = where(FUNCTIONS["cat"]((first, changed), axis), here, 0)
    # How many equals come before: largest, and first so, at the end of the longest run.
    end = (here - apply("cummax", start, axis=axis)).argmax(axis, keepdim=True)
    index = places.gather(axis, end)
    pair = input.gather(axis, index), index
    return _mode_result(*(pair if keepdim else (p.squeeze(axis) for p in pair)))


# -------------------------------------------------------------------------------------- covariances


@both
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance matrix of variables in rows, observations in columns.

    fweights: how often each observation counts (whole numbers); aweights: how much (floats).
    """
    if input.ndim > 2:
        raise RuntimeError(
            "cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    x = input if input.ndim == 2 else input.reshape(1, -1)
    x = x if x.dtype.category >= FLOAT else x.to(dtypes.get_default_dtype())
    n = x.shape[1]
    _expect_weights("fweights", fweights, n, INTEGER, "integral")
    _expect_weights("aweights", aweights, n, FLOAT, "floating point")
    weights = fweights if aweights is None else aweights
    if fweights is not None and aweights is not None:
        weights = fweights * aweights
    total: Any = n if weights is None else weights.sum()
    weighted = x if weights is None else x * weights
    centred = x - (weighted.sum(1) / total).unsqueeze(1)
    less: Any = correction
    if aweights is not None and correction:
        less = correction * (weights * aweights).sum() / total
    scale = total - less
    scale = scale.clamp(min=0) if isinstance(scale, Tensor) else max(scale, 0)
    right = centred if weights is None else centred * weights
    product = centred @ right.to(centred.dtype).t().conj()
    scale = scale if isinstance(scale, Tensor) else product.new_full((), scale)
    return (product / scale).squeeze()


def _expect_weights(name: str, weights: Tensor | None, n: int, category: int, kind: str) -> None:
    if weights is None:
        return
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
            f"{weights.ndim} dimensions"
        )
    if weights.dtype.category != category:
        raise RuntimeError(
            f"cov(): expected {name} to have {kind} dtype but got {name} with "
            f"{weights.dtype.name} dtype"
        )
    if weights.numel() != n:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input "
            f"but got {weights.numel()} != {n}"
        )
    values = at_hand(weights)
    if values is not None and (values < 0).any():
        raise RuntimeError(f"cov(): {name} cannot be negative")


@both
def corrcoef(input: Tensor) -> Tensor:
    """The correlation matrix of variables in rows."""
    if input.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = cov(input)
    if c.ndim == 0:
        return c / c
    d = c.diagonal().sqrt()
    r = c / d.unsqueeze(1) / d.unsqueeze(0)
    if r.dtype.is_complex:
        return FUNCTIONS["complex"](r.real.clamp(-1, 1), r.imag.clamp(-1, 1))
    return r.clamp(-1, 1)
