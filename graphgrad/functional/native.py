"""PyTorch's native names of normalisations and dropout: as the layers, with what they keep.

out, mean, rstd = gg.native_layer_norm(x, (width,), weight, bias, 1e-5)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import bool_
from graphgrad.functional.normalization import _moments, batch_norm, group_norm, layer_norm
from graphgrad.functional.padding import pad
from graphgrad.functional.sampling import grid_sampler
from graphgrad.tensor import Tensor

Triple = tuple[Tensor, Tensor, Tensor]
grid_sampler_2d = grid_sampler_3d = grid_sampler


def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Triple:
    """``layer_norm``, and each row's mean and 1/√(variance + eps), which pass no gradient on."""
    out = layer_norm(input, normalized_shape, weight, bias, eps)
    axes = tuple(range(input.dim() - len(normalized_shape), input.dim()))
    return out, *_statistics(input.detach(), axes, eps)


def _statistics(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    mean, variance, _ = _moments(x, axes)
    return mean, lang.rsqrt(variance + eps)


def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Triple:
    """``group_norm`` of (N, C, *space of HxW elements), and the groups' means and 1/√variance."""
    out = group_norm(input, group, weight, bias, eps)
    rows = input.reshape(N, group, C // group * HxW)
    if rows.numel() == 0:
        # PyTorch's statistics of nothing.
        return out, rows.sum(2), rows.sum(2) + math.nan
    mean, rstd = _statistics(rows, (2,), eps)
    return out, mean.squeeze(2), rstd.squeeze(2)


def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Triple:
    """``batch_norm``; in training also the batch's means and 1/√variances, else nothing."""
    out = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return out, input.new_zeros((0,)), input.new_zeros((0,))
    axes = (0, *range(2, input.dim()))
    mean, rstd = _statistics(input.detach(), axes, eps)
    return out, mean.reshape(-1), rstd.reshape(-1)


def _native_batch_norm_legit(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> Triple:
    """``native_batch_norm``, whose running moments may be left out."""
    running = () if len(rest) > 3 else (None, None)
    return native_batch_norm(input, weight, bias, *running, *rest)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """``dropout`` and the mask of what stays."""
    shape = tuple(input.shape)
    if train is False or p == 0:
        return input.clone(), input.new_ones(shape, dtype=bool_)
    kept = gg.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p).bool()
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * kept * scale, kept


def constant_pad_nd(input: Tensor, pad_: Sequence[int], value: float = 0) -> Tensor:
    """``pad`` with a constant; ``pad_`` counts from the last dimension."""
    return pad(input, pad_, "constant", value)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """``affine_grid`` by its native name."""
    return gg.nn.functional.affine_grid(theta, size, align_corners)


def safe_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """``softmax`` that is 0 along lines where every element is -inf."""
    empty = (input.detach() == -math.inf).all(dim, keepdim=True)
    return gg.softmax(input.masked_fill(empty, 0.0), dim, dtype=dtype).masked_fill(empty, 0.0)
