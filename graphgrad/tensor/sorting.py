"""Order: sort, topk, median, unique, and counting. (Quantiles are in ``statistics``.)"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import Tensor, both, function, publish
from graphgrad.tensor.creation import from_array, near
from graphgrad.tensor.operators import where
from graphgrad.tensor.place import same_device
from graphgrad.tensor.plan import rename
from graphgrad.tensor.reduce import returned
from graphgrad.tensor.several import several
from graphgrad.tensor.shapes import axis_of, narrow

_sort_result, _topk_result = returned("sort"), returned("topk")
_median_result = returned("median")
_kth_result = returned("kthvalue")


@composite("SortBackward0", moves=True)
def _sort(x: Tensor, axis: int, descending: bool) -> tuple[Tensor, Tensor]:
    values, places = several("sort", x.detach(), axis=axis, descending=descending)
    # Gradients, of any order, are those of a gather.
    return (x.gather(axis, places) if x.requires_grad else values), places


@both
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """(values, indices) in order along ``dim``; always stable."""
    if input.ndim == 0:
        return _sort_result(input.clone(), from_array(np.zeros((), np.int64), input.device))
    return _sort_result(*_sort(input, axis_of(dim, input.ndim), bool(descending)))


@both
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """The positions that sort ``input`` along ``dim``."""
    return sort(input, dim, descending).indices


@both
def msort(input: Tensor) -> Tensor:
    """``sort`` along the first dimension, values only."""
    return sort(input, 0).values


@both
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the ``k`` largest (or smallest) along ``dim``, in order."""
    axis = axis_of(dim, input.ndim)
    if input.ndim and not 0 <= k <= input.shape[axis]:
        raise RuntimeError("selected index k out of range")
    values, indices = sort(input, dim, largest)
    if input.ndim == 0:
        return _topk_result(values, indices)
    top = rename(narrow(values, axis, 0, k), "TopkBackward0")
    return _topk_result(top, narrow(indices, axis, 0, k))


