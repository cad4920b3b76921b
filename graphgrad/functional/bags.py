"""Sums, means and maxima of table rows: ``embedding_bag``, without keeping the rows looked up.

F.embedding_bag(words, table, offsets, mode="sum")     # words (n,), the bags' first positions (B,)
F.embedding_bag(words, table)                          # words (B, n): the mean of each row's words
"""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int32, int64
from graphgrad.functional.dense import check_rows, renormalise, scaled_by_frequency
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite
from graphgrad.tensor.place import at_hand

_MODES = ("sum", "mean", "max")


def _bag_numbers(offsets: Tensor, n: int) -> Tensor:
    """The bag of each of ``n`` positions; empty bags share their first position with the next."""
    ones = lang.expand(lang.scalar(1, int64), tuple(offsets.shape))
    starts = lang.apply("scatter_add", offsets.new_zeros(n + 1), offsets, ones, axis=0)
    return lang.apply("cumsum", starts, axis=0)[:n] - 1


def _summed(rows: Tensor, bags: Tensor, count: int) -> Tensor:
    """Rows (n, D) added into bags (count, D)."""
    zero = rows.new_zeros((count, rows.shape[1]))
    index = lang.expand(bags.unsqueeze(1), tuple(rows.shape))
    return lang.apply("scatter_add", zero, index, rows, axis=0)


def _largest(rows: Tensor, used: Tensor, bags: Tensor, count: int) -> Tensor:
    """The maximum of each bag, 0 of an empty one; the first of equal rows takes the gradient."""
    n, width = rows.shape
    index = lang.expand(bags.unsqueeze(1), (n, width))
    frozen = lang.where(used, rows.detach(), -math.inf)
    lowest = gg.full((count, width), -math.inf, dtype=rows.dtype, device=rows.device)
    top = lowest.scatter_reduce(0, index, frozen, "amax")
    place = lang.expand(gg.arange(n, device=rows.device).unsqueeze(1), (n, width))
    hit = lang.eq(frozen, lang.apply("gather", top, index, axis=0)) & used
    first = index.new_full((count, width), n)
    first = first.scatter_reduce(0, index, lang.where(hit, place, n), "amin")
    chosen = lang.eq(lang.apply("gather", first, index, axis=0), place)
    return _summed(lang.where(chosen, rows, 0.0), bags, count)


@composite("EmbeddingBagBackward0")
def _embedding_bag(
    weight: Tensor,
    index: Tensor,
    bags: Tensor,
    scale: Tensor | None,
    count: int,
    mode: str,
    padding_idx: int,
    by_frequency: bool,
) -> Tensor:
    n, width = index.shape[0], weight.shape[1]
    picked = lang.expand(index.unsqueeze(1), (n, width))
    rows = lang.apply("gather", weight, picked, axis=0)
    if by_frequency:
        rows = scaled_by_frequency(rows, index, weight.shape[0])
    used = lang.ne(index, padding_idx).unsqueeze(1)
    if mode == "max":
        return _largest(rows, used, bags, count)
    rows = lang.where(used, rows, 0.0)
    total = _summed(rows if scale is None else rows * scale.unsqueeze(1), bags, count)
    if mode == "sum":
        return total
    sizes = _summed(lang.cast(used, weight.dtype), bags, count)
    return total / lang.maximum(sizes, 1.0)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The "sum", "mean" or "max" of each bag of rows of ``weight`` → (bags, width); 0 if empty.

    A bag is a row of a 2D ``input``; of a 1D one, what lies between one of ``offsets`` and the
    next (``include_last_offset``: the last only ends a bag). ``per_sample_weights``, shaped like
    the input, scales the rows of a sum. ``padding_idx`` is no member of any bag.
    """
    _check_mode(mode, input, per_sample_weights, scale_grad_by_freq, sparse)
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        count = input.shape[0]
        bags = gg.arange(count, device=input.device).unsqueeze(1).expand(*input.shape).reshape(-1)
    elif input.dim() == 1:
        count, bags = _listed_bags(input, offsets, include_last_offset)
    else:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, "
            f"but got {padding_idx}"
        )
    index = input.reshape(-1).long()
    check_rows(index, rows)
    if max_norm is not None:
        renormalise(weight, index, max_norm, norm_type)
    scale = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    padding = -1 if padding_idx is None else padding_idx % rows
    return _embedding_bag(weight, index, bags, scale, count, mode, padding, scale_grad_by_freq)


def _check_mode(
    mode: str, input: Tensor, scale: Tensor | None, by_frequency: bool, sparse: bool
) -> None:
    if mode not in _MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if input.dtype not in (int64, int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {input.type()} instead (while checking arguments for "
            "embedding_bag)"
        )
    if sparse:
        raise NotImplementedError(
            "embedding_bag: the gradient of the table is dense, not sparse: use sparse=False"
        )
    if mode == "max" and by_frequency:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if scale is None:
        return
    if tuple(scale.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({scale.size()}) is not None, then it must have "
            f"the same shape as the input ({input.size()})"
        )
    if mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights is only supported for mode='sum' "
            f"(got mode={mode!r})"
        )


def _listed_bags(input: Tensor, offsets: Any, include_last: bool) -> tuple[int, Tensor]:
    """How many bags, and the bag of each position."""
    if not isinstance(offsets, Tensor) or offsets.dim() != 1:
        got = f"Tensor of dimension {offsets.dim()}" if isinstance(offsets, Tensor) else offsets
        raise ValueError(f"offsets has to be a 1D Tensor but got {got}")
    n, values = input.shape[0], at_hand(offsets)
    if values is not None and values.size:
        if values[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {values[0]}"
            )
        if values[-1] > n:
            raise RuntimeError(
                f"offsets[-1] can not be greater than input's length {n} but got offsets[-1] of "
                f"{values[-1]}"
            )
        if (values[1:] < values[:-1]).any():
            raise RuntimeError("offsets have to be in ascending order")
    starts = offsets.long()
    # What the last offset ends is no bag: positions from it on do not exist.
    count = starts.shape[0] - include_last
    bags = _bag_numbers(starts, n)
    return count, lang.minimum(bags, count - 1) if include_last and count else bags
