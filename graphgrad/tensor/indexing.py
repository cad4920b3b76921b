"""Reading and writing parts of tensors: ``x[0]``, ``x[:, 1:3]``, ``x[rows, columns]``, ``x[mask] = 0``.

Numbers, slices, ``None`` and ``...`` select a view that shares memory. Index tensors (lists, arrays)
and boolean masks gather a copy; several index tensors broadcast against each other, and their common
shape stands where they stood if they are neighbours, in front otherwise.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import BOOL
from graphgrad.ops import Shape, size_of
from graphgrad.tensor import record
from graphgrad.tensor.core import FUNCTIONS, Tensor, method, wrap
from graphgrad.tensor.inplace import assign, check_writable, writable, wrote
from graphgrad.tensor.plan import Plan, Type, apply, attach
from graphgrad.tensor.promotion import is_number
from graphgrad.tensor.state import state

Item = Any
ALL = slice(None)


class Cut(NamedTuple):
    """A basic index of tensors of one type: NumPy's index, and the view operations it amounts to."""

    places: tuple[Item, ...]
    links: tuple[Plan, ...]


_CUTS: dict[Any, Cut] = {}
_LIMIT = 8192


# ------------------------------------------------------------------------------------ basic indexing


@method
def __getitem__(self: Tensor, index: Any) -> Tensor:
    key = _key(index)
    if key is not None:
        return view_at(self, key)
    basic, arrays = split_index(self, index)
    view = view_at(self, _key(tuple(basic)))
    return gathered(view, arrays) if arrays else view


def _key(index: Any) -> tuple[Any, ...] | None:
    """A hashable form of numbers, slices, None and ``...``; None when there is something else."""
    if index.__class__ is int:
        return (index,)
    key: list[Any] = []
    for item in index if index.__class__ is tuple else (index,):
        if item.__class__ is int or item is None or item is Ellipsis:
            key.append(item)
        elif item.__class__ is slice:
            bounds = item.start, item.stop, item.step
            for bound in bounds:
                if bound is not None and bound.__class__ is not int:
                    return None
            key.append(bounds)
        else:
            return None
    return tuple(key)


def view_at(self: Tensor, key: tuple[Any, ...]) -> Tensor:
    """The view that a basic index selects."""
    array = self._array
    if array is None or state.trace is not None:
        out = self
        for link in _found(tuple(self.shape), self.dtype, key).links:
            out = apply(link.name, out, **link.attrs)
        return out
    cut = _CUTS.get((array.shape, array.dtype, key))
    if cut is None:
        cut = _found(array.shape, self.dtype, key)
    out = wrap(array[cut.places])
    _share(out, self, cut.links)
    if self._needs and state.grad:
        current = self
        for link in cut.links[:-1]:
            # Only its place in the history matters: the value is in `out` already.
            step = wrap(out._array)
            attach(link, [current], [None], step)
            current = step
        attach(cut.links[-1], [current], [None], out)
    return out


def _share(out: Tensor, source: Tensor, links: tuple[Plan, ...]) -> None:
    storage = source._storage
    out._storage = storage
    out._chain = source._chain + links
    out._base = source if source._base is None else source._base
    if storage.aliases is None:
        storage.add_alias(source)
    storage.add_alias(out)


def _found(shape: Shape, dtype: dtypes.DType, key: tuple[Any, ...]) -> Cut:
    cut = _CUTS.get((shape, dtype.numpy, key))
    if cut is None:
        if len(_CUTS) > _LIMIT:
            _CUTS.clear()
        cut = _CUTS[shape, dtype.numpy, key] = _cut(shape, dtype, key)
    return cut


