"""Images read at any places: ``grid_sample``, and ``affine_grid`` for the places (Jaderberg 2015).

    grid = F.affine_grid(theta, (n, c, h, w), align_corners=False)      # theta (n, 2, 3)
    F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

Places are in [-1, 1]: -1 and 1 are the centres of the corner pixels with ``align_corners``, else
their outer edges. The last dimension of a grid is (x, y) or (x, y, z): the last space first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from graphgrad import lang
from graphgrad.dtypes import int64
from graphgrad.functional._arguments import spelled
from graphgrad.functional._steps import step_of
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
_CUBIC = -0.75

# One tap of one dimension: which pixel (float, whole), and its weight.
Tap = tuple[Tensor, Tensor]


# ------------------------------------------------------------------------------------ coordinates


def _pixel(place: Tensor, size: int, corners: bool) -> Tensor:
    """A place in [-1, 1] as a pixel's number (its centre is whole)."""
    return (place + 1) * ((size - 1) / 2) if corners else ((place + 1) * size - 1) / 2


def _clipped(x: Tensor, size: int) -> Tensor:
    """Within the image; outside it and on its edge the gradient is 0."""
    inside = lang.gt(x, 0.0) & lang.lt(x, size - 1)
    return lang.where(inside, x, lang.minimum(lang.maximum(x.detach(), 0.0), float(size - 1)))


def _reflected(x: Tensor, size: int, corners: bool) -> Tensor:
    """Folded back at the centres (``corners``) or outer edges of the border pixels."""
    low, span = (0.0, float(size - 1)) if corners else (-0.5, float(size))
    if span == 0:
        return x * 0.0
    distance = lang.abs_(x - low)
    folds = lang.floor(distance.detach() / span)
    rest = distance - folds * span
    even = lang.eq(lang.remainder(folds, 2.0), 0.0)
    return lang.where(even, rest, span - rest) + low


def _within(x: Tensor, size: int, padding: str, corners: bool) -> Tensor:
    if padding == "reflection":
        x = _reflected(x, size, corners)
    return x if padding == "zeros" else _clipped(x, size)


# ------------------------------------------------------------------------------------ taps


def _nearest(place: Tensor, size: int, padding: str, corners: bool) -> list[Tap]:
    pixel = _within(_pixel(place, size, corners), size, padding, corners)
    # Halves go to the even pixel.
    return [(lang.apply("round", pixel.detach()), step_of(pixel, 1.0))]


def _linear(place: Tensor, size: int, padding: str, corners: bool) -> list[Tap]:
    pixel = _within(_pixel(place, size, corners), size, padding, corners)
    low = lang.floor(pixel.detach())
    share = pixel - low
    return [(low, 1 - share), (low + 1, share)]


def _cubic(place: Tensor, size: int, padding: str, corners: bool) -> list[Tap]:
    pixel = _pixel(place, size, corners)
    low = lang.floor(pixel.detach())
    share = pixel - low
    taps = []
    for k in range(-1, 3):
        distance = share - k if k < 1 else k - share
        taps.append((_within(low + k, size, padding, corners), _keys(distance, near=k in (0, 1))))
    return taps


def _keys(d: Tensor, near: bool) -> Tensor:
    """Keys' cubic kernel (1981) at the distance d, below 1 (``near``) or between 1 and 2."""
    if near:
        return ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
    return _CUBIC * (((d - 5) * d + 8) * d - 4)


_TAPS = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}


# ------------------------------------------------------------------------------------ sampling


def _grid_sample(x: Tensor, grid: Tensor, mode: str, padding: str, corners: bool) -> Tensor:
    """x (N, C, *space), grid (N, *out, dimensions) → (N, C, *out): a sum over combined taps."""
    n, c, *space = x.shape
    out, points = tuple(grid.shape[1:-1]), math.prod(grid.shape[1:-1])
    rows = lang.reshape(x, (n, c, math.prod(space)))
    places = lang.reshape(grid, (n, points, len(space)))
    # A grid names the last dimension first.
    sides = [
        _TAPS[mode](places[:, :, len(space) - 1 - i], size, padding, corners)
        for i, size in enumerate(space)
    ]
    total = None
    for taps in itertools.product(*sides):
        term = _tapped(rows, taps, space)
        total = term if total is None else total + term
    assert total is not None
    return lang.reshape(total, (n, c, *out))


