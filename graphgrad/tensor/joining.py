"""Putting tensors together, and repeating them: cat, stack, tile, roll, flip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function
from graphgrad.tensor.creation import as_tensor, from_array, meshgrid
from graphgrad.tensor.plan import apply, rename
from graphgrad.tensor.promotion import joined
from graphgrad.tensor.shapes import axes_of, axis_of, narrow, reshape, sizes_of, unsqueeze


@function
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an existing dimension; empty 1-d tensors count for nothing, as in PyTorch."""
    if isinstance(tensors, Tensor):
        raise TypeError(
            "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"
        )
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}"
            )
        if t.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    shape = next((tuple(t.shape) for t in tensors if tuple(t.shape) != (0,)), (0,))
    place, kind = axis_of(dim, len(shape)), joined(*tensors)
    empty = (*shape[:place], 0, *shape[place + 1 :])
    parts = (reshape(t, empty) if tuple(t.shape) == (0,) else t for t in tensors)
    return apply("concat", *(t.to(kind) for t in parts), axis=place)


FUNCTIONS["concat"] = FUNCTIONS["concatenate"] = cat


def _expect_some(name: str, tensors: Sequence[Tensor]) -> None:
    if len(tensors) == 0:
        raise RuntimeError(f"{name} expects a non-empty TensorList")


@function
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a new dimension."""
    _expect_some("stack", tensors)
    first = tuple(tensors[0].shape)
    for i, t in enumerate(tensors):
        if tuple(t.shape) != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(t.shape)} at entry {i}"
            )
    place = axis_of(dim, tensors[0].ndim + 1)
    return rename(cat([unsqueeze(t, place) for t in tensors], place), "StackBackward0")


def _at_least(n: int, t: Any) -> Tensor:
    t = as_tensor(t)
    if n == 3 and t.ndim == 2:
        return unsqueeze(t, 2)
    if n == 3 and t.ndim == 1:
        return unsqueeze(unsqueeze(t, 0), 2)
    return reshape(t, (1,) * (n - t.ndim) + tuple(t.shape)) if t.ndim < n else t


def _atleast(n: int) -> Any:
    def operation(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return _at_least(n, tensors[0])
        several = tensors[0] if len(tensors) == 1 else tensors
        return tuple(_at_least(n, t) for t in several)

    operation.__name__ = f"atleast_{n}d"
    operation.__doc__ = f"Tensors with at least {n} dimensions."
    return function(operation)


atleast_1d, atleast_2d, atleast_3d = map(_atleast, (1, 2, 3))


@function
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join side by side: along the second dimension (the first for vectors)."""
    _expect_some("hstack", tensors)
    parts = [_at_least(1, t) for t in tensors]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@function
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join on top of each other: along the first dimension."""
    _expect_some("vstack", tensors)
    return cat([_at_least(2, t) for t in tensors], 0)


@function
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the third dimension."""
    _expect_some("dstack", tensors)
    return cat([_at_least(3, t) for t in tensors], 2)


@function
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join vectors (and numbers) as columns."""
    _expect_some("column_stack", tensors)
    return hstack([reshape(t, (-1, 1)) if t.ndim <= 1 else t for t in tensors])


FUNCTIONS["row_stack"] = vstack


@function
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given matrices along its diagonal."""
    blocks = [_at_least(2, t) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        right = width - left - b.shape[1]
        rows.append(padded(b, (0, left), (0, right)))
        left += b.shape[1]
    return cat(rows, 0)


def padded(x: Tensor, low: Sequence[int], high: Sequence[int], value: Any = 0) -> Tensor:
    """``value`` around ``x``: ``low`` before and ``high`` after every dimension."""
    zeros = (0,) * x.ndim
    return apply("pad", x, low=tuple(low), high=tuple(high), interior=zeros, value=value)


# ---------------------------------------------------------------------------------------- repeating


def repeat(self: Tensor, *sizes: Any) -> Tensor:
    """Copies along every dimension; more sizes than dimensions add leading ones."""
    counts = sizes_of(sizes)
    if len(counts) < self.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    old = (1,) * (len(counts) - self.ndim) + tuple(self.shape)
    spread = self.reshape([n for size in old for n in (1, size)])
    wide = spread.expand([n for k, size in zip(counts, old, strict=True) for n in (k, size)])
    return wide.reshape([k * size for k, size in zip(counts, old, strict=True)]).contiguous()


Tensor.repeat = repeat  # type: ignore[attr-defined]


@both
def tile(input: Tensor, *dims: Any) -> Tensor:
    """``repeat`` with missing leading counts taken as 1."""
    counts = sizes_of(dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@both
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, **_: Any) -> Tensor:
    """Every element several times in a row, ``repeats`` times or as often as listed."""
    x = reshape(input, -1) if dim is None else input
    axis = axis_of(0 if dim is None else dim, x.ndim)
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = int(repeats)
    if isinstance(repeats, int):
        shape = list(x.shape)
        wide = unsqueeze(x, axis + 1).expand((*shape[: axis + 1], repeats, *shape[axis + 1 :]))
        shape[axis] *= repeats
        return wide.reshape(shape)
    places = np.repeat(np.arange(x.shape[axis]), repeats.concrete("repeat_interleave()"))
    return x.index_select(axis, from_array(places.astype(np.int64), x.device))


@both
def flip(input: Tensor, *axes: Any, dims: Any = ()) -> Tensor:
    """Dimensions in reverse order (a copy): ``flip(x, (0, 1))``, ``x.flip(0, 1)``."""
    wanted = sizes_of(axes or (dims,))
    return apply("flip", input, axes=axes_of(wanted, input.ndim) if wanted else ())


@both
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@both
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@both
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shift cyclically; without ``dims``, over all elements in order."""
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims or ())
    if not steps:
        raise RuntimeError("`shifts` required")
    if not axes and len(steps) == 1:
        return reshape(roll(reshape(input, -1), shifts, 0), tuple(input.shape))
    if len(steps) != len(axes):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(axes)}"
        )
    given = input
    for shift, dim in zip(steps, axes, strict=True):
        n = input.shape[dim]
        k = shift % n if n else 0
        if k:
            input = cat([narrow(input, dim, n - k, k), narrow(input, dim, 0, n - k)], dim)
    return input.clone() if input is given else input


@both
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turn the plane of two dimensions by ``k`` right angles."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (axis_of(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, (a, b))
    return flip(input, b).transpose(a, b) if turns == 1 else flip(input.transpose(a, b), b)


@function
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of ``r`` elements of a vector, as rows in order."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r)
    return input.index_select(0, from_array(rows.reshape(-1), input.device)).reshape(rows.shape)


@function
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of one element each, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(g, -1) for g in meshgrid(*tensors, indexing="ij")], 1)