@both
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the ``k``-th smallest along ``dim``."""
    axis = axis_of(dim, input.ndim)
    if not 1 <= k <= max(input.shape[axis] if input.ndim else 1, 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    values, indices = sort(input, dim)
    parts = [narrow(v, axis, k - 1, 1) if v.ndim else v for v in (values, indices)]
    if not keepdim and input.ndim:
        parts = [p.squeeze(axis) for p in parts]
    return _kth_result(*parts)


@both
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of all elements; (values, indices) along ``dim``."""
    if dim is None:
        flat = input.reshape(-1)
        return _nan_wins(kthvalue(flat, (input.numel() + 1) // 2).values, flat, 0, False)
    n = input.shape[dim] if input.ndim else 1
    values, places = kthvalue(input, (n + 1) // 2, dim, keepdim)
    return _median_result(_nan_wins(values, input, dim, keepdim), places)


def _nan_wins(middle: Tensor, input: Tensor, dim: int, keepdim: bool) -> Tensor:
    """NaN where there is one among the numbers."""
    if not input.dtype.is_floating_point:
        return middle
    # The largest of numbers with a NaN is that NaN, which also takes the gradient.
    return where(input.isnan().any(dim, keepdim), input.amax(dim, keepdim), middle)


# ----------------------------------------------------------------------------------------- counting


@both
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in order, with inverse positions and counts (eagerly only)."""
    found = np.unique(
        input.detach().concrete("unique()"),
        return_inverse=return_inverse,
        return_counts=return_counts,
        axis=dim,
    )
    if not isinstance(found, tuple):
        return from_array(found, input.device)
    parts = [found[0], *(p.astype(np.int64) for p in found[1:])]
    return tuple(from_array(p, input.device) for p in parts)


@both
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """Elements that differ from the one before them (eagerly only)."""
    flat = input.detach().concrete("unique_consecutive()").reshape(-1)
    starts = np.concatenate(([True], flat[1:] != flat[:-1])) if flat.size else np.zeros(0, bool)
    results = [flat[starts]]
    if return_inverse:
        results.append((np.cumsum(starts) - 1).astype(np.int64).reshape(tuple(input.shape)))
    if return_counts:
        edges = np.append(np.nonzero(starts)[0], flat.size)
        results.append(np.diff(edges).astype(np.int64))
    tensors = tuple(from_array(r, input.device) for r in results)
    return tensors if len(tensors) > 1 else tensors[0]


@both
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where elements are not 0 (eagerly only): rows of a matrix, or one tensor a dimension."""
    found = np.nonzero(np.atleast_1d(input.detach().concrete("nonzero()")))
    if as_tuple:
        return tuple(from_array(p.astype(np.int64), input.device) for p in found)
    rows = np.stack(found, -1).astype(np.int64)
    return from_array(rows if input.ndim else rows[:, :0], input.device)


@both
def argwhere(input: Tensor) -> Tensor:
    """``nonzero`` as rows of a matrix (eagerly only)."""
    return nonzero(input)


@both
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each whole number occurs (eagerly only)."""
    same_device("bincount", *(x for x in (input, weights) if x is not None))
    w = None if weights is None else weights.concrete("bincount()")
    counts = np.bincount(input.concrete("bincount()"), w, minlength)
    return from_array(counts if w is None else counts.astype(w.dtype), input.device)


@both
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in equal bins between ``min`` and ``max`` (eagerly only)."""
    array = input.detach().concrete("histc()")
    low, high = (array.min(), array.max()) if min == max == 0 else (min, max)
    counts, _ = np.histogram(array, bins, (low, high if high > low else low + 1))
    return from_array(counts.astype(array.dtype), input.device)


def _whole(name: str, ufunc: Any) -> None:
    def operation(input: Tensor, other: Tensor) -> Tensor:
        same_device(name, input, other)
        values = np.asarray(ufunc(input.concrete(name), other.concrete(name)))
        return from_array(values, input.device)

    operation.__name__ = name
    operation.__doc__ = f"The {name} of whole numbers (eagerly only)."
    publish((name,), operation)


_whole("gcd", np.gcd)
_whole("lcm", np.lcm)


@function
def searchsorted(
    sorted_sequence: Tensor, values: Any, *, right: bool = False, side: str | None = None, **_: Any
) -> Tensor:
    """Where ``values`` would be inserted to keep the order of the last dimension."""
    given = near(values, sorted_sequence).to(sorted_sequence.dtype)
    rows = sorted_sequence.unsqueeze(-2) if sorted_sequence.ndim > 1 else sorted_sequence
    after = (
        (rows <= given.unsqueeze(-1)) if right or side == "right" else rows < given.unsqueeze(-1)
    )
    return after.to(dtypes.int64).sum(-1)


@function
def bucketize(input: Any, boundaries: Tensor, *, right: bool = False, **_: Any) -> Tensor:
    """The bucket between ``boundaries`` that each element falls in."""
    return searchsorted(boundaries, input, right=right)


@both
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among ``test_elements``."""
    one = elements if isinstance(elements, Tensor) else test_elements
    x, among = near(elements, one), near(test_elements, one)
    found = (x.unsqueeze(-1) == among.reshape(-1)).any(-1)
    return ~found if invert else found


@both
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return input.diagonal(diagonal) if input.ndim == 2 else diag_embed(input, diagonal)


@both
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the vectors of the last dimension on their diagonals."""
    n = input.shape[-1] + abs(offset)
    i = from_array(np.arange(n).reshape(-1, 1), input.device)
    on = (from_array(np.arange(n), input.device) - i) == offset
    lead = (0,) * (input.ndim - 1)
    from graphgrad.tensor.joining import padded

    before, after = (offset, 0) if offset > 0 else (0, -offset)
    wide = padded(input, (*lead, before), (*lead, after)) if offset else input
    rows = where(on, wide.unsqueeze(-2), 0)
    return rows.movedim((-2, -1), (dim1, dim2)) if (dim1, dim2) != (-2, -1) else rows


@both
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements on its diagonal."""
    return diag_embed(input.reshape(-1), offset)
