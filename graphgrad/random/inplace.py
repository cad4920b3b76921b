"""Filling tensors with random numbers: ``x.uniform_(-1, 1)``, ``x.normal_()``, ``x.random_(10)``.

Each overwrites the tensor, draws from ``generator`` (the default one if None) and returns the
tensor. Parameters that make no distribution raise RuntimeError.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT, DType
from graphgrad.random.creation import events, whole
from graphgrad.random.generator import Generator
from graphgrad.random.laws import draw
from graphgrad.tensor.core import Tensor, method
from graphgrad.tensor.inplace import assign, check_writable


def _filled(self: Tensor, law: str, *numbers: Any, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers of a law; those of integer tensors are drawn as floats."""
    check_writable(self)
    kind = self.dtype if self.dtype.category == FLOAT else dtypes.get_default_dtype()
    drawn = draw(law, self.shape, kind, *numbers, generator=generator, device=self.device)
    return assign(self, drawn.to(self.dtype))


@method
def uniform_(
    self: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    *,
    generator: Generator | None = None,
    **named: float,
) -> Tensor:
    """Fill with uniform numbers in [a, b) (PyTorch calls the bounds ``from`` and ``to``)."""
    low, high = named.pop("from", a), named.pop("to", b)
    if named:
        raise TypeError(f"uniform_() got an unexpected keyword argument {next(iter(named))!r}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    return _filled(self, "uniform", low, high, generator=generator)


@method
def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return _filled(self, "normal", mean, std, generator=generator)


@method
def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers whose logarithm is normal."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _filled(self, "log_normal", mean, std, generator=generator)


@method
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of rate ``lambd``."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _filled(self, "exponential", lambd, generator=generator)


@method
def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with Cauchy numbers."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _filled(self, "cauchy", median, sigma, generator=generator)


@method
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials until the first success of probability ``p``."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _filled(self, "geometric", p, generator=generator)


@method
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones of probability ``p`` (a number or a tensor), else zeros."""
    if isinstance(p, Tensor):
        check_writable(self)
        return assign(self, events(p.detach(), tuple(self.shape), generator).to(self.dtype))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return _filled(self, "bernoulli", p, generator=generator)


@method
def random_(
    self: Tensor,
    low: int = 0,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    **named: int,
) -> Tensor:
    """Fill with whole numbers: in [low, high), in [0, low), or all that the type can hold."""
    low, high = named.get("from", low), named.get("to", high)
    if high is None:
        low, high = (0, low) if low else (0, _reach(self.dtype))
    check_writable(self)
    return assign(self, whole(low, high, tuple(self.shape), self.dtype, generator, self.device))


def _reach(dtype: DType) -> int:
    """One more than the largest whole number up to which the type holds every one."""
    if dtype.category == FLOAT:
        return 2 ** (dtypes.limits(dtype).nmant + 1) + 1
    return 2 if dtype is dtypes.bool_ else min(int(np.iinfo(dtype.numpy).max) + 1, 2**63 - 1)
