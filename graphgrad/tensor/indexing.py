"""Reading parts of tensors: ``x[0]``, ``x[:, 1:3]``, ``x[rows, columns]``, ``x[mask]``.

Numbers, slices, ``None`` and ``...`` select a view that shares memory. Index tensors (lists,
arrays) and boolean masks gather a copy; several index tensors broadcast against each other, and
their common shape stands where they stood if they are neighbours, in front otherwise.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import BOOL
from graphgrad.errors import message
from graphgrad.ops import Shape, size_of
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import FUNCTIONS, Tensor, method, wrap
from graphgrad.tensor.cuts import ALL, Item, dimensions, filled, key_of, view_at
from graphgrad.tensor.place import DeviceError, to_device
from graphgrad.tensor.plan import apply
from graphgrad.tensor.state import state


@method
def __getitem__(self: Tensor, index: Any) -> Tensor:
    key = key_of(index)
    if key is not None:
        return view_at(self, key)
    basic, arrays = positions(items_of(self, index), self)
    view = basic_view(self, basic)
    return gathered(view, arrays) if arrays else view


# ------------------------------------------------------------------------------------ index tensors


def basic_view(self: Tensor, basic: list[Item]) -> Tensor:
    """The view that the basic part of an index selects; itself where that is everything."""
    if all(item.__class__ is slice and item == ALL for item in basic) and basic:
        return self
    return view_at(self, key_of(tuple(basic)))


def items_of(self: Tensor, index: Any) -> list[Item]:
    """One of int, slice, None, integer tensor or boolean tensor per item."""
    items = index if isinstance(index, tuple) else (index,)
    found = [_item(item) for item in items]
    return filled([beside(self, x) if isinstance(x, Tensor) else x for x in found], self.ndim)


def _item(item: Any) -> Item:
    if isinstance(item, slice):
        bounds = (item.start, item.stop, item.step)
        return slice(*(None if b is None else operator.index(b) for b in bounds))
    if item is None or item is Ellipsis or item.__class__ is int:
        return item
    if isinstance(item, (bool, np.bool_)):
        return FUNCTIONS["tensor"](bool(item), device="cpu")
    if isinstance(item, (list, tuple, range, np.ndarray)):
        data = list(item) if isinstance(item, range) else item
        item = FUNCTIONS["tensor"](data, device="cpu")
        item = item if item.numel() else item.to(dtypes.int64)
    if isinstance(item, Tensor):
        return _index_tensor(item)
    try:
        return operator.index(item)
    except TypeError:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            f"valid indices (got {type(item).__name__})"
        ) from None


def _index_tensor(t: Tensor) -> Item:
    if t.dtype.category == BOOL:
        return t
    if t.dtype is dtypes.uint8:
        return t != 0
    if t.dtype not in (dtypes.int64, dtypes.int32):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if t.ndim == 0 and t._array is not None and state.trace is None:
        return t.item()
    return t


def positions(items: list[Item], self: Tensor) -> tuple[list[Item], dict[int, Tensor]]:
    basic: list[Item] = []
    arrays: dict[int, Tensor] = {}
    place = 0
    for item in items:
        if not isinstance(item, Tensor):
            basic.append(item)
            place += item.__class__ is not int
            continue
        parts = _places_of(item, place, _left(basic, self)) if is_mask(item) else (item,)
        # A 0-d mask stands for no dimension: its new one has size 1, and index 0 or nothing.
        basic += [None] if dimensions(item) == 0 else [ALL] * len(parts)
        arrays.update(enumerate(parts, place))
        place += len(parts)
    return basic, arrays


def is_mask(item: Item) -> bool:
    return isinstance(item, Tensor) and item.dtype.category == BOOL


def _left(basic: list[Item], self: Tensor) -> Shape:
    """The sizes of the dimensions that come after those already indexed."""
    return tuple(self.shape)[sum(item is not None for item in basic) :]


def _places_of(mask: Tensor, place: int, shape: Shape) -> tuple[Tensor, ...]:
    """Where a mask holds, one index tensor a dimension (at least one)."""
    check_mask(mask, place, shape)
    values = mask.detach().concrete("indexing with a boolean mask")
    found = np.nonzero(np.atleast_1d(values))
    return tuple(wrap(to_device(p.astype(np.int64), mask.device)) for p in found)


def check_mask(mask: Tensor, place: int, shape: Shape) -> None:
    """The error for a mask that does not fit the dimensions from ``place`` on."""
    for i, (n, size) in enumerate(zip(mask.shape, shape, strict=False)):
        if n != size:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {i} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {place + i}"
            )


# ---------------------------------------------------------------------------------------- gathering


class Layout(NamedTuple):
    """How indexed dimensions are brought together, so that one linear index walks them."""

    order: tuple[int, ...]  # neighbours first, see `merged`
    axis: int  # where the merged dimension stands
    sizes: tuple[int, ...]  # of the merged dimensions
    merged: Shape  # sizes in `order`, the indexed ones as one
    shape: Shape  # of the result

    @property
    def is_plain(self) -> bool:
        return self.order == tuple(range(len(self.order)))


@functools.lru_cache(4096)
def layout_of(shape: Shape, axes: tuple[int, ...], common: Shape) -> Layout:
    """The layout for index tensors of the shape ``common`` on ``axes``."""
    adjacent = list(axes) == list(range(axes[0], axes[0] + len(axes)))
    rest = [a for a in range(len(shape)) if a not in axes]
    axis = axes[0] if adjacent else 0
    sizes = tuple(shape[a] for a in axes)
    before, after = (tuple(shape[a] for a in part) for part in (rest[:axis], rest[axis:]))
    return Layout(
        (*rest[:axis], *axes, *rest[axis:]),
        axis,
        sizes,
        (*before, size_of(sizes), *after),
        (*before, *common, *after),
    )


def common_shape(arrays: Sequence[Tensor]) -> Shape:
    """What the index tensors broadcast to."""
    if len(arrays) == 1:
        return tuple(arrays[0].shape)
    try:
        return np.broadcast_shapes(*(tuple(t.shape) for t in arrays))
    except ValueError:
        shapes = ", ".join(str(list(t.shape)) for t in arrays)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None


def gathered(view: Tensor, arrays: dict[int, Tensor]) -> Tensor:
    """The elements of ``view`` at index tensors on some of its dimensions."""
    common = common_shape(list(arrays.values()))
    if is_direct(view, *arrays.values()) and not (state.grad and view._needs):
        return _direct(view, arrays)
    layout = layout_of(tuple(view.shape), tuple(arrays), common)
    return _picked(view, linear(arrays, layout.sizes, common), layout)


def beside(view: Tensor, index: Tensor) -> Tensor:
    """An index where the tensor is: those on the CPU fit everywhere."""
    if index._array.__class__ is view._array.__class__:
        return index
    if view.device != index.device and index.device.type != "cpu":
        raise DeviceError(
            message(
                "indices should be either on cpu or on the same device as the indexed tensor "
                f"({view.device}), found one on {index.device}"
            )
        )
    return index.to(view.device)


@composite("IndexBackward0", moves=True)
def _picked(view: Tensor, places: Tensor, layout: Layout) -> Tensor:
    index = spread(places, layout.merged, layout.axis)
    return apply("gather", merge(view, layout), index, axis=layout.axis).reshape(layout.shape)


def is_direct(*tensors: Tensor) -> bool:
    """Whether NumPy may read (or write) the memory: nothing is traced."""
    return state.trace is None and all(t._array.__class__ is np.ndarray for t in tensors)


def numpy_places(view: Tensor, arrays: dict[int, Tensor]) -> tuple[Any, ...]:
    """NumPy's index for index tensors on some dimensions."""
    return tuple(arrays[a]._array if a in arrays else ALL for a in range(max(arrays) + 1))


