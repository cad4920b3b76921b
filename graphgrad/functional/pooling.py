"""Pooling: a sliding-window view and a reduction over the window.

    F.max_pool2d(x, 2)        F.avg_pool2d(x, 3, stride=2, padding=1)

A maximum's gradient goes to the first of equal elements, as in PyTorch: the position of the first
is computed, and the result picked by it; its gradient is the transposed view of a one-hot window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int64
from graphgrad.functional._arguments import spread
from graphgrad.functional.activation import relu
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

Ints = tuple[int, ...]


# ------------------------------------------------------------------------------------ geometry


def _numbers(name: str, argument: str, value: Any, n: int) -> Ints:
    numbers = spread(value, n)
    if len(numbers) != n:
        count = ("int", "ints")[n > 1]
        words = {1: "one", 2: "two", 3: "three"}[n]
        raise RuntimeError(
            f"{name}: {argument} must either be a single int, or a tuple of {words} {count}"
        )
    return numbers


def _positions(size: int, k: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """How many windows fit; in ceil mode the last may hang over, but must start inside."""
    rest = size + 2 * padding - dilation * (k - 1) - 1
    count = (rest + (stride - 1 if ceil else 0)) // stride + 1
    return count - 1 if ceil and (count - 1) * stride >= size + padding else count


def _check(name: str, x: Tensor, n: int) -> None:
    if x.dim() not in (n + 1, n + 2) or 0 in x.shape[x.dim() - n - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got: {list(x.shape)}"
        )


def _windows_fit(
    x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool
) -> Ints:
    """The number of windows in each dimension; RuntimeError for impossible arguments."""
    if min(stride) <= 0:
        raise RuntimeError("stride should not be zero")
    if min(kernel) <= 0:
        raise RuntimeError("kernel size should be greater than zero")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")
    for k, p, d in zip(kernel, padding, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, "
                f"but got pad={p}, kernel_size={k} and dilation={d}"
            )
    sizes = tuple(x.shape[x.dim() - len(kernel) :])
    rows = zip(sizes, kernel, stride, padding, dilation, strict=True)
    out = tuple(_positions(*row, ceil) for row in rows)
    if min(out) < 1:
        lead = x.shape[x.dim() - len(kernel) - 1]
        before, after = ("x".join(map(str, (lead, *side))) for side in (sizes, out))
        raise RuntimeError(
            f"Given input size: ({before}). Calculated output size: ({after}). "
            "Output size is too small"
        )
    return out


def _windows(
    x: Tensor, out: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, value: Any
) -> Tensor:
    """The view (…, *out, *kernel) over ``x`` padded as far as the last window reaches."""
    n, lead = len(kernel), x.dim() - len(kernel)
    rows = zip(out, kernel, stride, padding, dilation, x.shape[lead:], strict=True)
    high = tuple(max((o - 1) * s + d * (k - 1) + 1 - p - size, 0) for o, k, s, p, d, size in rows)
    if any(padding) or any(high):
        zeros = (0,) * lead
        x = lang.pad(x, (*zeros, *padding), (*zeros, *high), None, value)
    axes = tuple(range(lead, lead + n))
    return lang.apply("window", x, axes=axes, size=kernel, stride=stride, dilation=dilation)


def _window_axes(view: Tensor, n: int) -> Ints:
    return tuple(range(view.dim() - n, view.dim()))


# ------------------------------------------------------------------------------------ maximum


def _lowest(x: Tensor) -> Any:
    return -math.inf if x.is_floating_point() else int(np.iinfo(x.dtype.numpy).min)


def _first_maximum(view: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Maximum over the last ``n`` axes and where it is first (row-major, int32); NaN is largest."""
    axes, kernel = _window_axes(view, n), view.shape[view.dim() - n :]
    count = math.prod(kernel)
    place = lang.constant(np.arange(count, dtype=np.int32).reshape(kernel))
    frozen = view.detach()
    top = lang.keep(lang.apply("max", frozen, axes=axes), axes, view.shape)
    hit = lang.eq(frozen, top) | lang.ne(frozen, frozen)
    first = lang.apply("min", lang.where(hit, place, count), axes=axes)
    chosen = lang.eq(lang.keep(first, axes, view.shape), place)
    return lang.sum_(lang.where(chosen, view, 0.0), axes), first


def _input_index(first: Tensor, sizes: Ints, geometry: tuple[Ints, ...]) -> Tensor:
    """Flat position in the unpadded input of the element ``first`` names in its window."""
    kernel, stride, padding, dilation = geometry
    n, flat = len(kernel), None
    rest = first.to(int64)
    places = []
    for k in reversed(kernel):
        places.append(rest % k)
        rest = rest // k
    for i, place in enumerate(reversed(places)):
        axis = first.dim() - n + i
        start = gg.arange(first.shape[axis], device=first.device) * stride[i] - padding[i]
        start = start.reshape(-1, *(1,) * (n - 1 - i))
        at = start + place * dilation[i]
        flat = at if flat is None else flat * sizes[i] + at
    assert flat is not None
    return flat


