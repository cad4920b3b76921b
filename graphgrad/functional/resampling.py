"""Change of resolution: interpolation, and the shuffles that trade channels for pixels.

    F.interpolate(images, scale_factor=2, mode="bilinear")        F.pixel_shuffle(x, 3)

Interpolation is a small constant matrix along each dimension.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from graphgrad.functional._arguments import spread
from graphgrad.functional._matrices import along
from graphgrad.functional.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

# Keys' cubic convolution kernel (1981) with PyTorch's parameters, without and with antialiasing.
_CUBIC, _SMOOTH_CUBIC = -0.75, -0.5
_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4}


# ------------------------------------------------------------------------------------ matrices


def _nearest(size: int, out: int, scale: float, exact: bool) -> np.ndarray:
    position = np.arange(out) + (0.5 if exact else 0.0)
    source = np.minimum(np.floor(position * scale).astype(np.int64), size - 1)
    return _matrix(size, [(source, np.ones(out))])


def _linear(size: int, out: int, scale: float, corners: bool) -> np.ndarray:
    position = np.arange(out) * scale if corners else _centres(out, scale).clip(0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    share = position - low
    return _matrix(size, [(low, 1 - share), (np.minimum(low + 1, size - 1), share)])


def _cubic(size: int, out: int, scale: float, corners: bool) -> np.ndarray:
    position = np.arange(out) * scale if corners else _centres(out, scale)
    low = np.floor(position).astype(np.int64)
    terms = []
    for k in range(-1, 3):
        weight = _keys(np.abs(position - (low + k)), _CUBIC)
        terms.append(((low + k).clip(0, size - 1), weight))
    return _matrix(size, terms)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """The cubic kernel at distances up to 2, 0 beyond."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _smooth(size: int, out: int, scale: float, cubic: bool) -> np.ndarray:
    """Weights of a kernel as wide as a new pixel: nothing between the new pixels is skipped."""
    stretch = max(scale, 1.0)
    reach = (2.0 if cubic else 1.0) * stretch
    centre = ((np.arange(out) + 0.5) * scale)[:, None]
    column = np.arange(size)
    first = (centre - reach + 0.5).astype(np.int64).clip(0)
    stop = (centre + reach + 0.5).astype(np.int64).clip(max=size)
    distance = np.abs((column - centre + 0.5) / stretch)
    weight = _keys(distance, _SMOOTH_CUBIC) if cubic else (1 - distance).clip(0)
    weight = np.where((column >= first) & (column < stop), weight, 0.0)
    return weight / weight.sum(1, keepdims=True)


def _centres(out: int, scale: float) -> np.ndarray:
    """Positions of the new pixels' centres in the old grid."""
    return (np.arange(out) + 0.5) * scale - 0.5


