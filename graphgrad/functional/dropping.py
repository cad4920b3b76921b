"""Dropout: zeros drawn at random in training, survivors scaled so that the expectation stays.

F.dropout(x, p=0.5, training=self.training)
"""

from __future__ import annotations

import math

import graphgrad as gg
from graphgrad.tensor import Tensor

# λα of selu: a dropped unit takes selu's saturation value -λα (Klambauer et al. 2017).
_ALPHA = 1.7580993408473766


def _check(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _kept(shape: tuple[int, ...], like: Tensor, p: float) -> Tensor:
    """1 where an element stays, 0 where it is dropped."""
    return gg.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - p)


def _apply(x: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
    _check(p)
    if not training or p == 0 or x.numel() == 0:
        return x
    if p == 1:
        noise = gg.zeros(shape, dtype=x.dtype, device=x.device)
    else:
        noise = _kept(shape, x, p) / (1 - p)
    return x.mul_(noise) if inplace else x * noise


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element is 0 with probability ``p``, else divided by 1 - p; unchanged in evaluation."""
    return _apply(input, tuple(input.shape), p, training, inplace)


def _channels(x: Tensor) -> tuple[int, ...]:
    """One draw a sample and channel: dimensions 0 and 1."""
    if x.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (*x.shape[:2], *(1,) * (x.dim() - 2))


def _spatial(x: Tensor, n: int, p: float, training: bool, inplace: bool) -> Tensor:
    _check(p)
    if x.dim() == n + 1:
        return _spatial(x.unsqueeze(0), n, p, training, inplace).squeeze(0)
    return _apply(x, _channels(x), p, training, inplace)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Drop whole channels of (N, C, L) or (C, L)."""
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input."
        )
    return _spatial(input, 1, p, training, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Drop whole channels of (N, C, H, W)."""
    return _apply(input, _channels(input), p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Drop whole channels of (N, C, D, H, W)."""
    return _apply(input, _channels(input), p, training, inplace)


def _alpha(x: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
    _check(p)
    if not training or p == 0 or x.numel() == 0:
        return x
    if p == 1:
        return x.mul_(0.0) if inplace else x * 0.0
    kept = _kept(shape, x, p)
    scale = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = (kept - (1 - p)) * (_ALPHA * scale)
    noise = kept * scale
    return x.mul_(noise).add_(shift) if inplace else x * noise + shift


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout for selu networks: keeps mean and variance (Klambauer et al. 2017)."""
    return _alpha(input, tuple(input.shape), p, training, inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Alpha dropout of whole channels."""
    return _alpha(input, _channels(input), p, training, inplace) if training else input
