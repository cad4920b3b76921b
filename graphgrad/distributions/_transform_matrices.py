"""Transforms of vectors and matrices: to probabilities, to Cholesky factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._transform import Transform
from graphgrad.distributions._transform_numbers import inside
from graphgrad.functional import pad, softmax, softplus


class SoftmaxTransform(Transform):
    """y = softmax(x); not bijective, since it has one direction less. The inverse is the log."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return softmax(x, -1)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.log()

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return _checked(shape, 1)

    inverse_shape = forward_shape


def _checked(shape: Sequence[int], least: int) -> gg.Size:
    if len(shape) < least:
        raise ValueError("Too few dimensions on input")
    return gg.Size(shape)


class StickBreakingTransform(Transform):
    """n numbers as n + 1 probabilities: each takes its share of what the ones before it left."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _key(self) -> Any:
        return ()

    def _offset(self, x: gg.Tensor) -> gg.Tensor:
        """log of how many parts are still to come, so that 0 means equal parts."""
        n = x.shape[-1]
        return gg.arange(n, 0, -1, dtype=x.dtype, device=x.device).log()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        share = inside((x - self._offset(x)).sigmoid())
        left = (1 - share).cumprod(-1)
        return pad(share, [0, 1], value=1.0) * pad(left, [1, 0], value=1.0)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        part = y[..., :-1]
        left = (1 - part.cumsum(-1)).clamp(min=gg.finfo(y.dtype).tiny)
        return part.log() - left.log() + self._offset(part)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        x = x - self._offset(x)
        return (-x - softplus(-x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        return gg.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        return gg.Size((*shape[:-1], shape[-1] - 1))


class LowerCholeskyTransform(Transform):
    """The lower triangle of a matrix, its diagonal exponentiated."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.tril(-1) + gg.diag_embed(x.diagonal(0, -2, -1).exp())

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.tril(-1) + gg.diag_embed(y.diagonal(0, -2, -1).log())


class PositiveDefiniteTransform(Transform):
    """L Lᵀ for the L of ``LowerCholeskyTransform``."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return LowerCholeskyTransform().inv(gg.linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """n(n − 1)/2 numbers as the Cholesky factor of an n × n correlation matrix.

    Row by row, tanh of each number is the cosine that its column takes of what is left of the
    row's unit length (signed stick breaking).
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        eps = gg.finfo(x.dtype).eps
        cosines = _to_tril(x.tanh().clamp(min=eps - 1, max=1 - eps))
        left = (1 - cosines**2).sqrt().cumprod(-1)
        rows = cosines + gg.eye(cosines.shape[-1], dtype=x.dtype, device=x.device)
        return rows * pad(left[..., :-1], [1, 0], value=1.0)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        # What is left of each row's unit length before column j.
        left = 1 - (y * y).cumsum(-1)
        before = _from_tril(pad(left[..., :-1], [1, 0], value=1.0))
        cosines = _from_tril(y) / before.clamp(min=gg.finfo(y.dtype).tiny).sqrt()
        return (cosines.log1p() - (-cosines).log1p()) / 2

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        left = (1 - (y * y).cumsum(-1))[..., :-1]
        # Entry (i, j) is scaled by the square root of what columns before j left.
        inner = _from_tril(pad(left, [1, 0], value=1.0))
        scaled = 0.5 * inner.log().sum(-1)
        return scaled - 2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return gg.Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        n = shape[-1]
        return gg.Size((*shape[:-2], n * (n - 1) // 2))


def _from_tril(matrix: gg.Tensor) -> gg.Tensor:
    """The entries below the diagonal, row by row, as a vector."""
    rows, columns = gg.tril_indices(*matrix.shape[-2:], -1, device=matrix.device)
    return matrix[..., rows, columns]


def _to_tril(vector: gg.Tensor) -> gg.Tensor:
    """The matrix with the given entries below the diagonal, and zeros."""
    n = CorrCholeskyTransform().forward_shape(vector.shape)[-1]
    rows, columns = gg.tril_indices(n, n, -1, device=vector.device)
    flat = gg.zeros((*vector.shape[:-1], n * n), dtype=vector.dtype, device=vector.device)
    at = (rows * n + columns).expand(vector.shape)
    return flat.scatter(-1, at, vector).reshape((*vector.shape[:-1], n, n))
