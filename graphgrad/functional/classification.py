"""Losses of classification: cross-entropies and margins.

F.cross_entropy(logits, labels)                        # logits (N, C, *space), labels (N, *space)
F.cross_entropy(logits, probabilities, label_smoothing=0.1)
F.binary_cross_entropy_with_logits(logits, target)
"""

from __future__ import annotations

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int64, uint8
from graphgrad.functional._arguments import spelled
from graphgrad.functional.activation import log_softmax, logsigmoid
from graphgrad.functional.loss import Flag, chosen_reduction, reduced
from graphgrad.tensor import Tensor
from graphgrad.tensor.casting import in_float32
from graphgrad.tensor.composite import composite
from graphgrad.tensor.place import at_hand

# ------------------------------------------------------------------------------------ likelihood


def _picked(x: Tensor, target: Tensor, dim: int) -> Tensor:
    """x at the class ``target`` names, along ``dim``."""
    return lang.reshape(
        lang.apply("gather", x, target.unsqueeze(dim), axis=dim), tuple(target.shape)
    )


def _nll(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    dim = 1 if x.dim() > 1 else 0
    valid = lang.ne(target, ignore_index)
    label = lang.where(valid, target, 0)
    loss = -_picked(x, label, dim)
    if weight is None:
        share = lang.cast(valid, x.dtype)
    else:
        flat = label.reshape(-1)
        share = lang.reshape(lang.apply("gather", weight, flat, axis=0), tuple(label.shape))
        share = lang.where(valid, share, 0.0)
    # Masked, not multiplied: an ignored position may hold log 0.
    loss = lang.where(valid, loss, 0.0)
    loss = loss * share if weight is not None else loss
    return loss.sum() / share.sum() if reduction == "mean" else reduced(loss, reduction)


_nll_1d = composite("NllLossBackward0")(_nll)
_nll_2d = composite("NllLoss2DBackward0")(_nll)


def _check_nll(x: Tensor, target: Tensor, weight: Tensor | None) -> None:
    if x.dim() == 0:
        raise RuntimeError("input tensor should be 1D or 2D")
    if x.dim() <= 2 and target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if x.dim() > 1 and (target.dim() == 0 or x.shape[0] != target.shape[0]):
        count = target.shape[0] if target.dim() else 1
        raise ValueError(
            f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({count})."
        )
    if x.dim() == 4 and tuple(x.shape[2:]) != tuple(target.shape[1:]):
        raise RuntimeError(
            f"size mismatch (got input: {list(x.shape)} , target: {list(target.shape)}"
        )
    if x.dim() > 2 and tuple(x.shape[2:]) != tuple(target.shape[1:]):
        wanted = [x.shape[0], *x.shape[2:]]
        raise RuntimeError(f"Expected target size {wanted}, got {list(target.shape)}")
    if target.dtype not in (int64, uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {spelled(target)}")
    classes = x.shape[1 if x.dim() > 1 else 0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )


def _check_labels(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise IndexError for a label that is no class; a traced label is checked when it is used."""
    labels = at_hand(target)
    if labels is None or not labels.size:
        return
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
        if wrong.size:
            raise IndexError(f"Target {wrong.flat[0]} is out of bounds.")


@in_float32
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    ignore_index: int = -100,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight_y·x_y, where x (N, C, *space) holds log-probabilities and y (N, *space) labels.

    The mean is weighted: Σ loss / Σ weight_y. Labels equal to ``ignore_index`` do not count.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    _check_nll(input, target, weight)
    _check_labels(target, input.shape[1 if input.dim() > 1 else 0], ignore_index)
    labels = target if target.dtype is int64 else target.long()
    run = _nll_1d if input.dim() <= 2 else _nll_2d
    return run(input, labels, weight, ignore_index, reduction)


@in_float32
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    ignore_index: int = -100,
    reduce: Flag = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """``nll_loss`` of ``log_softmax``; the target holds labels, or probabilities like the input.

    input (C,), (N, C) or (N, C, *space). ``label_smoothing`` mixes the target with the uniform
    distribution (Szegedy et al. 2016).
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    dim = 1 if input.dim() > 1 else 0
    if tuple(input.shape) == tuple(target.shape):
        _check_probabilities(target, ignore_index)
        if input.dim() == 0:
            raise RuntimeError("cross_entropy expects at least one dimension, that of the classes")
        log_p = log_softmax(input, dim)
        return _soft_cross_entropy(log_p, target, weight, reduction, label_smoothing, dim)
    log_p = log_softmax(input, dim)
    nll = nll_loss(log_p, target, weight, None, ignore_index, None, reduction)
    if label_smoothing == 0.0:
        return nll
    uniform = _uniform_cross_entropy(log_p, target, weight, ignore_index, reduction, dim)
    classes = input.shape[dim]
    return nll * (1 - label_smoothing) + uniform * (label_smoothing / classes)


def _check_probabilities(target: Tensor, ignore_index: int) -> None:
    if not target.is_floating_point():
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, "
            f"got {spelled(target)}"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")


def _soft_cross_entropy(
    log_p: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    label_smoothing: float,
    dim: int,
) -> Tensor:
    classes = log_p.shape[dim]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    if weight is not None:
        target = target * weight.reshape(-1, *(1,) * (log_p.dim() - dim - 1))
    loss = -(log_p * target).sum(dim)
    return loss.sum() / loss.numel() if reduction == "mean" else reduced(loss, reduction)


def _uniform_cross_entropy(
    log_p: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    dim: int,
) -> Tensor:
    """Σ_c -weight_c·log p_c of every position that counts."""
    if weight is not None:
        log_p = log_p * weight.reshape(-1, *(1,) * (log_p.dim() - dim - 1))
    valid = target != ignore_index
    smooth = -log_p.sum(dim)
    loss = gg.where(valid, smooth, gg.zeros_like(smooth.detach()))
    if reduction != "mean":
        return reduced(loss, reduction)
    if weight is None:
        return loss.sum() / valid.sum()
    label = gg.where(valid, target, gg.zeros_like(target))
    share = gg.where(valid, weight[label], gg.zeros_like(loss.detach()))
    return loss.sum() / share.sum()


# ------------------------------------------------------------------------------------ binary


@composite("BinaryCrossEntropyBackward0")
def _bce(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    # log 0 counts as -100, and its argument is masked so that its gradient is no NaN.
    log_x = lang.where(x > 0, lang.log(lang.where(x > 0, x, 1.0)), -100.0)
    log_rest = lang.where(x < 1, lang.log1p(-lang.where(x < 1, x, 0.0)), -100.0)
    log_x, log_rest = (lang.where(z < -100, -100.0, z) for z in (log_x, log_rest))
    loss = (target - 1) * log_rest - target * log_x
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y·log x + (1 - y)·log(1 - x)), x within [0, 1], logarithms at least -100."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    values = at_hand(input)
    if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is not None:
        weight = weight.expand_as(input)
    return _bce(input, target, weight, reduction)


@composite("BinaryCrossEntropyWithLogitsBackward0")
def _bce_logits(
    x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
) -> Tensor:
    # -log σ(x) without overflow: log1p(exp(-|x|)) + max(-x, 0).
    surprise = lang.log1p(lang.exp(-lang.abs_(x))) + lang.maximum(-x, 0.0)
    if pos_weight is not None:
        surprise = surprise * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * x + surprise
    return reduced(loss if weight is None else loss * weight, reduction)


@in_float32
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """``binary_cross_entropy`` of sigmoid(x), stable; ``pos_weight`` scales the positive term."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    return _bce_logits(input, target, weight, pos_weight, reduction)


# ------------------------------------------------------------------------------------ margins


@in_float32
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-y·x)), y = ±1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    return _soft_margin(input, target, reduction)


@composite("SoftMarginLossBackward0")
def _soft_margin(x: Tensor, target: Tensor, reduction: str) -> Tensor:
    return reduced(lang.log1p(lang.exp(-target * x)), reduction)


@in_float32
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the classes (last dimension) of binary cross-entropies of sigmoid(x)."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.mean(-1), reduction)


@in_float32
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ_{i≠y} max(0, margin - x_y + x_i)^p / C, optionally weighted by class y."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    x = input.reshape(-1, input.shape[-1]) if input.dim() else input.reshape(1, 1)
    label = target.reshape(-1)
    if x.shape[0] != label.shape[0]:
        raise RuntimeError(
            f"inconsistent target size, expected {x.shape[0]} but got {list(target.shape)}"
        )
    if weight is not None and weight.numel() != x.shape[1]:
        raise RuntimeError(
            f"inconsistent weight size, expected {x.shape[1]} but got {list(weight.shape)}"
        )
    scale = None if weight is None else weight[label].unsqueeze(1)
    return _multi_margin(x, label, scale, p, float(margin), tuple(target.shape), reduction)


@composite("MultiMarginLossBackward0")
def _multi_margin(
    x: Tensor,
    label: Tensor,
    scale: Tensor | None,
    p: int,
    margin: float,
    shape: tuple[int, ...],
    reduction: str,
) -> Tensor:
    gap = lang.maximum(x - x.gather(1, label.unsqueeze(1)) + margin, 0.0)
    gap = gap * gap if p == 2 else gap
    gap = gap if scale is None else gap * scale
    other = gg.arange(x.shape[1], device=x.device) != label.unsqueeze(1)
    loss = lang.where(other, gap, 0.0).sum(1) / x.shape[1]
    return reduced(loss.reshape(shape), reduction)


@in_float32
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ max(0, 1 - (x_y - x_i)) / C over labels y and other classes i; labels end at -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if tuple(input.shape) != tuple(target.shape):
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    return _multilabel_margin(input, target, reduction)


@composite("MultilabelMarginLossBackward0")
def _multilabel_margin(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    x, label = (z.reshape(-1, z.shape[-1] if z.dim() else 1) for z in (input, target))
    listed = (label >= 0).long().cumprod(1).bool()
    safe = gg.where(listed, label, gg.zeros_like(label))
    classes = gg.arange(x.shape[1], device=x.device)
    # member[n, c]: class c is among the labels of sample n.
    member = ((classes == safe.unsqueeze(2)) & listed.unsqueeze(2)).any(1)
    gap = (1 - (x.gather(1, safe).unsqueeze(2) - x.unsqueeze(1))).clamp_min(0)
    counts = listed.unsqueeze(2) & ~member.unsqueeze(1)
    loss = lang.where(counts, gap, 0.0).sum((1, 2)) / x.shape[1]
    return reduced(loss.reshape(input.shape[:-1]), reduction)
