"""Tensors of random numbers: ``rand``, ``randn``, ``randint``, ``randperm``, ``multinomial``, …"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT, DType
from graphgrad.ops import Shape
from graphgrad.random.generator import Generator
from graphgrad.random.laws import draw
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function
from graphgrad.tensor.creation import from_array
from graphgrad.tensor.place import at_hand
from graphgrad.tensor.shapes import broadcast_shapes, sizes_of
from graphgrad.tensor.state import state


def _kind(dtype: Any, default: DType | None = None) -> DType:
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    return default or dtypes.get_default_dtype()


def _drawn(
    law: str, shape: Shape, dtype: DType, generator: Generator | None, device: Any
) -> Tensor:
    """Of complex numbers both parts are drawn; normal ones have a variance of 1 together."""
    if not dtype.is_complex:
        return draw(law, shape, dtype, generator=generator, device=device)
    kind = dtypes.real_of(dtype)
    pairs = draw(law, (*shape, 2), kind, generator=generator, device=device)
    return FUNCTIONS["view_as_complex"](pairs * math.sqrt(0.5) if law == "gauss" else pairs)


def _creator(name: str, law: str, what: str) -> None:
    """``rand`` and ``rand_like``, ``randn`` and ``randn_like``."""

    def make(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        generator: Generator | None = None,
        layout: Any = None,
        pin_memory: bool = False,
        **named: Any,
    ) -> Tensor:
        shape = sizes_of((tuple(named.pop("size")),) if "size" in named else size)
        if named:
            raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(named))!r}")
        out = _drawn(law, shape, _kind(dtype), generator, device)
        return out.requires_grad_() if requires_grad else out

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        generator: Generator | None = None,
        layout: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        kind = _kind(dtype, input.dtype)
        return make(
            tuple(input.shape),
            dtype=kind,
            device=input.device if device is None else device,
            requires_grad=requires_grad,
            generator=generator,
        )

    make.__name__, like.__name__ = name, f"{name}_like"
    make.__doc__ = f"{what}, of the given size."
    like.__doc__ = f"{what}, of the shape and dtype of ``input``."
    FUNCTIONS[name], FUNCTIONS[f"{name}_like"] = make, like


_creator("rand", "unit", "Uniform numbers in [0, 1)")
_creator("randn", "gauss", "Standard normal numbers")


def whole(
    low: int,
    high: int,
    shape: Sequence[int],
    dtype: DType,
    generator: Generator | None = None,
    device: Any = None,
) -> Tensor:
    """Whole numbers in [low, high), as ``dtype``."""
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    count = high - low
    if count >= 2**63:
        raise NotImplementedError(f"whole numbers over a range of {count} >= 2**63")
    law = "whole" if count <= 2**31 else "wide_whole"
    drawn = draw(law, shape, dtypes.int64, low, count, generator=generator, device=device)
    return drawn.to(dtype)


@function
def randint(
    low: Any,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Whole numbers in [low, high) or [0, low): ``randint(10, (3,))``, ``randint(2, 10, (3,))``."""
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    out = whole(
        int(low), int(high), sizes_of((tuple(size),)), _kind(dtype, dtypes.int64), generator, device
    )
    return out.requires_grad_() if requires_grad else out


@function
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, **options: Any
) -> Tensor:
    """``randint`` of the shape and dtype of ``input``."""
    low, high = (0, low) if high is None else (low, high)
    options.setdefault("device", input.device)
    return randint(low, high, input.shape, dtype=_kind(dtype, input.dtype), **options)


@function
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A random order of 0 … n - 1."""
    keys = draw("long", (n,), dtypes.int64, generator=generator, device=device)
    if keys._array is None:
        order = keys.argsort()
    else:
        places = np.argsort(keys.concrete("randperm()"), kind="stable").astype(np.int64)
        order = from_array(places, keys.device)
    out = order.to(_kind(dtype, dtypes.int64))
    return out.requires_grad_() if requires_grad else out


@function
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of the given means and deviations (numbers and a ``size``, or tensors)."""
    if not isinstance(std, Tensor) and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not tensors:
        kind, shape = _kind(dtype), () if size is None else sizes_of((tuple(size),))
        out = draw("normal", shape, kind, mean, std, generator=generator, device=device)
        return out.requires_grad_() if requires_grad else out
    shape = broadcast_shapes(*(t.shape for t in tensors))
    kind, place = _kind(dtype, tensors[0].dtype), tensors[0].device
    out = draw("gauss", shape, kind, generator=generator, device=place)
    mean, std = (v.detach() if isinstance(v, Tensor) else v for v in (mean, std))
    return out * std + mean


@both
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that ``input`` (or the number ``p``) says, else 0."""
    if p is not None:
        return input.detach().clone().bernoulli_(p, generator=generator)
    return events(input.detach(), tuple(input.shape), generator).to(input.dtype)


def events(chance: Tensor, shape: Shape, generator: Generator | None) -> Tensor:
    """True with the probabilities in ``chance``."""
    kind = chance.dtype if chance.dtype.category == FLOAT else dtypes.float32
    return draw("unit", shape, kind, generator=generator, device=chance.device) < chance


@both
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Positions drawn with the (unnormalised) weights in the last dimension of ``input``.

    Without replacement, the ``num_samples`` first arrivals of exponential clocks with these rates.
    """
    weights = input.detach()
    _check_weights(weights, num_samples, replacement)
    if not replacement:
        waits = draw(
            "exponential",
            weights.shape,
            weights.dtype,
            1.0,
            generator=generator,
            device=weights.device,
        )
        rates = weights / waits.clamp(min=float(dtypes.limits(weights.dtype).tiny))
        return rates.topk(num_samples, -1).indices
    # In float64, u·total of a 24-bit u stays below the total: no empty class past the end is drawn.
    rising = weights.to(dtypes.float64).cumsum(-1)
    shape = (*weights.shape[:-1], num_samples)
    unit = draw("unit", shape, dtypes.float32, generator=generator, device=weights.device)
    unit = unit.to(dtypes.float64)
    return FUNCTIONS["searchsorted"](rising, unit * rising[..., -1:], right=True)


def _check_weights(weights: Tensor, num_samples: int, replacement: bool) -> None:
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if weights.dtype.category != FLOAT:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for prob_dist, got: {weights.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    values = at_hand(weights)
    if values is None or state.trace is not None:
        return
    if not (np.isfinite(values) & (values >= 0)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    enough = 1 if replacement else num_samples
    if (np.count_nonzero(values, -1) < enough).any():
        raise RuntimeError(
            "invalid multinomial distribution (too few categories of positive probability)"
        )


@both
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates in ``input`` (eagerly only: NumPy's, seeded from ours)."""
    rates = input.detach().concrete("poisson()")
    words = draw("long", (4,), dtypes.int64, generator=generator, device=input.device)
    counts = np.random.default_rng(words.tolist()).poisson(rates)
    return from_array(np.asarray(counts, rates.dtype), input.device)
