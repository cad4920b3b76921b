"""What PyTorch checks before it factors a matrix, in its words."""

from __future__ import annotations

from typing import Any

from graphgrad import lang
from graphgrad.dtypes import FLOAT, bool_
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.plan import apply


class LinAlgError(RuntimeError):
    """A matrix that has no such factorisation: singular, not positive definite, no convergence."""


def expect_tensors(name: str, **operands: Any) -> None:
    for argument, x in operands.items():
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' must be Tensor, not {type(x).__name__}"
            )


def expect_matrix(name: str, A: Any, argument: str = "A") -> None:
    """At least two dimensions, of float32, float64 or their complex types."""
    expect_tensors(name, **{argument: A})
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")
    if A.dtype.category < FLOAT or A.dtype.is_half:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {A.dtype.name}"
        )


def expect_square(name: str, A: Any, argument: str = "A") -> None:
    """``expect_matrix``, with as many rows as columns."""
    expect_matrix(name, A, argument)
    n, m = A.shape[-2:]
    if n != m:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {n} by {m} "
            "matrices"
        )


def expect_same_dtype(name: str, A: Tensor, B: Tensor) -> None:
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {A.dtype.name} "
            f"and B of type {B.dtype.name} instead"
        )


def tied(value: Tensor, x: Tensor) -> Tensor:
    """A constant of the shape of ``x`` as a result of it: its gradient is 0, not missing."""
    return apply("where", lang.full(tuple(x.shape), True, bool_), value, x)
