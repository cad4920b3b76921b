"""Transforms that reshape events, or treat the parts of a dimension one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._transform import Transform
from graphgrad.distributions.utils import sum_rightmost


class ReshapeTransform(Transform):
    """Events of ``in_shape`` as events of ``out_shape``."""

    bijective = True

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0
    ) -> None:
        self.in_shape, self.out_shape = gg.Size(in_shape), gg.Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size=cache_size)

    def _key(self) -> Any:
        return self.in_shape, self.out_shape

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.reshape(self.forward_shape(x.shape))

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.reshape(self.inverse_shape(y.shape))

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return x.new_zeros(x.shape[: x.ndim - len(self.in_shape)])

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return _swapped(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        return _swapped(shape, self.out_shape, self.in_shape)


def _swapped(shape: Sequence[int], old: gg.Size, new: gg.Size) -> gg.Size:
    """``shape`` with its end, which must be ``old``, replaced by ``new``."""
    cut = len(shape) - len(old)
    if cut < 0:
        raise ValueError("Too few dimensions on input")
    if tuple(shape[cut:]) != tuple(old):
        raise ValueError(f"Shape mismatch: expected {tuple(shape[cut:])} but got {tuple(old)}")
    return gg.Size(shape[:cut]) + new


class _PartsTransform(Transform):
    """Several maps, each for its part of a dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        if cache_size:
            tseq = [t.with_cache(cache_size) for t in tseq]
        super().__init__(cache_size=cache_size)
        self.transforms, self.dim = list(tseq), dim

    @property
    def bijective(self) -> bool:
        return all(t.bijective for t in self.transforms)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        raise NotImplementedError

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        raise NotImplementedError

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        parts = self._split(x)
        return self._join([t(part) for t, part in zip(self.transforms, parts, strict=True)])

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        parts = self._split(y)
        return self._join([t.inv(part) for t, part in zip(self.transforms, parts, strict=True)])


class CatTransform(_PartsTransform):
    """Maps for parts of the given ``lengths`` (1 each by default) along ``dim``."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """The size of ``dim``."""
        return sum(self.lengths)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        if value.shape[self.dim] != self.length:
            raise ValueError(
                f"dimension {self.dim} has {value.shape[self.dim]} elements, the transforms "
                f"{self.length}"
            )
        return value.split(self.lengths, self.dim)

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        return gg.cat(list(values), self.dim)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        terms = [
            sum_rightmost(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim)
            for t, a, b in parts
        ]
        at = self.dim - x.ndim if self.dim >= 0 else self.dim
        at += self.event_dim
        # Where the dimension belongs to the event, the parts add up.
        return gg.cat(terms, at) if at < 0 else sum(terms)


class StackTransform(_PartsTransform):
    """Maps for one slice of ``dim`` each."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        if value.shape[self.dim] != len(self.transforms):
            raise ValueError(
                f"dimension {self.dim} has {value.shape[self.dim]} slices, there are "
                f"{len(self.transforms)} transforms"
            )
        return value.unbind(self.dim)

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        return gg.stack(list(values), self.dim)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        terms = [t.log_abs_det_jacobian(a, b) for t, a, b in parts]
        inner = max(t.domain.event_dim for t in self.transforms)
        # A dimension that belongs to the event has its parts added up.
        return gg.stack(terms, self.dim) if self.dim + inner >= 0 else sum(terms)
