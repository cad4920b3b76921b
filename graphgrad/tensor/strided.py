"""``as_strided``: windows over the memory of a tensor, given in steps of elements.

    x.as_strided((3, 3), (1, 1))           # a Hankel matrix: x[i + j], sharing the memory of x

The result is a view made of windows, one a dimension, so it has gradients and can be traced. Only
the elements of the tensor itself can be reached, not others of the memory it is a view of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphgrad.ops import size_of
from graphgrad.tensor import plan as plans
from graphgrad.tensor.core import Tensor, both, function
from graphgrad.tensor.creation import from_array
from graphgrad.tensor.plan import apply
from graphgrad.tensor.shapes import permute, reshape_view, sizes_of, sliced


@both
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Element (i, j, …) is that at ``storage_offset + i * stride[0] + j * stride[1] + …``."""
    sizes, steps, first = _described(input, size, stride, storage_offset)
    flat = _in_memory_order(input).reshape(-1)
    if 0 in sizes:
        return flat[:0].reshape(sizes)
    walked = [a for a in _by_step(steps) if sizes[a] > 1 and steps[a] > 0]
    out = sliced(flat, 0, first, first + _span(sizes, steps))
    for a in walked:
        out = apply("window", out, axes=(0,), size=(sizes[a],), stride=(1,), dilation=(steps[a],))
    # What is left of the first dimension is one position; the windows come in walking order.
    still = [a for a in range(len(sizes)) if a not in walked]
    out = reshape_view(out, tuple(sizes[a] for a in walked) + (1,) * len(still))
    order = [*walked, *still]
    return permute(out, [order.index(a) for a in range(len(order))]).expand(sizes)


@function
def as_strided_copy(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """``as_strided``, copied: the result shares no memory."""
    return as_strided(input, size, stride, storage_offset).clone()


@both
def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of ``input`` with ``src`` where ``as_strided`` would look."""
    sizes, steps, first = _described(input, size, stride, storage_offset)
    if tuple(src.shape) != sizes:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}"
            f", slice size = {list(sizes)}"
        )
    places = np.full(sizes, first, np.int64)
    for axis, (n, step) in enumerate(zip(sizes, steps, strict=True)):
        places += (np.arange(n) * step).reshape(-1, *[1] * (len(sizes) - axis - 1))
    moved = _in_memory_order(input)
    index = from_array(places.reshape(-1), input.device)
    out = apply("scatter", moved.reshape(-1), index, src.reshape(-1), axis=0)
    axes = _memory_order(input)
    return permute(out.reshape(moved.shape), [axes.index(a) for a in range(len(axes))])


def _described(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Sizes, steps, and the place of the first element among those of ``input``."""
    sizes, steps = sizes_of((tuple(size),)), sizes_of((tuple(stride),))
    if len(sizes) != len(steps):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(steps)} strides, {len(sizes)} sizes"
        )
    if any(s < 0 for s in steps):
        raise RuntimeError(f"as_strided: Negative strides are not supported, got {list(steps)}")
    own = _own_offset(input)
    first = 0 if storage_offset is None else storage_offset - own
    span = 0 if 0 in sizes else _span(sizes, steps)
    if first < 0 or (span and first + span > input.numel()):
        what = f"size {list(sizes)}, stride {list(steps)}, storage_offset {storage_offset}"
        if input._chain:
            raise NotImplementedError(
                f"as_strided with {what} leaves the elements of this view; call it on the tensor "
                "that the view was made from"
            )
        raise RuntimeError(f"{what} are out of bounds for storage of {input.numel()} elements")
    return sizes, steps, first


def _span(sizes: tuple[int, ...], steps: tuple[int, ...]) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))


def _own_offset(input: Tensor) -> int:
    """Where the first element lies in the memory that ``input`` views."""
    if not input._chain:
        return 0
    if input._array is not None:
        return input.storage_offset()
    view = plans.layout(input)
    return 0 if view is None else view.offset


def _by_step(steps: Sequence[int]) -> list[int]:
    """Dimensions, the one with the longest steps first."""
    return sorted(range(len(steps)), key=lambda a: (-steps[a], a))


def _memory_order(input: Tensor) -> list[int]:
    return _by_step(input.stride())


def _in_memory_order(input: Tensor) -> Tensor:
    """The dimensions permuted so that elements come in the order of memory, without gaps."""
    moved = permute(input, _memory_order(input)) if input.ndim else input
    if not moved.is_contiguous() and size_of(tuple(input.shape)) > 1:
        raise NotImplementedError(
            "as_strided of a tensor whose elements do not lie side by side in memory (a strided "
            "slice, an expanded tensor): make it contiguous() and use the strides of the copy"
        )
    return moved