def _direct(view: Tensor, arrays: dict[int, Tensor]) -> Tensor:
    try:
        values = view._array[numpy_places(view, arrays)]
    except IndexError as error:
        raise out_of_bounds(error) from None
    return wrap(values if values.flags.c_contiguous else values.copy())


def out_of_bounds(error: IndexError) -> IndexError:
    return IndexError(str(error).replace("for axis", "for dimension"))


def merge(x: Tensor, layout: Layout) -> Tensor:
    """The indexed dimensions side by side and joined."""
    return (x if layout.is_plain else x.permute(layout.order)).reshape(layout.merged)


def unmerge(x: Tensor, layout: Layout, shape: Shape) -> Tensor:
    """The inverse of ``merge`` for a tensor of ``shape``."""
    out = x.reshape(tuple(shape[a] for a in layout.order))
    if layout.is_plain:
        return out
    return out.permute(tuple(layout.order.index(a) for a in range(len(shape))))


def spread(index: Tensor, shape: Shape, axis: int) -> Tensor:
    """A 1-D index for ``axis``, repeated over the other dimensions of ``shape``."""
    n = index.shape[0]
    ones = (1,) * (len(shape) - axis - 1)
    return index.reshape((1,) * axis + (n, *ones)).expand(*shape[:axis], n, *shape[axis + 1 :])


def linear(arrays: dict[int, Tensor], sizes: Sequence[int], common: Shape) -> Tensor:
    """One 1-D index into the merged dimensions; negative indices count from the end."""
    if is_direct(*arrays.values()):
        return _linear_values(arrays, sizes, common)
    total = None
    for t, n in zip(arrays.values(), sizes, strict=True):
        place = t.to(dtypes.int64)
        place = FUNCTIONS["where"](place < 0, place + n, place)
        total = place if total is None else total * n + place
    if len(arrays) > 1:
        total = FUNCTIONS["where"](_inside(arrays.values(), sizes), total, size_of(tuple(sizes)))
    return total.expand(common).reshape(-1)


def _linear_values(arrays: dict[int, Tensor], sizes: Sequence[int], common: Shape) -> Tensor:
    total = None
    for (axis, t), n in zip(arrays.items(), sizes, strict=True):
        places = _checked(t._array, n, axis)
        total = places if total is None else total * n + places
    if len(arrays) == 1 and total is t._array and t.ndim == 1:
        return t
    return wrap(np.array(np.broadcast_to(total, common).reshape(-1), np.int64))


def _checked(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Indices from the front; IndexError names one that is outside."""
    if not values.size:
        return values
    low, high = int(values.min()), int(values.max())
    if low < -size or high >= size:
        bad = low if low < -size else high
        raise IndexError(f"index {bad} is out of bounds for dimension {axis} with size {size}")
    return np.where(values < 0, values + size, values) if low < 0 else values


def _inside(arrays: Any, sizes: Sequence[int]) -> Tensor:
    """Whether every index is in range: a linear index alone would hide one that is not."""
    inside = None
    for t, n in zip(arrays, sizes, strict=True):
        here = (t >= -n) & (t < n)
        inside = here if inside is None else inside & here
    return inside