def _max_pool(
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    out: Ints,
    need_indices: bool,
) -> Any:
    n = len(kernel)
    view = _windows(x, out, kernel, stride, padding, dilation, _lowest(x))
    if not need_indices and not x.requires_grad:
        return lang.apply("max", view, axes=_window_axes(view, n))
    values, first = _first_maximum(view, n)
    if not need_indices:
        return values
    sizes = tuple(x.shape[x.dim() - n :])
    return values, _input_index(first, sizes, (kernel, stride, padding, dilation))


_MAX_POOLS = {
    1: composite("SqueezeBackward1")(_max_pool),
    2: composite("MaxPool2DWithIndicesBackward0")(_max_pool),
    3: composite("MaxPool3DWithIndicesBackward0")(_max_pool),
}


def _pool_max(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    name = f"max_pool{n}d"
    kernel = _numbers(name, "kernel_size", kernel_size, n)
    steps = _numbers(name, "stride", stride, n) if stride not in (None, [], ()) else kernel
    pads = _numbers(name, "padding", padding, n)
    dilation = _numbers(name, "dilation", dilation, n)
    _check(name, input, n)
    out = _windows_fit(input, kernel, steps, pads, dilation, ceil_mode)
    return _MAX_POOLS[n](input, kernel, steps, pads, dilation, out, return_indices)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (…, C, L); with ``return_indices`` also the positions in L."""
    return _pool_max(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (…, C, H, W); ``stride`` is the kernel's size unless given."""
    return _pool_max(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (…, C, D, H, W)."""
    return _pool_max(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def with_indices(pool: Callable[..., Any]) -> Callable[..., Any]:
    """A maximum pool that always returns the positions too."""

    def operation(*args: Any, **kwargs: Any) -> Any:
        return pool(*args, **(kwargs | {"return_indices": True}))

    operation.__name__ = f"{pool.__name__}_with_indices"
    operation.__doc__ = f"``{pool.__name__}`` with the positions of the maxima."
    return operation


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = map(
    with_indices, (max_pool1d, max_pool2d, max_pool3d)
)


# ------------------------------------------------------------------------------------ average


def _counts(
    sizes: Ints, kernel: Ints, stride: Ints, padding: Ints, out: Ints, include_pad: bool
) -> np.ndarray:
    """How many elements each window averages over: (*out), of which those of the input."""
    total = np.ones((), np.int64)
    for size, k, s, p, o in zip(sizes, kernel, stride, padding, out, strict=True):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, size + p)
        length = stop - start if include_pad else np.minimum(stop, size) - np.maximum(start, 0)
        total = np.multiply.outer(total, length)
    return total


def _avg_pool(
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    out: Ints,
    include_pad: bool,
    divisor: int | None,
) -> Tensor:
    n = len(kernel)
    view = _windows(x, out, kernel, stride, padding, (1,) * n, 0)
    total = lang.sum_(view, _window_axes(view, n))
    if divisor is not None:
        return total / divisor
    counts = _counts(tuple(x.shape[x.dim() - n :]), kernel, stride, padding, out, include_pad)
    if (counts == counts.flat[0]).all():
        return total / int(counts.flat[0])
    return lang.div(total, lang.constant(counts.astype(x.dtype.numpy)))


_AVG_POOLS = {
    1: composite("SqueezeBackward1")(_avg_pool),
    2: composite("AvgPool2DBackward0")(_avg_pool),
    3: composite("AvgPool3DBackward0")(_avg_pool),
}


def _pool_avg(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    name = f"avg_pool{n}d"
    kernel = _numbers(name, "kernel_size", kernel_size, n)
    steps = _numbers(name, "stride", stride, n) if stride not in (None, [], ()) else kernel
    pads = _numbers(name, "padding", padding, n)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    _check(name, input, n)
    out = _windows_fit(input, kernel, steps, pads, (1,) * n, ceil_mode)
    return _AVG_POOLS[n](input, kernel, steps, pads, out, count_include_pad, divisor_override)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean over windows of (…, C, L)."""
    return _pool_avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over windows of (…, C, H, W); ``divisor_override`` replaces the number of elements."""
    return _pool_avg(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over windows of (…, C, D, H, W)."""
    return _pool_avg(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _pool_lp(
    n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    kernel = spread(kernel_size, n)
    mean = _pool_avg(n, input.pow(norm_type), kernel, stride, 0, ceil_mode, True, None)
    # PyTorch's own formula: the sign and relu keep roots of negative sums from becoming NaN.
    total = mean.sign() * relu(mean.abs()) * math.prod(kernel)
    return total.pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^p)^(1/p) over windows of (…, C, L)."""
    return _pool_lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^p)^(1/p) over windows of (…, C, H, W)."""
    return _pool_lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^p)^(1/p) over windows of (…, C, D, H, W)."""
    return _pool_lp(3, input, norm_type, kernel_size, stride, ceil_mode)
