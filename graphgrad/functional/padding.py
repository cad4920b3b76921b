"""Borders around the last dimensions: constant, reflect, replicate, circular.

F.pad(x, (left, right, top, bottom), mode="reflect")
"""

from __future__ import annotations

from collections.abc import Sequence

import graphgrad as gg
from graphgrad import lang
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

_NAMES = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}


@composite("ConstantPadNdBackward0", moves=True)
def _constant(x: Tensor, low: tuple[int, ...], high: tuple[int, ...], value: float) -> Tensor:
    return lang.pad(x, low, high, None, value)


def _reflected(x: Tensor, dim: int, low: int, high: int) -> Tensor:
    n = x.shape[dim]
    before = x.narrow(dim, 1, low).flip(dim)
    after = x.narrow(dim, n - 1 - high, high).flip(dim)
    return gg.cat([before, x, after], dim)


def _replicated(x: Tensor, dim: int, low: int, high: int) -> Tensor:
    n, shape = x.shape[dim], list(x.shape)
    ends = []
    for start, width in ((0, low), (n - 1, high)):
        shape[dim] = width
        ends.append(x.narrow(dim, start, 1).expand(shape))
    return gg.cat([ends[0], x, ends[1]], dim)


def _wrapped(x: Tensor, dim: int, low: int, high: int) -> Tensor:
    n = x.shape[dim]
    return gg.cat([x.narrow(dim, n - low, low), x, x.narrow(dim, 0, high)], dim)


_MODES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}


def _borders(x: Tensor, widths: tuple[int, ...], mode: str) -> Tensor:
    for i in range(0, len(widths), 2):
        dim, (low, high) = x.dim() - 1 - i // 2, widths[i : i + 2]
        # What a negative width crops is out of reach for the other side only when wrapping around.
        if mode == "circular":
            x = _cropped(x, dim, low, high)
        x = _MODES[mode](x, dim, max(low, 0), max(high, 0))
        if mode != "circular":
            x = _cropped(x, dim, low, high)
    return x


def _cropped(x: Tensor, dim: int, low: int, high: int) -> Tensor:
    """``x`` without what negative widths take away."""
    start, stop = max(-low, 0), x.shape[dim] - max(-high, 0)
    return x if stop - start == x.shape[dim] else x.narrow(dim, start, stop - start)


def _record_name(mode: str, n: int) -> str:
    return f"{_NAMES[mode]}{n}DBackward0" if mode in _NAMES else "CatBackward0"


_PADDERS = {
    (mode, n): composite(_record_name(mode, n))(
        lambda x, widths, mode=mode: _borders(x, widths, mode)
    )
    for mode in _MODES
    for n in (1, 2, 3)
}


def _check_border(x: Tensor, widths: Sequence[int], mode: str) -> None:
    n = len(widths) // 2
    if x.dim() not in (n + 1, n + 2) or n > 3:
        raise NotImplementedError(
            f"Padding size {len(widths)} is not supported for {x.dim()}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    for i, width in enumerate(widths):
        dim = x.dim() - 1 - i // 2
        size = x.shape[dim]
        if mode == "reflect" and width >= size:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({widths[i - i % 2]}, {widths[i - i % 2 + 1]}) at dimension {dim} "
                f"of input {list(x.shape)}"
            )
        if mode == "circular" and width > size:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if mode == "replicate" and size == 0:
            raise RuntimeError(f"Expected a non-empty dimension {dim}, got {list(x.shape)}")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad the last dimensions; ``pad`` lists (before, after) pairs from the last dimension on.

    Negative widths crop. ``value`` belongs to mode "constant"; "reflect", "replicate" and
    "circular" pad the last one to three dimensions of a tensor that has a batch or channel
    dimension besides.
    """
    widths = tuple(int(w) for w in pad)
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) // 2 > input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(widths)} and input of dimension {input.dim()}"
        )
    if mode == "constant":
        rest = (0,) * (input.dim() - len(widths) // 2)
        low, high = (*rest, *widths[0::2][::-1]), (*rest, *widths[1::2][::-1])
        if any(n + a + b < 0 for n, a, b in zip(input.shape, low, high, strict=True)):
            raise RuntimeError(
                f"The input size {list(input.shape)}, plus negative padding {list(widths)}, "
                "resulted in a negative output size"
            )
        return _constant(input, low, high, 0 if value is None else value)
    if mode not in _MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    _check_border(input, widths, mode)
    return _PADDERS[mode, len(widths) // 2](input, widths)
