"""The Wishart distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.chi2 import Chi2
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.multivariate_normal import (
    factor_of,
    half_log_det,
    one_matrix,
    solve_lower,
)
from graphgrad.distributions.utils import broadcast_all, lazy_property, tracing


class Wishart(ExponentialFamily):
    """The sum of ``df`` outer products of normal vectors of the given covariance.

    One of a covariance matrix, a precision matrix or a Cholesky factor is given; ``df`` is above
    the number of dimensions less one, and need not be whole.
    """

    support = constraints.positive_definite
    has_rsample = True
    _derived = {"_tril": 2}

    def __init__(
        self,
        df: Any,
        covariance_matrix: gg.Tensor | None = None,
        precision_matrix: gg.Tensor | None = None,
        scale_tril: gg.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = one_matrix(
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        (df,) = broadcast_all(df if isinstance(df, gg.Tensor) else matrix.new_tensor(df))
        batch = gg.broadcast_shapes(matrix.shape[:-2], df.shape)
        events = matrix.shape[-2:]
        self.df = df.expand(batch)
        self.__dict__[name] = matrix.expand((*batch, *events))
        self._event_shape = events
        super().__init__(batch, events, validate_args=validate_args)
        if not tracing() and bool((df <= events[0] - 1).any()):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {events[0] - 1}."
            )
        self._tril = factor_of(name, matrix).expand((*batch, *events))

    @property
    def arg_constraints(self) -> dict[str, Any]:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

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
    def _matrix_df(self) -> gg.Tensor:
        return self.df.unsqueeze(-1).unsqueeze(-1)

    @property
    def mean(self) -> gg.Tensor:
        return self._matrix_df * self.covariance_matrix

    @property
    def mode(self) -> gg.Tensor:
        factor = self._matrix_df - self.event_shape[0] - 1
        return gg.where(factor > 0, factor, float("nan")) * self.covariance_matrix

    @property
    def variance(self) -> gg.Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(0, -2, -1)
        return self._matrix_df * (v**2 + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _halves(self) -> gg.Tensor:
        """(df − i) / 2 for every dimension i, along a new last dimension."""
        steps = gg.arange(self.event_shape[0], dtype=self.df.dtype, device=self.df.device)
        return (self.df.unsqueeze(-1) - steps) / 2

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        """Bartlett's decomposition: L A Aᵀ Lᵀ, the squares on the diagonal of A chi-squared."""
        shape = self._extended_shape(sample_shape)
        squares = Chi2(2 * self._halves(), validate_args=False).rsample(sample_shape)
        below = gg.randn(shape, dtype=self.df.dtype, device=self.df.device).tril(-1)
        factor = self._tril @ (below + gg.diag_embed(squares.sqrt()))
        return factor @ factor.mT

    def _log_gamma(self) -> gg.Tensor:
        """The multivariate gamma function's logarithm at df / 2."""
        n = self.event_shape[0]
        return self._halves().lgamma().sum(-1) + n * (n - 1) / 4 * math.log(math.pi)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, df = self.event_shape[0], self.df
        factor = gg.linalg.cholesky(value)
        shape = gg.broadcast_shapes(factor.shape, self._tril.shape)
        whitened = solve_lower(self._tril.expand(shape), factor.expand(shape))
        trace = (whitened * whitened).sum((-2, -1))
        return (df - n - 1) * half_log_det(factor) - trace / 2 - self._normalizer()

    def _normalizer(self) -> gg.Tensor:
        n = self.event_shape[0]
        return self.df * (n / 2 * math.log(2) + half_log_det(self._tril)) + self._log_gamma()

    def _mean_log_det(self) -> gg.Tensor:
        """E log det X."""
        n = self.event_shape[0]
        constant = n * math.log(2) + 2 * half_log_det(self._tril)
        return self._halves().digamma().sum(-1) + constant

    def entropy(self) -> gg.Tensor:
        n, df = self.event_shape[0], self.df
        return self._normalizer() - (df - n - 1) / 2 * self._mean_log_det() + df * n / 2
