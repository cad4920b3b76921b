"""The multivariate normal distribution with a covariance of low rank and a diagonal."""

from __future__ import annotations

import math
from collections.abc import Iterable

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.multivariate_normal import (
    batch_mahalanobis,
    half_log_det,
    solve_lower,
)
from graphgrad.distributions.utils import lazy_property


class LowRankMultivariateNormal(Distribution):
    """Covariance W Wᵀ + diag(D), W of shape (…, n, rank): costs grow with n · rank².

    By the identities of Woodbury and of determinants, everything needs the factor of the small
    matrix I + Wᵀ D⁻¹ W alone.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _derived = {"_capacitance_tril": 2}

    def __init__(
        self,
        loc: gg.Tensor,
        cov_factor: gg.Tensor,
        cov_diag: gg.Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.ndim < 2 or cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m")
        if cov_diag.ndim < 1 or cov_diag.shape[-1] != n:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {n}")
        batch = gg.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = loc.expand((*batch, n)), cov_diag.expand((*batch, n))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        super().__init__(batch, (n,), validate_args=validate_args)
        small = self._weighted(self.cov_factor) @ self.cov_factor
        identity = gg.eye(small.shape[-1], dtype=small.dtype, device=small.device)
        self._capacitance_tril = gg.linalg.cholesky(small + identity)

    def _weighted(self, factor: gg.Tensor) -> gg.Tensor:
        """Wᵀ D⁻¹."""
        return factor.mT / self.cov_diag.unsqueeze(-2)

    @property
    def mean(self) -> gg.Tensor:
        return self.loc

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> gg.Tensor:
        """The diagonal of the covariance."""
        return (self.cov_factor**2).sum(-1) + self.cov_diag

    @lazy_property
    def scale_tril(self) -> gg.Tensor:
        """The lower Cholesky factor of the covariance."""
        return gg.linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def covariance_matrix(self) -> gg.Tensor:
        """W Wᵀ + diag(D)."""
        return self.cov_factor @ self.cov_factor.mT + gg.diag_embed(self.cov_diag)

    @lazy_property
    def precision_matrix(self) -> gg.Tensor:
        """The inverse of the covariance, by Woodbury's identity."""
        half = solve_lower(self._capacitance_tril, self._weighted(self.cov_factor))
        return gg.diag_embed(self.cov_diag.reciprocal()) - half.mT @ half

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.loc.dtype, "device": self.loc.device}
        small = gg.randn((*shape[:-1], self.cov_factor.shape[-1], 1), **like)
        own = gg.randn(shape, **like)
        return self.loc + (self.cov_factor @ small).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        away = value - self.loc
        projected = (self._weighted(self.cov_factor) @ away.unsqueeze(-1)).squeeze(-1)
        own = (away**2 / self.cov_diag).sum(-1)
        distance = own - batch_mahalanobis(self._capacitance_tril, projected)
        constant = self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + distance) - self._half_log_det()

    def _half_log_det(self) -> gg.Tensor:
        return half_log_det(self._capacitance_tril) + 0.5 * self.cov_diag.log().sum(-1)

    def entropy(self) -> gg.Tensor:
        return 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi)) + self._half_log_det()
