"""Max pooling with windows at random places, for any output size (Graham 2014).

F.fractional_max_pool2d(x, 3, output_ratio=0.7)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int64
from graphgrad.functional._arguments import spread
from graphgrad.functional.pooling import _first_maximum, with_indices
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

Ints = tuple[int, ...]


def _starts(draw: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """Where the windows of each channel begin: draw (N, C) in [0, 1) → int64 (N, C, out)."""
    count = gg.arange(out, device=draw.device)
    final = size - kernel
    if out == 1:
        return (count + final).expand(*draw.shape, 1)
    step = final / (out - 1)
    shift = draw.unsqueeze(-1)
    place = lang.trunc((lang.cast(count, draw.dtype) + shift) * step) - lang.trunc(shift * step)
    # The last window ends where the image does.
    return lang.where(lang.eq(count, out - 1), final, lang.cast(place, int64))


def _pool(x: Tensor, draws: Tensor, kernel: Ints, out: Ints) -> tuple[Tensor, Tensor]:
    n, c, *space = x.shape
    d = len(space)
    flat: Any = 0
    for i, (size, o, k) in enumerate(zip(space, out, kernel, strict=True)):
        # PyTorch's draws are in the order of the dimensions in 3D, but (width, height) in 2D.
        starts = _starts(draws[:, :, i if d == 3 else d - 1 - i], size, o, k)
        place = starts.unsqueeze(-1) + gg.arange(k, device=x.device)
        shape = [n, c, *(1,) * (2 * d)]
        shape[2 + i], shape[2 + d + i] = o, k
        flat = flat * size + lang.reshape(place, tuple(shape))
    windows = math.prod(out) * math.prod(kernel)
    index = lang.reshape(flat, (n, c, windows))
    picked = lang.apply("gather", lang.reshape(x, (n, c, math.prod(space))), index, axis=2)
    values, first = _first_maximum(lang.reshape(picked, (n, c, *out, *kernel)), d)
    table = lang.reshape(flat, (n, c, *out, math.prod(kernel)))
    at = lang.reshape(lang.cast(first, int64), (*first.shape, 1))
    places = lang.apply("gather", table, at, axis=2 + d)
    return values, lang.reshape(places, tuple(first.shape))


_POOLS = {d: composite(f"FractionalMaxPool{d}DBackward0")(_pool) for d in (2, 3)}


def _output_size(name: str, space: Sequence[int], size: Any, ratio: Any) -> Ints:
    if size is None and ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if size is not None:
        return spread(size, len(space))
    ratios = spread(ratio, len(space))
    return tuple(int(n * r) for n, r in zip(space, ratios, strict=True))


def _fractional(
    d: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    draws: Tensor | None,
) -> Any:
    name = f"fractional_max_pool{d}d"
    if input.dim() not in (d + 1, d + 2):
        raise RuntimeError(
            f"{name}: Expected {d + 1}D or {d + 2}D tensor, but got: {list(input.shape)}"
        )
    x = input if input.dim() == d + 2 else input.unsqueeze(0)
    kernel = spread(kernel_size, d)
    out = _output_size(name, x.shape[2:], output_size, output_ratio)
    sides = ("time", "height", "width")[-d:]
    for side, size, k, o in zip(sides, x.shape[2:], kernel, out, strict=True):
        if o + k - 1 > size:
            raise RuntimeError(
                f"{name}(): pool {side} {k} too large relative to input {side} {size}: "
                f"{o} windows of {k} need {o + k - 1}"
            )
    if draws is None:
        draws = gg.rand(x.shape[0], x.shape[1], d, dtype=x.dtype, device=x.device)
    # As in PyTorch, draws for more samples than there are may be given.
    draws = draws[: x.shape[0]]
    if tuple(draws.shape) != (x.shape[0], x.shape[1], d):
        raise RuntimeError(
            f"Expect _random_samples of shape {[x.shape[0], x.shape[1], d]}, "
            f"got {list(draws.shape)}"
        )
    pair = _POOLS[d](x, draws, kernel, out)
    if input.dim() == d + 1:
        pair = tuple(part.squeeze(0) for part in pair)
    return tuple(pair) if return_indices else pair[0]


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maximum over ``output_size`` (or ``output_ratio`` times the size) windows of (…, C, H, W)."""
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """``fractional_max_pool2d`` over (…, C, D, H, W)."""
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = map(
    with_indices, (fractional_max_pool2d, fractional_max_pool3d)
)
