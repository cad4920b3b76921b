"""Writing parts of tensors: ``x[0] = 1``, ``x[:, 1:3] = y``, ``x[rows, columns] = y``.

A write through a basic index goes to the memory of the view. A write through index tensors or masks
makes, where gradients or a trace are involved, a new value that replaces the old.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.ops import Shape
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import Tensor, method
from graphgrad.tensor.cuts import ALL, Item, found, key_of, view_at
from graphgrad.tensor.indexing import (
    Layout,
    basic_view,
    beside,
    check_mask,
    common_shape,
    is_direct,
    is_mask,
    items_of,
    layout_of,
    linear,
    merge,
    numpy_places,
    out_of_bounds,
    positions,
    spread,
    unmerge,
)
from graphgrad.tensor.inplace import assign, check_writable, writable, wrote
from graphgrad.tensor.plan import apply
from graphgrad.tensor.promotion import is_number
from graphgrad.tensor.state import state

ndarray = np.ndarray


def index_put(self: Tensor, index: tuple[Any, ...], value: Tensor, accumulate: bool) -> None:
    """``self[index] = value`` (or ``+=``) for an index with index tensors."""
    basic, arrays = positions(items_of(self, index), self)
    if not arrays:
        raise IndexError("index_put_(): expected at least one index tensor")
    put(basic_view(self, basic), arrays, value, accumulate)


# ------------------------------------------------------------------------------------------ writing


@method
def __setitem__(self: Tensor, index: Any, value: Any) -> None:
    if not isinstance(value, Tensor) and not is_number(value):
        raise TypeError(f"can't assign a {type(value).__name__} to a {self.type()}")
    key = key_of(index)
    if key is not None:
        _write(self, key, value)
        return
    items = items_of(self, index)
    is_masked = sum(isinstance(item, Tensor) for item in items) == 1 and any(map(is_mask, items))
    if is_masked and _write_masked(self, items, value):
        return
    basic, arrays = positions(items, self)
    if arrays:
        value = value if isinstance(value, Tensor) else self.new_full((), value)
        put(basic_view(self, basic), arrays, value.to(self.dtype))
    else:
        _write(self, key_of(tuple(basic)), value)


def _write(self: Tensor, key: tuple[Any, ...], value: Any) -> None:
    """Assign through a basic index: straight into memory where nothing is recorded or traced."""
    array = self._array
    source = value._array if isinstance(value, Tensor) else value
    recorded = (self._needs or (source is not value and value._needs)) and state.grad
    here = array.__class__ is ndarray and (source is value or source.__class__ is ndarray)
    if not here or recorded or state.trace is not None:
        view = view_at(self, key)
        if isinstance(value, Tensor):
            value = _trimmed(value, view.ndim)
            if not _broadcasts(tuple(value.shape), tuple(view.shape)):
                raise _unfit(tuple(view.shape), tuple(value.shape))
            view.copy_(value)
        else:
            view.fill_(value)
        return
    cut = found(array.shape, self.dtype, key)
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
    view = view_at(self, key_of(tuple(basic)))
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
    recorded = state.grad and (view._needs or value._needs)
    if is_direct(view, value, *arrays.values()) and not recorded:
        _put_directly(view, arrays, value, accumulate)
    else:
        places = linear(arrays, layout.sizes, common)
        value = beside(view, value) if value.ndim == 0 else value
        assign(view, _replaced(view, places, value, layout, accumulate))


def _put_directly(view: Tensor, arrays: dict[int, Tensor], value: Tensor, accumulate: bool) -> None:
    places = numpy_places(view, arrays)
    try:
        if accumulate:
            np.add.at(writable(view), places, value._array)
        else:
            writable(view)[places] = value._array
    except IndexError as error:
        raise out_of_bounds(error) from None
    wrote(view)


@composite("IndexPutBackward0")
def _replaced(
    view: Tensor, places: Tensor, value: Tensor, layout: Layout, accumulate: bool
) -> Tensor:
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
