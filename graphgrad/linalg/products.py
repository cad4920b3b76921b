"""Products by their names in ``torch.linalg``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphgrad.dtypes import FLOAT, int64
from graphgrad.linalg.errors import expect_tensors
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.products import chain_matmul
from graphgrad.tensor.products import cross as _cross
from graphgrad.tensor.shapes import axis_of
from graphgrad.tensor.shapes import diagonal as _diagonal


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3; other dimensions broadcast."""
    expect_tensors("linalg.cross", input=input, other=other)
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = axis_of(dim, input.ndim)
    if input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[axis]} and "
            f"{other.shape[axis]}"
        )
    shape = FUNCTIONS["broadcast_shapes"](input.shape, other.shape)
    return _cross(input.expand(shape), other.expand(shape), axis)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Inner products along ``dim``, the first operand conjugated."""
    return (FUNCTIONS["conj"](x) * y).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices."""
    return _diagonal(A, offset, dim1, dim2)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices; the first and the last may be vectors."""
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    first, last = tensors[0], tensors[-1]
    row, column = first.ndim == 1, last.ndim == 1
    matrices = [
        first.unsqueeze(0) if row else first,
        *tensors[1:-1],
        last.unsqueeze(1) if column else last,
    ]
    out = chain_matmul(*matrices)
    out = out.squeeze(0) if row else out
    return out.squeeze(-1) if column else out


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Powers 0, 1, …, N - 1 of the elements, one row for each."""
    expect_tensors("linalg.vander", x=x)
    x = x if x.ndim else x.unsqueeze(0)
    n = x.shape[-1] if N is None else N
    if n <= 1 and N is not None:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {N}")
    if x.dtype.category < FLOAT:
        x = x.to(int64)
    ones = x.new_ones((*x.shape, 1))
    if n < 2:
        return ones
    powers = x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)
    return FUNCTIONS["cat"]([ones, powers], -1)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The product of vectors, matrices or broadcast batches of matrices, as ``@``."""
    expect_tensors("linalg.matmul", input=input, other=other)
    return FUNCTIONS["matmul"](input, other)


def legacy_vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Any:
    """``torch.vander``: the highest power first, unless ``increasing``."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else N
    if n == 0:
        return x.new_zeros((x.shape[0], 0))
    powers = vander(x, n) if n > 1 else x.new_ones((x.shape[0], 1))
    return powers if increasing else powers.flip(-1)
