"""Cross-entropy of a linear map, as one function: the last layer of a classifier and its loss.

F.linear_cross_entropy(features, weight, labels)     # weight (C, in), or (C, *space, in)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphgrad.functional.classification import cross_entropy
from graphgrad.functional.dense import linear
from graphgrad.tensor import Tensor

_METHODS = ("auto", "aspect_ratio")


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch saves memory in ``linear_cross_entropy``; checked, and without effect here.

    The loss is one program: what it keeps for the gradient is decided when it is compiled. Second
    backward passes and gradients of gradients always work.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.batch_chunk_size is not None and self.batch_chunk_size <= 0:
            raise ValueError(
                f"batch_chunk_size must be positive int or None, got {self.batch_chunk_size}"
            )
        name, _, ratio = (self.chunking_method or "auto").partition(":")
        if name not in _METHODS or (ratio and not ratio.isdigit()):
            raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.acc_policy not in ("accurate", "balanced", "compact", "auto"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """``cross_entropy`` of input·linear_weightᵀ + linear_bias.

    input (N, in) or (in,); linear_weight (C, in), or (C, *space, in) for targets (N, *space). The
    target holds labels, or probabilities like the logits (N, C, *space).
    """
    _check(input, linear_weight, linear_bias)
    classes, *space = linear_weight.shape[:-1]
    flat = linear_weight.reshape(-1, linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, flat, bias)
    if space:
        logits = logits.reshape(input.shape[0], classes, *space)
    if ignore_index is None:
        ignore_index = -100
    elif tuple(target.shape) == tuple(logits.shape):
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {x.dim()}")
    if weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {weight.dim()}"
        )
    if x.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {x.shape[-1]} and {weight.shape[-1]}, respectively"
        )
    if weight.dim() > 2 and x.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires "
            f"batched input, (N, {x.shape[-1]}), got unbatched input with shape {tuple(x.shape)}"
        )
    if bias is not None and tuple(bias.shape) != tuple(weight.shape[:-1]):
        raise RuntimeError(
            f"expected linear_bias shape {tuple(weight.shape[:-1])}, got {tuple(bias.shape)}"
        )
