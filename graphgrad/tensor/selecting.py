"""Parts of a tensor by index, mask or place: index_select, index_add, take, masked_fill, …

Every ``name`` here that writes has an in-place twin ``name_``. Index tensors are int64 (or int32);
an index that is out of range raises IndexError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT
from graphgrad.tensor import assignment
from graphgrad.tensor.core import Tensor, both, method
from graphgrad.tensor.indexing import is_direct, spread
from graphgrad.tensor.place import same_device
from graphgrad.tensor.plan import apply
from graphgrad.tensor.promotion import joined
from graphgrad.tensor.scattering import at_least_1d, gather
from graphgrad.tensor.shapes import axis_of, reshape_view

# --------------------------------------------------------------------------- one position per slice


def _along(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    """(input of at least one dimension, axis, 1-D index)."""
    axis = axis_of(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise IndexError(f"{name}(): Expected dtype int32 or int64 for index")
    x, places = at_least_1d(input, index)
    return x, axis, places


@both
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``dim`` at a 1-D ``index``, in its order."""
    x, axis, places = _along("index_select", input, dim, index)
    out = apply("gather", x, spread(places, tuple(x.shape), axis), axis=axis)
    return out if input.ndim else reshape_view(out, ())


def _by_slice(
    primitive: str, input: Tensor, dim: int, index: Tensor, source: Tensor, name: str
) -> Tensor:
    x, axis, places = _along(name, input, dim, index)
    wide = spread(places, tuple(x.shape), axis)
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) "
            f"{input.dtype.name} and (source) {source.dtype.name}"
        )
    if source.numel() != wide.numel():
        raise RuntimeError(
            f"{name}(): source {list(source.shape)} does not have the shape {list(wide.shape)} of "
            "the slices that the index selects"
        )
    out = apply(primitive, x, wide, source.reshape(wide.shape), axis=axis)
    return reshape_view(out, tuple(input.shape))


@both
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``alpha * source`` added to the slices of ``dim`` at ``index``; repeated ones add up."""
    source = source if alpha == 1 else source * alpha
    return _by_slice("scatter_add", input, dim, index, source, "index_add")


@both
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The slices of ``dim`` at ``index`` replaced by those of ``source``."""
    return _by_slice("scatter", input, dim, index, source, "index_copy")


@both
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """The slices of ``dim`` at ``index`` set to a number (or a tensor without dimensions)."""
    x, axis, places = _along("index_fill", input, dim, index)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(x.dtype)
    lines = tuple(n if a == axis else 1 for a, n in enumerate(x.shape))
    never = x.new_zeros(lines, dtype=dtypes.bool_)
    wide = spread(places, lines, axis)
    filled = apply("scatter", never, wide, never.new_ones(tuple(wide.shape)), axis=axis)
    return reshape_view(apply("where", filled, value, x), tuple(input.shape))


# ---------------------------------------------------------------------------------- several indices


@both
def index_put(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy with ``values`` written (or added) at ``input[indices]``."""
    return index_put_(input.clone(), indices, values, accumulate)


@method
def index_put_(
    self: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """``self[indices] = values``, or ``+=`` where repeated indices add up."""
    if values.dtype is not self.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{self.dtype.name} for the destination and {values.dtype.name} for the source."
        )
    items = tuple(slice(None) if i is None else i for i in indices)
    assignment.index_put(self, items, values, accumulate)
    return self


@both
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements by their position in row-major order; the result is as ``index``."""
    same_device("take", input, index)
    return input.reshape(-1)[index.reshape(-1)].reshape(index.shape)


@method
def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) elements by their position in row-major order."""
    same_device("put_", self, index, source)
    flat = self.reshape(-1)
    index_put_(flat, (index.reshape(-1),), source.reshape(-1), accumulate)
    return self if flat._storage is self._storage else self.copy_(flat.reshape(self.shape))


# -------------------------------------------------------------------------------------------- masks


@both
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy with ``value`` where ``mask`` holds (the two broadcast)."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_fill only supports boolean masks, but got mask with dtype " + mask.dtype.name
        )
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )
    if joined(input, value).category > max(input.dtype.category, FLOAT):
        raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
    value = value.to(input.dtype) if isinstance(value, Tensor) else value
    return apply("where", mask, value, input)


@both
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` holds, in a row (eager only: how many depends on values)."""
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    return input.expand(shape)[mask.expand(shape)]


@both
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy whose elements where ``mask`` holds are taken from ``source`` in row-major order."""
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    flat, held = input.expand(shape).reshape(-1), mask.expand(shape).reshape(-1)
    if is_direct(mask, source) and int(held._array.sum()) > source.numel():
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes and size")
    if not source.numel() or not flat.numel():
        return input.expand(shape).clone()
    place = (held.to(dtypes.int64).cumsum(0) - 1).clamp(0, source.numel() - 1)
    taken = gather(source.reshape(-1), 0, place)
    return apply("where", held, taken, flat).reshape(shape)


# -------------------------------------------------------------------------------------------- parts


@both
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with ``src`` at one position of ``dim``."""
    axis = axis_of(dim, input.ndim)
    if not -input.shape[axis] <= index < input.shape[axis]:
        raise IndexError(f"index {index} is out of bounds for dimension {axis}")
    place = index % input.shape[axis]
    _fits_slice(src, (*input.shape[:axis], *input.shape[axis + 1 :]))
    return _updated(input, src.unsqueeze(axis), axis, place, 1)


def _fits_slice(src: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(src.shape) != shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(shape)}"
        )


def _updated(input: Tensor, src: Tensor, axis: int, start: int, step: int) -> Tensor:
    starts, steps = [0] * input.ndim, [1] * input.ndim
    starts[axis], steps[axis] = start, step
    block = src.to(input.dtype)
    return apply("slice_update", input, block, start=tuple(starts), step=tuple(steps))


@both
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy with ``src`` at ``start:end:step`` of ``dim``."""
    axis = axis_of(dim, input.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    low, high, _ = slice(start, end).indices(input.shape[axis])
    size = max(-(-(high - low) // step), 0)
    _fits_slice(src, (*input.shape[:axis], size, *input.shape[axis + 1 :]))
    return _updated(input, src, axis, low, step)


@both
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy with ``src`` on a diagonal."""
    out = input.clone()
    view = out.diagonal(offset, dim1, dim2)
    _fits_slice(src, tuple(view.shape))
    view.copy_(src)
    return out