def _tapped(rows: Tensor, taps: Sequence[Tap], space: Sequence[int]) -> Tensor:
    """The pixels that ``taps`` (one a dimension) name, times their weights; 0 outside."""
    inside, flat, weight = None, None, None
    for (pixel, share), size in zip(taps, space, strict=True):
        fits = lang.ge(pixel, 0.0) & lang.le(pixel, float(size - 1))
        inside = fits if inside is None else inside & fits
        place = lang.cast(lang.where(fits, pixel.detach(), 0.0), int64)
        flat = place if flat is None else flat * size + place
        weight = share if weight is None else weight * share
    assert inside is not None and flat is not None and weight is not None
    n, c, _ = rows.shape
    index = lang.expand(flat.unsqueeze(1), (n, c, flat.shape[1]))
    picked = lang.apply("gather", rows, index, axis=2)
    picked = lang.where(inside.unsqueeze(1), picked, 0.0)
    return picked * weight.unsqueeze(1)


_SAMPLERS = {n: composite(f"GridSampler{n}DBackward0")(_grid_sample) for n in (2, 3)}


def _check(x: Tensor, grid: Tensor, mode: str) -> None:
    sizes = f"got input with sizes {list(x.shape)} and grid with sizes {list(grid.shape)}"
    if x.dim() not in (4, 5) or grid.dim() != x.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, "
            f"but {sizes}"
        )
    if x.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but {sizes}"
        )
    if grid.shape[-1] != x.dim() - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {x.dim() - 2} in last dimension, "
            f"but got grid with sizes {list(grid.shape)}"
        )
    for i, size in enumerate(x.shape[2:], 2):
        if size == 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input "
                f"has sizes {list(x.shape)} with dimension {i} being empty"
            )
    if x.dtype is not grid.dtype:
        raise RuntimeError(f"expected scalar type {spelled(x)} but found {spelled(grid)}")
    if mode == "bicubic" and x.dim() == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The values of (N, C, H, W) at grid (N, H', W', 2), or of 5D images at (…, 3) → (N, C, *out).

    Between pixels: "bilinear", "nearest" or (4D) "bicubic". Outside: "zeros", the "border" pixel,
    or the "reflection" at the border.
    """
    for name, value, known in (("mode", mode, MODES), ("padding_mode", padding_mode, PADDINGS)):
        if value not in known:
            raise ValueError(
                f"nn.functional.grid_sample(): expected {name} to be "
                f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}, but got: {value!r}"
            )
    _check(input, grid, mode)
    return _SAMPLERS[input.dim() - 2](input, grid, mode, padding_mode, bool(align_corners))


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """``grid_sample`` with its modes by number."""
    return grid_sample(
        input, grid, MODES[interpolation_mode], PADDINGS[padding_mode], align_corners
    )


# ------------------------------------------------------------------------------------ affine grids


def _axis(size: int, corners: bool, dtype: np.dtype) -> np.ndarray:
    """The places of the pixels' centres."""
    if size == 1:
        return np.zeros(1, dtype)
    edge = 1.0 if corners else (size - 1) / size
    return np.linspace(-edge, edge, size, dtype=dtype)


@composite("AffineGridGeneratorBackward0")
def _affine_grid(theta: Tensor, space: tuple[int, ...], corners: bool) -> Tensor:
    axes = [_axis(size, corners, theta.dtype.numpy) for size in space]
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*(m.ravel() for m in reversed(mesh)), np.ones(math.prod(space))], -1)
    constant = lang.constant(base.astype(theta.dtype.numpy))
    # (n, d, d+1)·(points, d+1) → (n, d, points) → (n, points, d)
    out = lang.permute(lang.dot_general(theta, constant, ((2,), (1,))), (0, 2, 1))
    return lang.reshape(out, (theta.shape[0], *space, len(space)))


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid by which ``grid_sample`` maps to ``size`` (N, C, *space); theta (N, d, d+1)."""
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    n, space = size[0], tuple(int(s) for s in size[2:])
    d = len(space)
    if d not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {tuple(size)}."
        )
    if tuple(theta.shape) != (n, d, d + 1):
        raise ValueError(
            f"Expected a batch of {d}D affine matrices of shape Nx{d}x{d + 1} for size "
            f"{tuple(size)}. Got {theta.size()}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    return _affine_grid(theta, space, bool(align_corners))
