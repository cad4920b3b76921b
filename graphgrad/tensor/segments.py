"""Reductions of groups: slices with one index (``index_reduce``), runs of rows (segment_reduce)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function
from graphgrad.tensor.indexing import spread
from graphgrad.tensor.inplace import assign, check_writable
from graphgrad.tensor.operators import where
from graphgrad.tensor.place import at_hand
from graphgrad.tensor.scattering import at_least_1d, scatter_reduce
from graphgrad.tensor.shapes import axis_of, reshape_view


@both
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Slices of ``source`` combined into those of ``dim`` at a 1-d ``index``.

    reduce: "prod", "mean", "amax" or "amin"; ``include_self`` counts what ``input`` holds there.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): reduce must be one of prod, mean, amax or amin, got {reduce}"
        )
    axis = axis_of(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError("index_reduce(): Index is supposed to be a vector")
    x, places, values = at_least_1d(input, index, source)
    sizes = (*x.shape[:axis], places.shape[0], *x.shape[axis + 1 :])
    if tuple(values.shape) != sizes:
        raise RuntimeError(
            f"index_reduce(): source {list(source.shape)} does not have the shape {list(sizes)} of "
            "the slices that the index selects"
        )
    wide = spread(places, tuple(x.shape), axis)
    out = scatter_reduce(x, axis, wide, values, reduce, include_self=include_self)
    return reshape_view(out, tuple(input.shape))


# What an empty segment gives, where ``initial`` does not say.
_EMPTY = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}
_NAMES = {"sum": "sum", "mean": "sum", "prod": "prod", "max": "amax", "min": "amin"}


def _segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Tensor:
    """Runs of ``data`` along ``axis`` reduced by "sum", "mean", "max", "min" or "prod".

    lengths [..., n] or offsets [..., n + 1] say where runs lie, the same dimensions before ``axis``
    as ``data``; the result has n positions on ``axis``. A run starts from ``initial``.
    """
    if reduce not in _EMPTY:
        raise RuntimeError(f"segment_reduce(): {reduce!r} is none of {', '.join(_EMPTY)}")
    if indices is not None or (lengths is None) == (offsets is None):
        raise RuntimeError("segment_reduce(): give either lengths or offsets")
    place = axis_of(axis, data.ndim)
    if offsets is None:
        assert lengths is not None
        offsets = FUNCTIONS["cat"]((lengths[..., :1] * 0, lengths.cumsum(-1)), -1)
    starts, stops = offsets[..., :-1], offsets[..., 1:]
    if offsets.ndim != place + 1:
        raise RuntimeError(
            f"segment_reduce(): expected lengths or offsets of {place + 1} dimensions for axis "
            f"{place}, got {offsets.ndim}"
        )
    _expect_cover(offsets, data.shape[place], unsafe)
    rest = data.ndim - place - 1
    # One more group at the end takes the rows that lie in no run.
    shape = (*data.shape[:place], offsets.shape[-1], *data.shape[place + 1 :])
    numbers = _numbers(offsets.to(dtypes.int64), data.shape[place])
    numbers = numbers.reshape(*numbers.shape, *[1] * rest).expand(data.shape)
    begin = data.new_full(shape, _EMPTY[reduce] if initial is None else initial)
    out = scatter_reduce(begin, place, numbers, data, _NAMES[reduce])
    out = out.narrow(place, 0, starts.shape[-1])
    if reduce != "mean":
        return out
    count = (stops - starts).reshape(*starts.shape, *[1] * rest)
    nothing = math.nan if initial is None else initial
    return where(count > 0, out / count.clamp(min=1), nothing)


def _expect_cover(offsets: Tensor, n: int, unsafe: bool) -> None:
    """The error for runs that do not make up the whole axis; a trace cannot look."""
    places = at_hand(offsets)
    if unsafe or places is None:
        return
    if (np.diff(places, axis=-1) < 0).any():
        raise RuntimeError("segment_reduce(): lengths contains negative value!")
    if (places[..., -1] != n).any() or (places[..., 0] != 0).any():
        raise RuntimeError(
            f"segment_reduce(): Expected all rows of lengths along axis to sum to data.size(axis) "
            f"({n}) when !unsafe."
        )


def _numbers(starts: Tensor, n: int) -> Tensor:
    """The run that each of ``n`` positions lies in: how many have started, less one."""
    marks = starts.new_zeros((*starts.shape[:-1], n + 1))
    started = marks.scatter_add(-1, starts, starts.new_ones(tuple(starts.shape)))
    return started.cumsum(-1)[..., :n] - 1


_segment_reduce.__name__ = "segment_reduce"
function(_segment_reduce)
FUNCTIONS["_segment_reduce"] = _segment_reduce


def _in_place(operation: Any) -> None:
    def write(self: Tensor, *args: Any, **options: Any) -> Tensor:
        check_writable(self)
        return assign(self, operation(self, *args, **options))

    write.__name__ = f"{operation.__name__}_"
    write.__doc__ = f"In-place version of ``{operation.__name__}``."
    setattr(Tensor, write.__name__, write)


_in_place(index_reduce)
_in_place(scatter_reduce)