def _cut(shape: Shape, dtype: dtypes.DType, key: tuple[Any, ...]) -> Cut:
    """Slice every dimension, then drop those that numbers picked and add the new ones."""
    items = [slice(*item) if isinstance(item, tuple) else item for item in key]
    start, stop, step, sizes = [], [], [], []
    name = "AliasBackward0"
    for item in _filled(items, len(shape)):
        if item is None:
            sizes.append(1)
            name = "UnsqueezeBackward0"
            continue
        axis = len(start)
        a, b, s = _bounds(item, axis, shape[axis])
        start.append(a), stop.append(b), step.append(s)
        if not isinstance(item, slice):
            name = "SelectBackward0"
            continue
        sizes.append(-(-(b - a) // s))
        name = name if item == ALL else "SliceBackward0"
    links, size = [], tuple(-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True))
    if size != shape:
        attrs = {"start": tuple(start), "stop": tuple(stop), "step": tuple(step)}
        links.append(_link("slice", attrs, Type(shape, dtype), "SliceBackward0"))
    if size != tuple(sizes) or not links:
        links.append(_link("reshape", {"shape": tuple(sizes)}, Type(size, dtype), name))
    places = tuple(items) if Ellipsis in items else (*items, Ellipsis)
    return Cut(places, tuple(links))


def _link(name: str, attrs: dict[str, Any], operand: Type, kind: str) -> Plan:
    """A view operation whose record carries the name PyTorch gives to such an index."""
    link = Plan(name, attrs, (operand,))
    way = link.way((0,))
    if way.needs:
        way.kind = record.kind(kind)
    return link


def _bounds(item: Any, axis: int, size: int) -> tuple[int, int, int]:
    if not isinstance(item, slice):
        if not -size <= item < size:
            raise IndexError(f"index {item} is out of bounds for dimension {axis} with size {size}")
        place = item + size if item < 0 else item
        return place, place + 1, 1
    if item.step is not None and item.step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = item.indices(size)
    return start, max(start, stop), step


def _dimensions(item: Item) -> int:
    """How many dimensions of the indexed tensor an item stands for."""
    if isinstance(item, Tensor) and item.dtype.category == BOOL:
        return item.ndim
    return 0 if item is None or item is Ellipsis else 1


def _filled(items: list[Item], ndim: int) -> list[Item]:
    """The items with whole slices for ``...`` and for the dimensions that are not mentioned."""
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    missing = ndim - sum(map(_dimensions, items))
    if missing < 0:
        if ndim == 0:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                "`tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    if not dots:
        return items + [ALL] * missing
    at = dots[0]
    rest = [item for item in items[at + 1 :] if item is not Ellipsis]
    return items[:at] + [ALL] * missing + rest


# ------------------------------------------------------------------------------------- index tensors


def split_index(self: Tensor, index: Any) -> tuple[list[Item], dict[int, Tensor]]:
    """A basic index, and the index tensors on dimensions of the view that it selects."""
    return _positions(_items(self, index), self)


def _items(self: Tensor, index: Any) -> list[Item]:
    """One of int, slice, None, integer tensor or boolean tensor per item."""
    items = index if isinstance(index, tuple) else (index,)
    return _filled([_item(item) for item in items], self.ndim)


def _item(item: Any) -> Item:
    if isinstance(item, slice):
        bounds = (item.start, item.stop, item.step)
        return slice(*(None if b is None else operator.index(b) for b in bounds))
    if item is None or item is Ellipsis or item.__class__ is int:
        return item
    if isinstance(item, (bool, np.bool_)):
        return FUNCTIONS["tensor"](bool(item))
    if isinstance(item, (list, tuple, range, np.ndarray)):
        data = list(item) if isinstance(item, range) else item
        item = FUNCTIONS["tensor"](data)
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


def _positions(items: list[Item], self: Tensor) -> tuple[list[Item], dict[int, Tensor]]:
    basic: list[Item] = []
    arrays: dict[int, Tensor] = {}
    place = 0
    for item in items:
        if not isinstance(item, Tensor):
            basic.append(item)
            place += item.__class__ is not int
            continue
        parts = _places_of(item, place, _left(basic, self)) if _is_mask(item) else (item,)
        # A 0-d mask stands for no dimension: its new one has size 1, and index 0 or nothing.
        basic += [None] if _dimensions(item) == 0 else [ALL] * len(parts)
        arrays.update(enumerate(parts, place))
        place += len(parts)
    return basic, arrays


def _is_mask(item: Item) -> bool:
    return isinstance(item, Tensor) and item.dtype.category == BOOL


def _left(basic: list[Item], self: Tensor) -> Shape:
    """The sizes of the dimensions that come after those already indexed."""
    return tuple(self.shape)[sum(item is not None for item in basic) :]


def _places_of(mask: Tensor, place: int, shape: Shape) -> tuple[Tensor, ...]:
    """Where a mask holds, one index tensor a dimension (at least one)."""
    check_mask(mask, place, shape)
    values = mask.detach().concrete("indexing with a boolean mask")
    return tuple(wrap(p.astype(np.int64)) for p in np.nonzero(np.atleast_1d(values)))


def check_mask(mask: Tensor, place: int, shape: Shape) -> None:
    """The error for a mask that does not fit the dimensions from ``place`` on."""
    for i, (n, size) in enumerate(zip(mask.shape, shape, strict=False)):
        if n != size:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {i} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {place + i}"
            )


