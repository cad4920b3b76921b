"""Connectionist temporal classification (Graves et al. 2006): sequences labelled without alignment.

F.ctc_loss(log_probs, targets, input_lengths, target_lengths)    # log_probs (T, N, classes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import FLOAT, int64
from graphgrad.functional._arguments import resolve_reduction, spelled
from graphgrad.functional.loss import reduced
from graphgrad.tensor import Tensor
from graphgrad.tensor.casting import in_float32
from graphgrad.tensor.composite import composite
from graphgrad.tensor.place import at_hand


@in_float32
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that ``targets`` are read, over all alignments with blanks.

    log_probs (T, N, C), or (T, C) for one sequence, must be log-probabilities: as in PyTorch, the
    gradient is that of the loss of normalised rows. targets (N, S), or one after the other in one
    dimension. The mean divides each loss by its target's length first. A target that does not fit
    its input has the loss inf, or 0 (and no gradient) with ``zero_infinity``.
    """
    reduction = resolve_reduction(reduction)
    _check_kinds(log_probs, targets, blank)
    batched = log_probs.dim() == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    rows = targets if batched or targets.dim() != 1 else targets.unsqueeze(0)
    frames, labels = (
        _lengths(n, name, x.shape[1])
        for n, name in ((input_lengths, "input_lengths"), (target_lengths, "target_lengths"))
    )
    _check_range("input_lengths", frames, x.shape[0])
    if rows.dim() == 1:
        rows = _padded_rows(rows, labels)
    else:
        _check_rows(rows, labels, x.shape[1])
    frames, labels = frames.to(x.device), labels.to(x.device)
    loss = _ctc(x, rows.long(), frames, labels, blank, zero_infinity)
    if reduction == "mean":
        return (loss / labels.to(loss.dtype).clamp(min=1)).mean()
    return reduced(loss if batched else loss.squeeze(0), reduction)


# -------------------------------------------------------------------------------------- arguments


def _check_kinds(log_probs: Tensor, targets: Tensor, blank: int) -> None:
    if log_probs.dim() not in (2, 3):
        raise RuntimeError(
            "log_probs must be (T, N, C), or (T, C) without a batch, "
            f"but got {list(log_probs.shape)}"
        )
    if log_probs.dtype.category != FLOAT:
        raise NotImplementedError(f'"ctc_loss_cpu" not implemented for {spelled(log_probs)!r}')
    if log_probs.numel() == 0:
        raise RuntimeError("log_probs tensor must not be empty")
    if targets.dim() not in (1, 2):
        raise RuntimeError(
            f"targets must be (N, S), or one-dimensional, but got {list(targets.shape)}"
        )
    if not 0 <= blank < log_probs.shape[-1]:
        raise RuntimeError(
            f"blank must be in label range: got {blank}, but there are "
            f"{log_probs.shape[-1]} classes"
        )


def _lengths(given: Tensor | Sequence[int], name: str, count: int) -> Tensor:
    """One length a sequence, int64 (N,)."""
    lengths = given if isinstance(given, Tensor) else gg.tensor(given, dtype=int64, device="cpu")
    if lengths.is_floating_point():
        raise RuntimeError(f"{name} must be integral")
    if lengths.numel() != count:
        raise RuntimeError(
            f"{name} must be of size batch_size: expected {count} lengths, got {lengths.numel()}"
        )
    return lengths.reshape(-1).long()


def _check_range(name: str, lengths: Tensor, most: int) -> None:
    """Traced lengths cannot be checked: they have no values yet."""
    values = at_hand(lengths)
    if values is None or not values.size:
        return
    for wrong, bound, word in ((values.max(), most, "most"), (values.min(), 0, "least")):
        if (wrong > bound) if word == "most" else (wrong < bound):
            raise RuntimeError(f"Expected {name} to have value at {word} {bound}, but got {wrong}")


def _check_rows(rows: Tensor, labels: Tensor, count: int) -> None:
    if rows.shape[0] != count:
        raise RuntimeError(
            f"Expected tensor to have size {count} at dimension 0, but got size {rows.shape[0]} "
            "for argument #2 'targets'"
        )
    values = at_hand(labels)
    if values is not None and values.size and values.max() > rows.shape[1]:
        raise RuntimeError(
            f"Expected tensor to have size at least {values.max()} at dimension 1, but got size "
            f"{rows.shape[1]} for argument #2 'targets'"
        )