def _matrix(size: int, terms: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    matrix = np.zeros((len(terms[0][0]), size))
    for source, weight in terms:
        np.add.at(matrix, (np.arange(len(source)), source), weight)
    return matrix


# ------------------------------------------------------------------------------------ interpolation


def _resample(
    x: Tensor,
    mode: str,
    sizes: tuple[int, ...],
    scales: tuple[float, ...],
    corners: bool,
    antialias: bool,
) -> Tensor:
    for i, (out, scale) in enumerate(zip(sizes, scales, strict=True)):
        size = x.shape[2 + i]
        if antialias:
            matrix = _smooth(size, out, scale, mode == "bicubic")
        elif mode.startswith("nearest"):
            matrix = _nearest(size, out, scale, mode == "nearest-exact")
        else:
            matrix = (_cubic if mode == "bicubic" else _linear)(size, out, scale, corners)
        x = along(x, matrix, 2 + i)
    return x


def _record_name(mode: str, n: int) -> str:
    stem = {"nearest": "Nearest", "nearest-exact": "NearestExact", "bicubic": "Bicubic"}
    return f"Upsample{stem.get(mode, mode.capitalize())}{n}DBackward0"


_RESAMPLERS = {
    (mode, n): composite(_record_name(mode, n))(_resample)
    for mode in ("nearest", "nearest-exact", *_LINEAR)
    for n in (1, 2, 3)
}


def _sizes_and_scales(
    x: Tensor, size: Any, scale_factor: Any, recompute: bool | None, corners: bool
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The new size of each dimension, and how many old pixels a new one spans."""
    n = x.dim() - 2
    if (size is None) == (scale_factor is None):
        state = "either" if size is None else "only one of"
        raise ValueError(f"{state} size or scale_factor should be defined")
    given = spread(size if size is not None else scale_factor, n)
    if len(given) != n:
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(x.shape[2:])} and output size of {list(given)}"
        )
    old = x.shape[2:]
    new = tuple(int(g) if size is not None else int(o * g) for o, g in zip(old, given, strict=True))
    if min(new) <= 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, "
            f"but got input ({list(old)}) output ({list(new)})"
        )
    if corners:
        return new, tuple(
            (o - 1) / (w - 1) if w > 1 else 0.0 for o, w in zip(old, new, strict=True)
        )
    if scale_factor is not None and not recompute:
        return new, tuple(1.0 / g for g in given)
    return new, tuple(o / w for o, w in zip(old, new, strict=True))


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample (N, C, *space) to ``size``, or by ``scale_factor``.

    Modes: nearest, nearest-exact, area; linear (3D input), bilinear and bicubic (4D), trilinear
    (5D).
    ``align_corners`` makes the corner pixels' centres coincide; ``antialias`` (bilinear, bicubic)
    averages over what a new pixel covers.
    """
    if antialias and (mode not in ("bilinear", "bicubic") or input.dim() != 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    linear = mode in _LINEAR
    if align_corners is not None and not linear:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    if not linear and mode not in ("nearest", "nearest-exact", "area"):
        raise NotImplementedError(f"interpolate: there is no mode {mode!r}")
    if input.dim() not in (3, 4, 5) or (linear and input.dim() != _LINEAR[mode]):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {input.dim()}D) for the modes: nearest | linear | bilinear | bicubic | "
            f"trilinear | area | nearest-exact (got {mode})"
        )
    corners = bool(align_corners)
    sizes, scales = _sizes_and_scales(input, size, scale_factor, recompute_scale_factor, corners)
    n = len(sizes)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    return _RESAMPLERS[mode, n](input, mode, sizes, scales, corners, antialias)


def antialiased(
    input: Tensor, mode: str, size: Any, scale_factors: Any, align_corners: bool
) -> Tensor:
    """Antialiased ``interpolate`` to ``size``, at scales that may be given besides."""
    sizes, scales = _sizes_and_scales(input, size, None, None, align_corners)
    if scale_factors is not None and not align_corners:
        scales = tuple(1.0 / s for s in scale_factors)
    return _RESAMPLERS[mode, 2](input, mode, sizes, scales, align_corners, True)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of ``interpolate``."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """The old name of ``interpolate(mode="nearest")``."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """The old name of ``interpolate(mode="bilinear", align_corners=True)``."""
    return interpolate(input, size, scale_factor, "bilinear", True)


# ------------------------------------------------------------------------------------ shuffles


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C·r², H, W) → (…, C, H·r, W·r)."""
    r, (*lead, c, h, w) = upscale_factor, input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape(*lead, c // (r * r), r, r, h, w)
    moved = split.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return moved.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H·r, W·r) → (…, C·r², H, W)."""
    r, (*lead, c, h, w) = downscale_factor, input.shape
    if h % r or w % r:
        raise RuntimeError(
            "pixel_unshuffle expects height and width to be divisible by downscale_factor, "
            f"but {h}×{w} is not divisible by {r}"
        )
    n = len(lead)
    split = input.reshape(*lead, c, h // r, r, w // r, r)
    moved = split.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return moved.reshape(*lead, c * r * r, h // r, w // r)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """``channel_shuffle`` by its native name."""
    return channel_shuffle(input, groups)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels (dimension 1) of ``groups`` groups."""
    n, c, *space = input.shape
    if c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    return input.reshape(n, groups, c // groups, *space).transpose(1, 2).reshape(input.shape)
