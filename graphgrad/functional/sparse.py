"""Look-ups whose gradient is a sparse tensor: only the rows that were read."""

from __future__ import annotations

from typing import Any

from graphgrad.autograd.function import Function
from graphgrad.tensor import Tensor
from graphgrad.tensor.sparse import SparseTensor
from graphgrad.tensor.state import state


class EmbeddingSparse(Function):
    """Rows of a table; backward, their cotangents at the indices they were read from."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, padding: int) -> Tensor:
        """The rows of ``weight`` that ``index`` names."""
        from graphgrad.functional.dense import embedding

        ctx.shape, ctx.index, ctx.padding = tuple(weight.shape), index.detach(), padding
        return embedding(index, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """One value a row that was read, the padding row's left out."""
        places = ctx.index.reshape(1, -1).long()
        values = g.reshape(-1, ctx.shape[1])
        if ctx.padding >= 0:
            kept = places[0] != ctx.padding
            places, values = places[:, kept], values[kept]
        return SparseTensor(places, values, ctx.shape), None, None


def sparse_embedding(weight: Tensor, index: Tensor, padding: int, by_frequency: bool) -> Tensor:
    """``embedding(sparse=True)`` where a gradient is wanted."""
    if by_frequency:
        raise RuntimeError(
            "embedding_backward: scale_grad_by_freq not supported with sparse gradients"
        )
    if state.trace is not None:
        raise NotImplementedError(
            "embedding: sparse gradients have a size that depends on values, which a compiled "
            "step has not: use sparse=False there, or leave the step as written"
        )
    return EmbeddingSparse.apply(weight, index.detach().clone(), padding)
