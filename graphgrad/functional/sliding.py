"""Windows as columns and back (unfold, fold), and the inverse of max pooling.

F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)    # sums of overlapping windows
"""

from __future__ import annotations

import math
from typing import Any

from graphgrad import lang
from graphgrad.functional._arguments import spread
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

Pair = tuple[int, ...]


@composite("Im2ColBackward0", moves=True)
def _unfold(x: Tensor, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Tensor:
    wide = lang.pad(x, (0, 0, *padding), (0, 0, *padding)) if any(padding) else x
    view = lang.apply("window", wide, axes=(2, 3), size=kernel, stride=stride, dilation=dilation)
    n, c, height, width = view.shape[:4]
    columns = lang.permute(view, (0, 1, 4, 5, 2, 3))
    return lang.reshape(columns, (n, c * math.prod(kernel), height * width))


@composite("Col2ImBackward0")
def _fold(
    x: Tensor, out: Pair, positions: Pair, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> Tensor:
    n, c = x.shape[0], x.shape[1] // math.prod(kernel)
    view = lang.permute(lang.reshape(x, (n, c, *kernel, *positions)), (0, 1, 4, 5, 2, 3))
    extent = tuple(o + 2 * p for o, p in zip(out, padding, strict=True))
    total = lang.apply(
        "window_sum",
        view,
        axes=(2, 3),
        size=kernel,
        stride=stride,
        dilation=dilation,
        extent=extent,
    )
    border = (0, 0, *(-p for p in padding))
    return lang.pad(total, border, border) if any(padding) else total


def _pairs(*values: Any) -> list[Pair]:
    return [spread(value, 2) for value in values]


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """(N, C, H, W) → (N, C·kernel elements, windows): each window as a column."""
    if input.dim() == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    if input.dim() != 4:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )
    kernel, spacing, border, step = _pairs(kernel_size, dilation, padding, stride)
    return _unfold(input, kernel, spacing, border, step)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """(N, C·kernel elements, windows) → (N, C, *output_size): overlapping windows are added."""
    if input.dim() == 2:
        out = fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride)
        return out.squeeze(0)
    size, kernel, spacing, border, step = _pairs(
        output_size, kernel_size, dilation, padding, stride
    )
    rows = zip(size, kernel, spacing, border, step, strict=True)
    positions = tuple((o + 2 * p - d * (k - 1) - 1) // s + 1 for o, k, d, p, s in rows)
    if input.shape[1] % math.prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={input.shape[1]} and kernel_size={kernel}."
        )
    if input.shape[2] != math.prod(positions):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={spacing}, "
            f"padding={border}, stride={step}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {' * '.join(map(str, positions))} = "
            f"{math.prod(positions)}, but got input.size(2)={input.shape[2]}."
        )
    return _fold(input, size, positions, kernel, spacing, border, step)


# ------------------------------------------------------------------------------------ unpooling


def _unpool(x: Tensor, indices: Tensor, out: Pair) -> Tensor:
    n = len(out)
    lead = tuple(x.shape[: x.dim() - n])
    zero = x.new_zeros((*lead, math.prod(out)))
    rows, places = (lang.reshape(t, (*lead, math.prod(x.shape[-n:]))) for t in (x, indices))
    filled = lang.apply("scatter", zero, places, rows, axis=len(lead))
    return lang.reshape(filled, (*lead, *out))


_UNPOOLS = {n: composite(f"MaxUnpool{n}DBackward0")(_unpool) for n in (1, 2, 3)}


def _max_unpool(
    n: int,
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    kernel, border = spread(kernel_size, n), spread(padding, n)
    step = kernel if stride is None else spread(stride, n)
    if tuple(x.shape) != tuple(indices.shape):
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(x.shape)}) "
            f"but got indices tensor with shape: {list(indices.shape)}"
        )
    rows = zip(x.shape[-n:], kernel, step, border, strict=True)
    out = tuple((size - 1) * s + k - 2 * p for size, k, s, p in rows)
    if output_size is not None:
        wanted = tuple(output_size)[-n:]
        for w, o, s in zip(wanted, out, step, strict=True):
            if not o - s < w < o + s:
                raise ValueError(
                    f'invalid output_size "{list(wanted)}" '
                    f"(each must be between {o - s} and {o + s})"
                )
        out = wanted
    return _UNPOOLS[n](x, indices, out)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros, with each maximum back where ``max_pool1d`` found it."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros, with each maximum back where ``max_pool2d`` found it."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros, with each maximum back where ``max_pool3d`` found it."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