# ----------------------------------------------------------------------------------------- gathering


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


def layout_of(shape: Shape, axes: Sequence[int], common: Shape) -> Layout:
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
    x = merge(view, layout)
    index = spread(linear(arrays, layout.sizes, common), layout.merged, layout.axis)
    return apply("gather", x, index, axis=layout.axis).reshape(layout.shape)


def is_direct(*tensors: Tensor) -> bool:
    """Whether NumPy may read (or write) the memory: nothing is traced."""
    return state.trace is None and all(t._array is not None for t in tensors)


def numpy_places(view: Tensor, arrays: dict[int, Tensor]) -> tuple[Any, ...]:
    """NumPy's index for index tensors on some dimensions."""
    return tuple(arrays[a]._array if a in arrays else ALL for a in range(max(arrays) + 1))


def _direct(view: Tensor, arrays: dict[int, Tensor]) -> Tensor:
    try:
        values = view._array[numpy_places(view, arrays)]
    except IndexError as error:
        raise _out_of_bounds(error) from None
    return wrap(values if values.flags.c_contiguous else values.copy())


def _out_of_bounds(error: IndexError) -> IndexError:
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
    resolve = _checked if is_direct(*arrays.values()) else _traced
    total = None
    for (axis, t), n in zip(arrays.items(), sizes, strict=True):
        place = resolve(t, n, axis)
        total = place if total is None else total * n + place
    if resolve is _traced and len(arrays) > 1:
        total = FUNCTIONS["where"](_inside(arrays.values(), sizes), total, size_of(tuple(sizes)))
    return total.expand(common).reshape(-1)


def _checked(t: Tensor, size: int, axis: int) -> Tensor:
    """Indices from the front; IndexError names the first that is outside."""
    values = t._array
    if not values.size:
        return t.to(dtypes.int64)
    low, high = int(values.min()), int(values.max())
    if low < -size or high >= size:
        bad = low if low < -size else high
        raise IndexError(f"index {bad} is out of bounds for dimension {axis} with size {size}")
    if low < 0:
        return wrap(np.where(values < 0, values + size, values).astype(np.int64))
    return t.detach().to(dtypes.int64)


def _traced(t: Tensor, size: int, axis: int) -> Tensor:
    t = t.to(dtypes.int64)
    return FUNCTIONS["where"](t < 0, t + size, t)


def _inside(arrays: Any, sizes: Sequence[int]) -> Tensor:
    """Whether every index is in range: a linear index alone would hide one that is not."""
    inside = None
    for t, n in zip(arrays, sizes, strict=True):
        here = (t >= -n) & (t < n)
        inside = here if inside is None else inside & here
    return inside


# ------------------------------------------------------------------------------------------- writing


@method
def __setitem__(self: Tensor, index: Any, value: Any) -> None:
    if not isinstance(value, Tensor) and not is_number(value):
        raise TypeError(f"can't assign a {type(value).__name__} to a {self.type()}")
    key = _key(index)
    if key is not None:
        _write(self, key, value)
        return
    items = _items(self, index)
    if sum(isinstance(item, Tensor) for item in items) == 1 and any(map(_is_mask, items)):
        if _write_masked(self, items, value):
            return
    basic, arrays = _positions(items, self)
    key = _key(tuple(basic))
    if arrays:
        value = value if isinstance(value, Tensor) else self.new_full((), value)
        put(view_at(self, key), arrays, value.to(self.dtype))
    else:
        _write(self, key, value)


def _write(self: Tensor, key: tuple[Any, ...], value: Any) -> None:
    """Assign through a basic index: straight into memory where nothing is recorded or traced."""
    array = self._array
    source = value._array if isinstance(value, Tensor) else value
    needs = self._needs or (source is not value and value._needs)
    if array is None or source is None or state.trace is not None or (needs and state.grad):
        view = view_at(self, key)
        if isinstance(value, Tensor):
            view.copy_(_trimmed(value, view.ndim))
        else:
            view.fill_(value)
        return
    cut = _found(array.shape, self.dtype, key)
    try:
        writable(self)[cut.places] = source
    except ValueError:
        raise _unfit(array[cut.places].shape, np.shape(source)) from None
    wrote(self)


