"""Attention (Vaswani et al. 2017).

F.scaled_dot_product_attention(q, k, v, is_causal=True)      # (…, L, E), (…, S, E), (…, S, V)
"""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import bool_, int32
from graphgrad.functional.dense import linear
from graphgrad.functional.dropping import dropout
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite


@composite("ScaledDotProductAttentionBackward0")
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    mask: Tensor | None,
    causal: bool,
    scale: float,
) -> Tensor:
    """softmax(q·kᵀ·scale + mask)·v; without ``value`` the weights themselves."""
    # Scaled as they are read by what follows: scaling queries would be a pass of its own.
    scores = (query @ key.transpose(-2, -1)) * scale
    if causal:
        shape = (query.shape[-2], key.shape[-2])
        row, column = (lang.iota(shape, axis, int32) for axis in (0, 1))
        scores = lang.where(lang.ge(row, column), scores, -math.inf)
    if mask is not None and mask.dtype is bool_:
        scores = lang.where(mask, scores, -math.inf)
    elif mask is not None:
        scores = scores + mask
    weights = _safe_softmax(scores)
    return weights if value is None else weights @ value


def _safe_softmax(scores: Tensor) -> Tensor:
    """Softmax over the last dimension that is 0 where everything is masked."""
    top = scores.detach().amax(-1, keepdim=True)
    e = lang.exp(scores - lang.where(lang.eq(top, -math.inf), 0.0, top))
    total = e.sum(-1, keepdim=True)
    return e / lang.where(lang.eq(total, 0.0), 1.0, total)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q·kᵀ·scale + mask)·v, scale 1/√E unless given.

    A boolean mask is True where a query may attend, any other is added to the scores; ``is_causal``
    lets query i see keys up to i. ``enable_gqa``: fewer heads of keys and values than of queries.
    """
    if attn_mask is not None and is_causal:
        raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: query, key and value need at least 2 dimensions, got "
            f"{query.dim()}, {key.dim()} and {value.dim()}"
        )
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(repeats, -3) for x in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    if dropout_p == 0.0:
        return _attention(query, key, value, attn_mask, is_causal, factor)
    weights = _attention(query, key, None, attn_mask, is_causal, factor)
    return dropout(weights, dropout_p) @ value


# ------------------------------------------------------------------------------------ several heads


def _additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask to add: -∞ where a boolean one is True (PyTorch's multi-head convention)."""
    if mask is None or mask.dtype is not bool_:
        return mask
    return gg.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -math.inf)


def _merged_mask(
    attn_mask: Tensor | None, padding: Tensor | None, query: Tensor, heads: int
) -> Tensor | None:
    """Both masks as one (N, heads or 1, L or 1, S)."""
    n = query.shape[1]
    attn_mask, padding = _additive(attn_mask, query), _additive(padding, query)
    if attn_mask is not None:
        shape = (1, 1) if attn_mask.dim() == 2 else (n, heads)
        attn_mask = attn_mask.reshape(*shape, *attn_mask.shape[-2:])
    if padding is None:
        return attn_mask
    padding = padding.reshape(n, 1, 1, -1)
    return padding if attn_mask is None else attn_mask + padding


def _projections(
    tensors: tuple[Tensor, Tensor, Tensor], weights: Any, bias: Tensor | None
) -> list[Tensor]:
    """Queries, keys and values; ``weights`` is one stacked matrix or three."""
    width = tensors[0].shape[-1]
    parts = weights.split(width) if isinstance(weights, Tensor) else weights
    biases = [None] * 3 if bias is None else bias.split(width)
    return [linear(x, w, b) for x, w, b in zip(tensors, parts, biases, strict=True)]


def _extended(x: Tensor, extra: Tensor | None, zero: bool) -> Tensor:
    """One more key (or value) each: a learned one, and one of zeros."""
    if extra is not None:
        x = gg.cat([x, extra.expand(1, x.shape[1], x.shape[2])])
    return gg.cat([x, gg.zeros(1, *x.shape[1:], dtype=x.dtype, device=x.device)]) if zero else x


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention over ``num_heads`` slices of the width: (L, N, E) → (L, N, E), and the weights.

    Boolean masks are True where attention is *not* allowed. Unbatched inputs are (L, E).
    """
    if static_k is not None or static_v is not None:
        raise NotImplementedError("static_k and static_v are not supported")
    if query.shape[-1] != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {query.shape[-1]}"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    batched = query.dim() == 3
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = separate if use_separate_proj_weight else in_proj_weight
    q, k, v = _projections((query, key, value), weights, in_proj_bias)
    k, v = _extended(k, bias_k, add_zero_attn), _extended(v, bias_v, add_zero_attn)
    extra = k.shape[0] - key.shape[0]
    mask = _merged_mask(attn_mask, key_padding_mask, q, num_heads)
    if mask is not None and extra:
        mask = gg.cat(
            [mask, gg.zeros(*mask.shape[:-1], extra, dtype=mask.dtype, device=mask.device)], -1
        )
    rate = dropout_p if training else 0.0
    out, attention = _by_heads((q, k, v), num_heads, mask, rate, need_weights)
    out = linear(out, out_proj_weight, out_proj_bias)
    if attention is not None and average_attn_weights:
        attention = attention.mean(1)
    if not batched:
        out = out.squeeze(1)
        attention = None if attention is None else attention.squeeze(0)
    return out, attention


def _by_heads(
    projected: tuple[Tensor, Tensor, Tensor],
    heads: int,
    mask: Tensor | None,
    rate: float,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """(L, N, E) each → attention output (L, N, E), and weights (N, heads, L, S) if wanted."""
    split = (x.reshape(x.shape[0], x.shape[1], heads, -1).permute(1, 2, 0, 3) for x in projected)
    q, k, v = split
    if need_weights:
        weights = dropout(_attention(q, k, None, mask, False, 1 / math.sqrt(q.shape[-1])), rate)
        out = weights @ v
    else:
        weights, out = None, scaled_dot_product_attention(q, k, v, mask, rate)
    n, _, length, width = out.shape
    return out.permute(2, 0, 1, 3).reshape(length, n, heads * width), weights
