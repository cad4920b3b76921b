"""Pooling to a given output size: window i of O covers [⌊i·L/O⌋, ⌈(i+1)·L/O⌉) of length L.

F.adaptive_avg_pool2d(features, (1, 1))        F.adaptive_max_pool1d(x, 5, return_indices=True)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int64
from graphgrad.functional._arguments import spread
from graphgrad.functional._matrices import along
from graphgrad.functional.pooling import _avg_pool, _first_maximum, with_indices
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

Ints = tuple[int, ...]


def _bounds(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(out)
    return i * size // out, -(-(i + 1) * size // out)


def _resolve(name: str, x: Tensor, output_size: Any, n: int) -> Ints:
    if x.dim() <= n:
        raise ValueError(f"Input dimension should be at least {n + 1}, got {x.dim()}")
    wanted = spread(output_size, n)
    if len(wanted) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    sizes = x.shape[x.dim() - n :]
    out = tuple(int(s if w is None else w) for w, s in zip(wanted, sizes, strict=True))
    if min(out) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {out}"
        )
    return out


# ------------------------------------------------------------------------------------ average


def _averaging(size: int, out: int, dtype: Any) -> np.ndarray:
    """The matrix (out, size) whose rows average one window each."""
    start, stop = _bounds(size, out)
    column = np.arange(size)
    inside = (column >= start[:, None]) & (column < stop[:, None])
    return (inside / inside.sum(1, keepdims=True)).astype(dtype)


def _adaptive_avg(x: Tensor, out: Ints) -> Tensor:
    n, lead = len(out), x.dim() - len(out)
    sizes = tuple(x.shape[lead:])
    if all(size % o == 0 for size, o in zip(sizes, out, strict=True)):
        kernel = tuple(size // o for size, o in zip(sizes, out, strict=True))
        return _avg_pool(x, kernel, kernel, (0,) * n, out, True, None)
    for i, (size, o) in enumerate(zip(sizes, out, strict=True)):
        x = along(x, _averaging(size, o, x.dtype.numpy), lead + i)
    return x


_AVERAGES = {
    1: composite("SqueezeBackward1")(_adaptive_avg),
    2: composite("AdaptiveAvgPool2DBackward0")(_adaptive_avg),
    3: composite("AdaptiveAvgPool3DBackward0")(_adaptive_avg),
}


def _pool_avg(n: int, input: Tensor, output_size: Any) -> Tensor:
    out = _resolve(f"adaptive_avg_pool{n}d", input, output_size, n)
    if n > 1 and out == (1,) * n:
        return input.mean(tuple(range(-n, 0)), keepdim=True)
    if 0 in out or input.numel() == 0:
        return _empty(f"adaptive_avg_pool{n}d", input, out)
    return _AVERAGES[n](input, out)


def _empty(name: str, x: Tensor, out: Ints) -> Tensor:
    """The result without elements; RuntimeError where there would be means of nothing."""
    n = len(out)
    shape = (*x.shape[: x.dim() - n], *out)
    if 0 not in shape:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, "
            f"but input has sizes {list(x.shape)}"
        )
    # Without elements any smooth function of them will do.
    return x.reshape(-1)[:0].exp().reshape(shape)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over ``output_size`` windows of (…, C, L)."""
    return _pool_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows of (…, C, H, W); None keeps a dimension's size."""
    return _pool_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows of (…, C, D, H, W)."""
    return _pool_avg(3, input, output_size)


# ------------------------------------------------------------------------------------ maximum


def _adaptive_max(x: Tensor, out: Ints) -> tuple[Tensor, Tensor]:
    """Gather windows as long as the longest by index; past its end one repeats its last element."""
    n, lead = len(out), x.dim() - len(out)
    sizes, front = tuple(x.shape[lead:]), tuple(x.shape[:lead])
    flat = _window_indices(sizes, out)
    where = gg.tensor(flat.reshape(-1), device=x.device)
    rows = lang.reshape(x, (*front, math.prod(sizes)))
    picked = lang.apply("gather", rows, where.expand(*front, flat.size), axis=lead)
    values, first = _first_maximum(lang.reshape(picked, (*front, *flat.shape)), n)
    table = gg.tensor(flat.reshape(*out, -1), device=x.device).expand(*first.shape, -1)
    at = lang.reshape(lang.cast(first, int64), (*first.shape, 1))
    return values, lang.reshape(lang.apply("gather", table, at, axis=first.dim()), first.shape)


def _window_indices(sizes: Ints, out: Ints) -> np.ndarray:
    """Flat positions (*out, *longest window) in a space of ``sizes``."""
    n = len(out)
    flat = np.zeros((1,) * (2 * n), np.int64)
    for i, (size, o) in enumerate(zip(sizes, out, strict=True)):
        start, stop = _bounds(size, o)
        reach = np.arange((stop - start).max())
        table = np.minimum(start[:, None] + reach, stop[:, None] - 1)
        place = [1] * (2 * n)
        place[i], place[n + i] = table.shape
        flat = flat * size + table.reshape(place)
    return flat


_MAXIMA = {n: composite(f"AdaptiveMaxPool{n}DBackward0")(_adaptive_max) for n in (1, 2, 3)}


def _pool_max(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    out = _resolve(f"adaptive_max_pool{n}d", input, output_size, n)
    if 0 in out or input.numel() == 0:
        values = _empty(f"adaptive_max_pool{n}d", input, out)
        pair = values, values.detach().to(int64)
    else:
        pair = _MAXIMA[n](input, out)
    return pair if return_indices else pair[0]


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over ``output_size`` windows of (…, C, L)."""
    return _pool_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows of (…, C, H, W); None keeps a dimension's size."""
    return _pool_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows of (…, C, D, H, W)."""
    return _pool_max(3, input, output_size, return_indices)


(
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
) = map(with_indices, (adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d))
