"""The distribution of Lewandowski, Kurowicka and Joe over correlation matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all


class LKJCholesky(Distribution):
    """Cholesky factors L of ``dim`` × ``dim`` correlation matrices; density ∝ det(L Lᵀ)^(c − 1).

    Source: Lewandowski, Kurowicka and Joe 2009, "Generating random correlation matrices based on
    vines and extended onion method".
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        """The onion method: each row is a direction, and a beta distributed squared length."""
        with gg.no_grad():
            shape = self._extended_shape(sample_shape)
            c, n = self.concentration.unsqueeze(-1), self.dim
            # Row i, from 1, has i entries before the diagonal; row 0 is (1, 0, …).
            before = gg.arange(1, n, dtype=c.dtype, device=c.device)
            lengths = Beta(before / 2, c + (n - 1 - before) / 2, validate_args=False)
            squares = lengths.sample(sample_shape).unsqueeze(-1)
            below = gg.randn(shape, dtype=c.dtype, device=c.device).tril(-1)[..., 1:, :]
            directions = below / (below * below).sum(-1, True).sqrt()
            first = gg.zeros((*shape[:-2], 1, n), dtype=c.dtype, device=c.device)
            rows = gg.cat([first, squares.sqrt() * directions], -2)
            tiny = gg.finfo(c.dtype).tiny
            return rows + gg.diag_embed((1 - (rows * rows).sum(-1)).clamp(min=tiny).sqrt())

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, c = self.dim, self.concentration
        before = gg.arange(1, n, dtype=c.dtype, device=c.device)
        # det(L Lᵀ)^(c − 1) times the volume change from L to L Lᵀ, a power of each diagonal entry.
        powers = 2 * c.unsqueeze(-1) + (n - 3 - before)
        shaped = (powers * value.diagonal(0, -2, -1)[..., 1:].log()).sum(-1)
        top = c + (n - 1) / 2
        volume = (n - 1) / 2 * math.log(math.pi) - (n - 1) * top.lgamma()
        return shaped - (volume + gg.special.multigammaln(top - 0.5, n - 1))