def _unfit(target: Shape, source: Shape) -> RuntimeError:
    pairs = enumerate(zip(reversed(target), reversed(source), strict=False), 1)
    at = next((i for i, (n, m) in pairs if m not in (1, n)), None)
    if at is None:
        return RuntimeError(f"cannot assign a tensor of shape {list(source)} to {list(target)}")
    return RuntimeError(
        f"The expanded size of the tensor ({target[-at]}) must match the existing size "
        f"({source[-at]}) at non-singleton dimension {len(target) - at}.  "
        f"Target sizes: {list(target)}.  Tensor sizes: {list(source)}"
    )


def _trimmed(value: Tensor, ndim: int) -> Tensor:
    """Leading dimensions of size 1 do not matter in an assignment."""
    extra = value.ndim - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:])
    return value


def _write_masked(self: Tensor, items: list[Item], value: Any) -> bool:
    """``x[mask] = value`` by selection, if the value does not depend on how many are selected."""
    at = next(i for i, item in enumerate(items) if isinstance(item, Tensor))
    mask = items[at]
    place = sum(item.__class__ is not int for item in items[:at])
    basic = [*items[:at], *[ALL] * mask.ndim, *items[at + 1 :]]
    view = view_at(self, _key(tuple(basic)))
    check_mask(mask, place, tuple(view.shape)[place:])
    after = view.ndim - place - mask.ndim
    if isinstance(value, Tensor) and value.numel() != 1 and value.ndim > after:
        if value.ndim < after + 1 or value.shape[value.ndim - after - 1] != 1:
            return False
        lead = value.ndim - after - 1
        value = value.reshape(*value.shape[:lead], *[1] * mask.ndim, *value.shape[lead + 1 :])
    elif isinstance(value, Tensor) and value.numel() == 1:
        value = value.reshape(())
    check_writable(view)
    mask = mask.reshape(*mask.shape, *[1] * after)
    if isinstance(value, Tensor):
        value = value.to(self.dtype)
    assign(view, apply("where", mask, value, view))
    return True


def put(view: Tensor, arrays: dict[int, Tensor], value: Tensor, accumulate: bool = False) -> None:
    """Write (or add) ``value`` at index tensors on some dimensions of ``view``."""
    check_writable(view)
    common = common_shape(list(arrays.values()))
    layout = layout_of(tuple(view.shape), tuple(arrays), common)
    value = _trimmed(value, len(layout.shape))
    if not _broadcasts(tuple(value.shape), layout.shape):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(layout.shape)}"
        )
    if is_direct(view, value, *arrays.values()):
        if not (state.grad and (view._needs or value._needs)):
            _put_directly(view, arrays, value, accumulate)
            return
    assign(view, _updated(view, arrays, layout, value, accumulate))


def _put_directly(
    view: Tensor, arrays: dict[int, Tensor], value: Tensor, accumulate: bool
) -> None:
    places = numpy_places(view, arrays)
    try:
        if accumulate:
            np.add.at(writable(view), places, value._array)
        else:
            writable(view)[places] = value._array
    except IndexError as error:
        raise _out_of_bounds(error) from None
    wrote(view)


def _updated(
    view: Tensor, arrays: dict[int, Tensor], layout: Layout, value: Tensor, accumulate: bool
) -> Tensor:
    """A copy of ``view`` with ``value`` written (or added) at the index tensors."""
    common = common_shape(list(arrays.values()))
    places = linear(arrays, layout.sizes, common)
    index = spread(places, layout.merged, layout.axis)
    source = value.expand(layout.shape).reshape(tuple(index.shape))
    name = "scatter_add" if accumulate else "scatter"
    new = apply(name, merge(view, layout), index, source, axis=layout.axis)
    return unmerge(new, layout, tuple(view.shape))


def _broadcasts(source: Shape, target: Shape) -> bool:
    if len(source) > len(target):
        return False
    pairs = zip(reversed(source), reversed(target), strict=False)
    return all(n in (1, m) for n, m in pairs)
