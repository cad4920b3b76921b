"""Views that a basic index selects: numbers, slices, ``None`` and ``...``, sharing memory.

``view_at(x, key_of((0, slice(1, 3))))`` is ``x[0, 1:3]``. What an index amounts to is found once
per tensor type, so that ``x[0]`` costs a look-up and one NumPy view.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphgrad import dtypes
from graphgrad.device import CPU, device, placed
from graphgrad.dtypes import BOOL
from graphgrad.ops import Shape
from graphgrad.tensor import record
from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.place import on_device
from graphgrad.tensor.plan import Plan, Type, apply, attach, viewed
from graphgrad.tensor.state import state

Item = Any
ndarray = np.ndarray
ALL = slice(None)


class Cut(NamedTuple):
    """A basic index of one tensor type: NumPy's index, and the view operations it amounts to."""

    places: tuple[Item, ...]
    links: tuple[Plan, ...]


_CUTS: dict[Any, Cut] = {}
_LIMIT = 8192


# ----------------------------------------------------------------------------------- basic indexing


def key_of(index: Any) -> tuple[Any, ...] | None:
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
        for link in found(tuple(self.shape), self.dtype, key).links:
            out = apply(link.name, out, **link.attrs)
        return out
    cut = _CUTS.get((array.shape, array.dtype, key))
    if cut is None:
        cut = found(array.shape, self.dtype, key, self.device)
    out = wrap(array[cut.places] if array.__class__ is ndarray else _seen(array, cut))
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


def _seen(array: Any, cut: Cut) -> Any:
    """The part of an array that is not NumPy's own."""
    if not on_device(array):
        return array[cut.places]
    for link in cut.links:
        array = viewed(link, array)
    return array


def found(shape: Shape, dtype: dtypes.DType, key: tuple[Any, ...], place: device = CPU) -> Cut:
    """What a basic index amounts to for this tensor type."""
    kind = dtype.numpy if place is CPU else placed(dtype.numpy, place)
    cut = _CUTS.get((shape, kind, key))
    if cut is None:
        if len(_CUTS) > _LIMIT:
            _CUTS.clear()
        cut = _CUTS[shape, kind, key] = _cut(shape, dtype, key, place)
    return cut


def _cut(shape: Shape, dtype: dtypes.DType, key: tuple[Any, ...], place: device) -> Cut:
    """Slice every dimension, then drop those that numbers picked and add the new ones."""
    items = [slice(*item) if isinstance(item, tuple) else item for item in key]
    start, stop, step, sizes = [], [], [], []
    name = "AliasBackward0"
    for item in filled(items, len(shape)):
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
        links.append(_link("slice", attrs, Type(shape, dtype), "SliceBackward0", place))
    if size != tuple(sizes) or not links:
        links.append(_link("reshape", {"shape": tuple(sizes)}, Type(size, dtype), name, place))
    places = tuple(items) if Ellipsis in items else (*items, Ellipsis)
    return Cut(places, tuple(links))


def _link(name: str, attrs: dict[str, Any], operand: Type, kind: str, place: device) -> Plan:
    """A view operation whose record carries the name PyTorch gives to such an index."""
    link = Plan(name, attrs, (operand,), place)
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


def dimensions(item: Item) -> int:
    """How many dimensions of the indexed tensor an item stands for."""
    if isinstance(item, Tensor) and item.dtype.category == BOOL:
        return item.ndim
    return 0 if item is None or item is Ellipsis else 1


def filled(items: list[Item], ndim: int) -> list[Item]:
    """The items with whole slices for ``...`` and for the dimensions that are not mentioned."""
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    missing = ndim - sum(map(dimensions, items))
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
