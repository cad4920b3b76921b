"""Losses of regression and of distances; classification is in ``classification``.

    F.mse_loss(prediction, target)                  # mean over all elements
    F.smooth_l1_loss(prediction, target, reduction="sum", beta=0.5)

Every loss takes ``reduction`` "none", "mean" or "sum", and PyTorch's old flags ``size_average`` and
``reduce``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.functional._arguments import legacy_reduction, resolve_reduction
from graphgrad.functional.normalization import pairwise_distance
from graphgrad.tensor import Tensor
from graphgrad.tensor.casting import in_float32
from graphgrad.tensor.composite import composite
from graphgrad.tensor.state import as_one

Flag = bool | None


def chosen_reduction(size_average: Flag, reduce: Flag, reduction: str) -> str:
    """The reduction that the three arguments of a loss ask for."""
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce)
    return resolve_reduction(reduction)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The loss of each element, or their mean or sum."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """``reduced`` of a loss whose elements count as often as ``weight`` says."""
    weighted = loss * weight
    return weighted.sum() / weight.sum() if reduction == "mean" else reduced(weighted, reduction)


def _warn_about_sizes(input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


# ------------------------------------------------------------------------------------ regression


@composite("MseLossBackward0")
def _mse(x: Tensor, target: Tensor, reduction: str) -> Tensor:
    difference = x - target
    return reduced(difference * difference, reduction)


@in_float32
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)², optionally weighted per element."""
    _warn_about_sizes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    if weight is None:
        return _mse(input, target, reduction)
    return _weighted(_mse(input, target, "none"), weight, reduction)


@in_float32
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|, optionally weighted per element."""
    _warn_about_sizes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    distance = (input - target).abs()
    if weight is None:
        return reduced(distance, reduction)
    return _weighted(distance, weight, reduction)


@composite("SmoothL1LossBackward0")
def _smooth_l1(x: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
    d = lang.abs_(x - target)
    return reduced(lang.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


@in_float32
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d²/(2·beta) where d = |x - y| < beta, else d - beta/2."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    _warn_about_sizes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    if beta == 0:
        return reduced((input - target).abs(), reduction)
    return _smooth_l1(input, target, reduction, float(beta))


@composite("HuberLossBackward0")
def _huber(x: Tensor, target: Tensor, reduction: str, delta: float) -> Tensor:
    d = lang.abs_(x - target)
    return reduced(lang.where(d <= delta, d * d * 0.5, (d - 0.5 * delta) * delta), reduction)


@in_float32
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d²/2 where d = |x - y| ≤ delta, else delta·(d - delta/2)."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _warn_about_sizes(input, target)
    reduction = resolve_reduction(reduction)
    if weight is None:
        return _huber(input, target, reduction, float(delta))
    return _weighted(_huber(input, target, "none", float(delta)), weight, reduction)


@as_one
@in_float32
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Flag = None,
    eps: float = 1e-8,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - y·x (or x - y·log(x + eps)); ``full`` adds Stirling's approximation of log y!."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + gg.where(target > 1, stirling, gg.zeros_like(stirling))
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (x - y)²/var)/2, the variance at least eps; ``full`` adds log(2π)/2."""
    if not isinstance(var, Tensor):
        var = input.detach() * 0 + var
    if bool((var.detach() < 0).any()):
        raise ValueError("var has negative entry/entries")
    if tuple(var.shape) != tuple(input.shape):
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif not _one_dimension_shared(var, input):
            raise ValueError("var is of incorrect size")
    # The clamp is no part of the model: gradients pass through it.
    var = var + (var.detach().clamp_min(eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, resolve_reduction(reduction))


def _one_dimension_shared(var: Tensor, input: Tensor) -> bool:
    """Whether ``var`` is like ``input`` but has size 1 in one dimension."""
    if var.dim() != input.dim():
        return False
    differing = [v for v, n in zip(var.shape, input.shape, strict=True) if v != n]
    return differing == [1]


# ------------------------------------------------------------------------------------ distances


@in_float32
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y·(log y - x) for log-probabilities x; "batchmean" divides by the first dimension."""
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target.xlogy(target) - target * input
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = loss.sum()
        return total / input.shape[0] if input.dim() else total
    return reduced(loss, chosen_reduction(size_average, reduce, reduction))


@in_float32
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y·(x1 - x2) + margin), y = ±1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@in_float32
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    zero = gg.zeros_like(input.detach())
    apart = gg.where(target != 1, (margin - input).clamp_min(0), zero)
    return reduced(apart + gg.where(target != -1, input, zero), reduction)


@in_float32
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos - margin) where y = -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if target.dim() not in (0, 1) or input1.dim() != target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    # PyTorch's own epsilon, added to the squared norms.
    nx, ny = ((x * x).sum(-1) + 1e-12 for x in (input1, input2))
    cosine = (input1 * input2).sum(-1) / (nx * ny).sqrt()
    zero = gg.zeros_like(cosine.detach())
    together = gg.where(target == 1, 1 - cosine, zero)
    return reduced(
        together + gg.where(target == -1, (cosine - margin).clamp_min(0), zero), reduction
    )


@in_float32
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm distance.

    ``swap`` uses d(positive, negative) when that is the smaller distance (Balntas et al. 2016).
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, "
            f"and negative {negative.dim()}D inputs"
        )

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = chosen_reduction(size_average, reduce, reduction)
    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` under any distance."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance: Any = pairwise_distance if distance_function is None else distance_function
    reduction = resolve_reduction(reduction)
    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def _triplet(
    distance: Callable[[Tensor, Tensor], Tensor],
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = gg.minimum(far, distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)
