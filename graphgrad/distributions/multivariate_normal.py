"""The multivariate normal distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import lazy_property


def solve_lower(lower: gg.Tensor, rhs: gg.Tensor) -> gg.Tensor:
    """X with lower·X = rhs."""
    return gg.linalg.solve_triangular(lower, rhs, upper=False)


def batch_mahalanobis(lower: gg.Tensor, diff: gg.Tensor) -> gg.Tensor:
    """diffᵀ (L Lᵀ)⁻¹ diff of vectors (…, batch, n), for L of shape (batch, n, n).

    Samples, the dimensions before the batch's, are columns of one right-hand side.
    """
    batch, n = tuple(lower.shape[:-2]), lower.shape[-1]
    whole = gg.broadcast_shapes((*batch, n), diff.shape)
    samples = whole[: len(whole) - len(batch) - 1]
    columns = diff.expand(whole).reshape((-1, *batch, n)).movedim(0, -1)
    solved = solve_lower(lower, columns)
    return (solved * solved).sum(-2).movedim(-1, 0).reshape((*samples, *batch))


def half_log_det(lower: gg.Tensor) -> gg.Tensor:
    """log det L."""
    return lower.diagonal(0, -2, -1).log().sum(-1)


def precision_to_scale_tril(precision: gg.Tensor) -> gg.Tensor:
    """The Cholesky factor of the inverse: P with both orders reversed is R Rᵀ, L = (flip R)⁻ᵀ."""
    reversed_factor = gg.linalg.cholesky(precision.flip((-2, -1)))
    inverse_tril = reversed_factor.flip((-2, -1)).mT
    identity = gg.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return solve_lower(inverse_tril, identity.expand(precision.shape))


def one_matrix(**named: gg.Tensor | None) -> tuple[str, gg.Tensor]:
    """The name and value of the one matrix that was given."""
    given = {name: matrix for name, matrix in named.items() if matrix is not None}
    if len(given) != 1:
        raise ValueError(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    ((name, matrix),) = given.items()
    if matrix.ndim < 2:
        raise ValueError(
            f"{name} must be at least two-dimensional, with optional leading batch dimensions"
        )
    return name, matrix


def factor_of(name: str, matrix: gg.Tensor) -> gg.Tensor:
    """The Cholesky factor of the covariance that a parameter stands for."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return gg.linalg.cholesky(matrix)
    return precision_to_scale_tril(matrix)


class MultivariateNormal(Distribution):
    """Mean ``loc`` and one of a covariance matrix, a precision matrix, or a Cholesky factor."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _derived = {"_tril": 2}

    def __init__(
        self,
        loc: gg.Tensor,
        covariance_matrix: gg.Tensor | None = None,
        precision_matrix: gg.Tensor | None = None,
        scale_tril: gg.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = one_matrix(
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        batch = gg.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand((*batch, loc.shape[-1]))
        self.__dict__[name] = matrix.expand((*batch, *matrix.shape[-2:]))
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)
        self._tril = factor_of(name, matrix).expand((*batch, *matrix.shape[-2:]))

    @lazy_property
    def scale_tril(self) -> gg.Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._tril

    @lazy_property
    def covariance_matrix(self) -> gg.Tensor:
        """L Lᵀ."""
        return self._tril @ self._tril.mT

    @lazy_property
    def precision_matrix(self) -> gg.Tensor:
        """The inverse of the covariance."""
        identity = gg.eye(self._tril.shape[-1], dtype=self._tril.dtype, device=self._tril.device)
        inverse = solve_lower(self._tril, identity.expand(self._tril.shape))
        return inverse.mT @ inverse

    @property
    def mean(self) -> gg.Tensor:
        return self.loc

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        return (self._tril**2).sum(-1)

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        standard = gg.randn(
            self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
        )
        return self.loc + (self._tril @ standard.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = batch_mahalanobis(self._tril, value - self.loc)
        constant = self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + distance) - half_log_det(self._tril)

    def entropy(self) -> gg.Tensor:
        return 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi)) + half_log_det(self._tril)
