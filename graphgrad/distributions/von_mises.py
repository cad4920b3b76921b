"""The von Mises distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all
from graphgrad.tensor.state import as_one

# Of Best and Fisher's proposals at least 65.7% are accepted (the least for large concentrations):
# that none of 27 is has a probability below 1e-12, so a fixed number serves, and compiles.
_PROPOSALS = 27


class VonMises(Distribution):
    """Angles in [−π, π) around ``loc``."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        """The circular variance, 1 − I₁(κ) / I₀(κ)."""
        return 1 - gg.special.i1e(self.concentration) / gg.special.i0e(self.concentration)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        with gg.no_grad():
            shape = tuple(self._extended_shape(sample_shape))
            angle = _angles(self.concentration.double(), shape)
            turned = angle + self.loc.double() + math.pi
            return (turned % (2 * math.pi) - math.pi).to(self.loc.dtype)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration
        log_bessel = gg.special.i0e(k).log() + k
        return k * (value - self.loc).cos() - math.log(2 * math.pi) - log_bessel


@as_one
def _angles(k: gg.Tensor, shape: tuple[int, ...]) -> gg.Tensor:
    """Best and Fisher 1979: rejection from a wrapped Cauchy distribution."""
    tau = 1 + (1 + 4 * k * k).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * k)
    # For small concentrations that difference is lost to rounding, and r is 1/κ + κ.
    r = gg.where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
    u, v = (gg.rand((_PROPOSALS, *shape), dtype=gg.float64, device=k.device) for _ in range(2))
    z = (math.pi * u).cos()
    f = ((1 + r * z) / (r + z)).clamp(min=-1.0, max=1.0)
    c = k * (r - f)
    # v is in [0, 1): 1 − v has a logarithm.
    accepted = (c.log() - (-v).log1p() + 1 - c >= 0) & (c > 0)
    chosen = f[-1]
    for i in reversed(range(_PROPOSALS - 1)):
        chosen = gg.where(accepted[i], f[i], chosen)
    side = gg.where(gg.rand(shape, dtype=gg.float64, device=k.device) < 0.5, -1.0, 1.0)
    return side * chosen.acos()
