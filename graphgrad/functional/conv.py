"""Convolutions: a sliding-window view of the input contracted with the weight.

    F.conv2d(x, weight, bias, stride=1, padding="same", dilation=1, groups=1)

x is (N, C, *space) or (C, *space), weight (O, C/groups, *kernel). The window view is read in place,
so no im2col matrix exists. A transposed convolution spreads the input out and convolves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphgrad import lang
from graphgrad.functional._arguments import spelled, spread
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite
from graphgrad.tensor.state import state

Pads = tuple[tuple[int, int], ...]


@composite("ConvolutionBackward0")
def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pads: Pads,
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """x (N, C, *space), weight (O, C/groups, *kernel) → (N, O, *positions)."""
    out = _windows_dot_weight(_padded(_grouped(x, groups), pads), weight, stride, dilation, groups)
    return out if bias is None else out + _per_channel(bias, out.dim())


@composite("ConvolutionBackward0")
def _transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pads: Pads,
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """The adjoint of ``_convolution``: zeros between elements, kernel flipped, channels swapped."""
    y = _grouped(x, groups)
    others = (0,) * (y.dim() - len(pads))
    low, high = ((*others, *side) for side in zip(*pads, strict=True))
    wide = lang.pad(y, low, high, (*others, *(s - 1 for s in stride)))
    flipped = lang.flip(_exchanged(weight, groups), range(2, weight.dim()))
    out = _windows_dot_weight(wide, flipped, (1,) * len(pads), dilation, groups)
    return out if bias is None else out + _per_channel(bias, out.dim())


def _exchanged(weight: Tensor, groups: int) -> Tensor:
    """(C, O/groups, *kernel) → (O, C/groups, *kernel)."""
    if groups == 1:
        return weight.transpose(0, 1)
    c, o, *kernel = weight.shape
    split = lang.reshape(weight, (groups, c // groups, o, *kernel))
    axes = (0, 2, 1, *range(3, 3 + len(kernel)))
    return lang.reshape(lang.permute(split, axes), (groups * o, c // groups, *kernel))


def _padded(x: Tensor, pads: Pads) -> Tensor:
    if not any(map(any, pads)):
        return x
    others = (0,) * (x.dim() - len(pads))
    low, high = zip(*pads, strict=True)
    return lang.pad(x, (*others, *low), (*others, *high))


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(N, C, *space) → (N, G, C/G, *space), for several groups."""
    if groups == 1:
        return x
    return lang.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))


def _per_channel(bias: Tensor, ndim: int) -> Tensor:
    return lang.reshape(bias, (bias.numel(), *(1,) * (ndim - 2)))