def _padded_rows(joined: Tensor, labels: Tensor) -> Tensor:
    """Targets that stand one after the other, as rows of a matrix."""
    lengths = labels.concrete("ctc_loss with one-dimensional targets")
    total, width = int(lengths.sum()), int(lengths.max(initial=0))
    if joined.shape[0] != total:
        raise RuntimeError(
            f"Expected tensor to have size {total} at dimension 0, but got size "
            f"{joined.shape[0]} for argument #2 'targets'"
        )
    if total == 0:
        return joined.new_zeros(len(lengths), 0, dtype=int64)
    place = np.cumsum(lengths)[:, None] - lengths[:, None] + np.arange(width)
    return joined[gg.tensor(np.minimum(place, total - 1), device=joined.device)]


# -------------------------------------------------------------------------------------- the forward


def _logsumexp(*terms: Tensor) -> Tensor:
    """log Σ exp, elementwise; -inf where all terms are, with the gradient 0 there."""
    top = terms[0].detach()
    for x in terms[1:]:
        top = lang.maximum(top, x.detach())
    top = lang.where(lang.eq(top, -math.inf), 0.0, top)
    total: Any = sum(lang.exp(x - top) for x in terms)
    some = lang.gt(total, 0.0)
    return lang.where(some, lang.log(lang.where(some, total, 1.0)) + top, -math.inf)


def _shifted(x: Tensor, by: int) -> Tensor:
    return lang.pad(x, (0, by), (0, -by), None, -math.inf)


@composite("CtcLossBackward0")
def _ctc(
    x: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int, zero_infinity: bool
) -> Tensor:
    """x (T, N, C), targets (N, S), lengths (N,) → (N,): the forward variables, in one scan.

    The states are the labels with blanks around; before the first frame a path stands at the first.
    """
    steps, n, _ = x.shape
    width = max(targets.shape[1], 1)
    used = gg.arange(width, device=x.device) < labels.unsqueeze(1)
    names = targets if targets.shape[1] else targets.new_zeros(n, 1)
    # What padding holds is nobody's label: it may be out of range.
    names = lang.where(used, names, blank)
    # (blank, l1, blank, l2, …, blank)
    states = lang.pad(names.unsqueeze(2), (0, 0, 1), (0, 0, 0), None, blank).reshape(n, 2 * width)
    states = lang.pad(states, (0, 0), (0, 1), None, blank)
    before = lang.pad(states, (0, 2), (0, -2), None, blank)
    skips = lang.ne(states, blank) & lang.ne(states, before)
    picked = lang.apply("gather", x, lang.expand(states, (steps, *states.shape)), axis=2)
    alive = (gg.arange(steps, device=x.device).unsqueeze(1) < frames).unsqueeze(2)
    start = lang.pad(picked.new_zeros((n, 1)), (0, 0), (0, 2 * width), None, -math.inf)

    def step(alpha: Tensor, frame: Any) -> Any:
        emitted, running = frame
        over = lang.where(skips, _shifted(alpha, 2), -math.inf)
        moved = _logsumexp(alpha, _shifted(alpha, 1), over) + emitted
        return lang.where(running, moved, alpha), ()

    alpha, _ = gg.scan(step, start, (picked, alive))
    last = (2 * labels).unsqueeze(1)
    at_blank, at_label = (
        lang.apply("gather", alpha, places, axis=1).squeeze(1)
        for places in (last, lang.maximum(last - 1, 0))
    )
    loss = -_logsumexp(at_blank, lang.where(lang.gt(labels, 0), at_label, -math.inf))
    # Rows sum to 1: this term is constant, and makes the gradient that of the logits before them.
    mass = lang.where(alive, lang.exp(x), 0.0).sum((0, 2))
    infinite = lang.eq(loss, math.inf)
    finite = lang.where(infinite, 0.0, loss + (mass - mass.detach()))
    if zero_infinity:
        return finite
    # An infinite loss has an infinite gradient.
    return finite + (mass + 1) * lang.where(infinite, math.inf, finite.detach() * 0.0)
