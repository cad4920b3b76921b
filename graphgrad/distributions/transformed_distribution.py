"""A distribution of transformed values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.transforms import ComposeTransform, Transform
from graphgrad.distributions.utils import sum_rightmost


class TransformedDistribution(Distribution):
    """What ``transforms``, one after the other, make of values of ``base_distribution``."""

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        self.transforms = _listed(transforms)
        base = base_distribution
        base_shape = base.batch_shape + base.event_shape
        transform = ComposeTransform(self.transforms)
        least = transform.domain.event_dim
        if len(base_shape) < least:
            raise ValueError(
                "base_distribution needs to have shape with size at least "
                f"{least}, but got {base_shape}."
            )
        forward_shape = transform.forward_shape(base_shape)
        base_shape = transform.inverse_shape(forward_shape)
        cut = len(base_shape) - len(base.event_shape)
        if base_shape[:cut] != base.batch_shape:
            base = base.expand(base_shape[:cut])
        missing = transform.domain.event_dim - len(base.event_shape)
        self.base_dist = Independent(base, missing) if missing > 0 else base
        # Event dimensions of the base that the transforms do not see are the result's too.
        change = transform.codomain.event_dim - transform.domain.event_dim
        event_dim = max(transform.codomain.event_dim, len(self.base_dist.event_shape) + change)
        cut = len(forward_shape) - event_dim
        super().__init__(forward_shape[:cut], forward_shape[cut:], validate_args=validate_args)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        batch = gg.Size(batch_shape)
        shape = ComposeTransform(self.transforms).inverse_shape(batch + self.event_shape)
        base = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        return self._spread(batch, {"base_dist": base}, _instance)

    @property
    def has_rsample(self) -> bool:
        """As the base's."""
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        support = self.transforms[-1].codomain
        missing = len(self.event_shape) - support.event_dim
        return constraints.independent(support, missing) if missing > 0 else support

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        with gg.no_grad():
            x = self.base_dist.sample(sample_shape)
            for transform in self.transforms:
                x = transform(x)
            return x

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        x = self.base_dist.rsample(sample_shape)
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        """The base's at the value before the transforms, less the volume they stretch."""
        if self._validate_args:
            self._validate_sample(value)
        event_dim, total, y = len(self.event_shape), 0.0, value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            volume = transform.log_abs_det_jacobian(x, y)
            total = total - sum_rightmost(volume, event_dim - transform.domain.event_dim)
            y = x
        base = self.base_dist.log_prob(y)
        return total + sum_rightmost(base, event_dim - len(self.base_dist.event_shape))

    def _monotonic(self, value: gg.Tensor) -> gg.Tensor:
        """Probabilities up to a value, before and after decreasing transforms."""
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        if isinstance(sign, int) and sign == 1:
            return value
        return sign * (value - 0.5) + 0.5

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        if self._validate_args:
            self.base_dist._validate_sample(value)
        return self._monotonic(self.base_dist.cdf(value))

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        value = self.base_dist.icdf(self._monotonic(value))
        for transform in self.transforms:
            value = transform(value)
        return value


def _listed(transforms: Any) -> list[Transform]:
    listed = [transforms] if isinstance(transforms, Transform) else list(transforms)
    if not all(isinstance(t, Transform) for t in listed):
        raise ValueError(
            f"transforms must be a Transform or a list of Transforms, but was {transforms}"
        )
    return listed