def _windows_dot_weight(
    x: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Windows of x (N, C, *space), for several groups (N, G, C/G, *space), times the weight.

    Groups are there before the windows, so that these stay the product's own operand: its gradients
    are then products over windows as well.
    """
    kernel = tuple(weight.shape[2:])
    n, first = len(kernel), x.dim() - len(kernel)
    space = tuple(range(first, first + n))
    windows = lang.apply(
        "window", x, axes=space, size=kernel, stride=tuple(stride), dilation=tuple(dilation)
    )
    taps = tuple(range(first + n, first + 2 * n))
    if groups == 1:
        # (O, C, k…) · (N, C, p…, k…) → (O, N, p…): positions stay innermost in memory.
        return lang.dot_general(weight, windows, ((1, *space), (1, *taps))).transpose(0, 1)
    batch, _, per_in, *positions = windows.shape[: first + n]
    per_out = weight.shape[0] // groups
    w = lang.reshape(weight, (groups, per_out, per_in, *kernel))
    # (G, O/G, C/G, k…) · (N, G, C/G, p…, k…) → (G, O/G, N, p…)
    out = lang.dot_general(w, windows, ((2, *range(3, 3 + n)), (2, *taps)), ((0,), (1,)))
    moved = lang.permute(out, (2, 0, 1, *range(3, 3 + n)))
    return lang.reshape(moved, (batch, groups * per_out, *positions))


# ------------------------------------------------------------------------------------ arguments


def _numbers(name: str, value: Any, n: int) -> tuple[int, ...]:
    numbers = spread(value, n)
    if len(numbers) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {name}={list(numbers)}"
        )
    return numbers


def _same_pads(kernel: Sequence[int], dilation: Sequence[int]) -> Pads:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def _resolve_pads(padding: Any, kernel: Any, stride: Any, dilation: Any, n: int) -> Pads:
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(
                f"Invalid padding string: '{padding}'; the strings are 'same' and 'valid'"
            )
        if padding == "valid":
            return ((0, 0),) * n
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        return _same_pads(kernel, dilation)
    numbers = _numbers("padding", padding, n)
    if min(numbers) < 0:
        raise RuntimeError("negative padding is not supported")
    return tuple((p, p) for p in numbers)


def _check(name: str, x: Tensor, weight: Tensor, bias: Any, groups: int, n: int) -> None:
    if weight.dim() != n + 2:
        raise RuntimeError(
            f"weight should have at least three dimensions and as many as the input of {name}, "
            f"got {list(weight.shape)}"
        )
    if x.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, "
            f"but got input of size: {list(x.shape)}"
        )
    if x.dtype is not weight.dtype and state.casting is None:
        raise RuntimeError(f"expected scalar type {spelled(x)} but found {spelled(weight)}")
    if bias is not None and bias.dtype is not x.dtype and state.casting is None:
        raise RuntimeError(
            f"Input type ({spelled(x)}) and bias type ({spelled(bias)}) should be the same"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")


def _check_stride(stride: Sequence[int], dilation: Sequence[int]) -> None:
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")


def _check_channels(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool
) -> None:
    size, channels = list(weight.shape), x.shape[1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size [{size}] instead"
        )
    if channels != expected:
        kind = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"Given {kind}groups={groups}, weight of size {size}, expected input{list(x.shape)} "
            f"to have {expected} channels, but got {channels} channels instead"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise RuntimeError(
            f"Given weight of size {size}, expected bias to be 1-dimensional with {outputs} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )


def _check_kernel(x: Tensor, kernel: Sequence[int], pads: Pads, dilation: Sequence[int]) -> None:
    padded = [size + lo + hi for size, (lo, hi) in zip(x.shape[2:], pads, strict=True)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(span > size for span, size in zip(spans, padded, strict=True)):
        per_channel, window = (" x ".join(map(str, sizes)) for sizes in (padded, spans))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({per_channel}). Kernel size: ({window}). "
            "Kernel size can't be greater than actual input size"
        )


def _conv(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    _check(f"conv{n}d", input, weight, bias, groups, n)
    stride, dilation = _numbers("stride", stride, n), _numbers("dilation", dilation, n)
    _check_stride(stride, dilation)
    pads = _resolve_pads(padding, weight.shape[2:], stride, dilation, n)
    batched = input.dim() == n + 2
    x = input if batched else input.unsqueeze(0)
    _check_channels(x, weight, bias, groups, False)
    _check_kernel(x, weight.shape[2:], pads, dilation)
    out = _convolution(x, weight, bias, stride, pads, dilation, groups)
    return out if batched else out.squeeze(0)


def _conv_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    _check(f"conv_transpose{n}d", input, weight, bias, groups, n)
    stride, dilation = _numbers("stride", stride, n), _numbers("dilation", dilation, n)
    _check_stride(stride, dilation)
    padding, extra = _numbers("padding", padding, n), _numbers("output_padding", output_padding, n)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError("output padding must be smaller than either stride or dilation")
    batched = input.dim() == n + 2
    x = input if batched else input.unsqueeze(0)
    _check_channels(x, weight, bias, groups, True)
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], dilation, strict=True)]
    pads = tuple((r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True))
    out = _transposed(x, weight, bias, stride, pads, dilation, groups)
    return out if batched else out.squeeze(0)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over (N, C, L): weight (O, C/groups, K) → (N, O, L')."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over (N, C, H, W): weight (O, C/groups, KH, KW) → (N, O, H', W')."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over (N, C, D, H, W)."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """``conv1d`` over (time, batch, channels): weight (K, C, O)."""
    x, w = input.permute(1, 2, 0), weight.permute(2, 1, 0)
    return conv1d(x, w, bias, padding=pad).permute(2, 0, 1)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv1d in its input: weight (C, O/groups, K)."""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv2d in its input: weight (C, O/groups, KH, KW)."""
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv3d in its input."""
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
