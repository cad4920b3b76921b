"""Arguments as PyTorch takes them: numbers for each dimension, dimensions, reductions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any


def spread(value: Any, n: int) -> tuple[int, ...]:
    """One number for each of ``n`` dimensions: 3 → (3, 3); (1, 2) stays."""
    if not isinstance(value, Sequence):
        return (value,) * n
    return tuple(value) * n if len(value) == 1 else tuple(value)


def spelled(x: Any) -> str:
    """A tensor's element type as PyTorch's messages spell it: ``Float``, ``ComplexDouble``."""
    if x.dtype.is_complex:
        return "ComplexDouble" if x.dtype.itemsize == 16 else "ComplexFloat"
    return x.type().split(".")[-1].removesuffix("Tensor")


def checked_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; IndexError when the tensor has no such dimension."""
    low, high = (-ndim, ndim - 1) if ndim else (-1, 0)
    if not low <= dim <= high:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{low}, {high}], but got {dim})"
        )
    return dim % ndim if ndim else 0


def resolve_reduction(reduction: str) -> str:
    """``none``, ``mean`` or ``sum``; the name ``elementwise_mean`` of old still means ``mean``."""
    if reduction == "elementwise_mean":
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.",
            stacklevel=3,
        )
        return "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def legacy_reduction(size_average: bool | None, reduce: bool | None) -> str:
    """What the two flags of old mean today (each True unless given), with PyTorch's warning."""
    if reduce is False:
        reduction = "none"
    else:
        reduction = "sum" if size_average is False else "mean"
    warnings.warn(
        "size_average and reduce args will be deprecated, "
        f"please use reduction='{reduction}' instead.",
        stacklevel=4,
    )
    return reduction
