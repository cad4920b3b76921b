"""Attention as a layer: ``MultiheadAttention(embed_dim, num_heads)``."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.nn import init
from graphgrad.nn.modules.linear import Linear
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """The output projection's class, named so that reprs are PyTorch's."""


class MultiheadAttention(Module):
    """Attention over ``num_heads`` slices of the width; inputs (L, N, E), (L, E) or batch first."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.batch_first, self.head_dim = batch_first, embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        made = {"device": device, "dtype": dtype}
        for name, shape in self._weight_shapes().items():
            value = None if shape is None else Parameter(gg.empty(shape, **made))
            self.register_parameter(name, value)
        value = Parameter(gg.empty(3 * embed_dim, **made)) if bias else None
        self.register_parameter("in_proj_bias", value)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, **made)
        for name in ("bias_k", "bias_v"):
            value = Parameter(gg.empty(1, 1, embed_dim, **made)) if add_bias_kv else None
            self.register_parameter(name, value)
        self.add_zero_attn = add_zero_attn
        self.reset_parameters()

    def _weight_shapes(self) -> dict[str, tuple[int, int] | None]:
        e, together = self.embed_dim, self._qkv_same_embed_dim
        separate = {"q": e, "k": self.kdim, "v": self.vdim}
        shapes: dict[str, tuple[int, int] | None] = {
            f"{name}_proj_weight": None if together else (e, width)
            for name, width in separate.items()
        }
        return shapes | {"in_proj_weight": (3 * e, e) if together else None}

    def reset_parameters(self) -> None:
        """Projections from Glorot's uniform distribution, biases 0."""
        for name in self._weight_shapes():
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and the attention weights (N, L, S) if they are wanted."""
        swap = self.batch_first and query.dim() == 3
        tensors = [x.transpose(0, 1) if swap else x for x in (query, key, value)]
        out, weights = F.multi_head_attention_forward(
            *tensors,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            not self._qkv_same_embed_dim,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (out.transpose(0, 1) if swap else out), weights
