"""Random numbers: generators, seeds, and the tensors drawn from them.

A generator is a seed and a counter, held in an int64[2] tensor. The bits are a pure function of the two,
so compiled and eager programs draw the same numbers, and inside a trace the counter is just another
tensor that the program reads and writes.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method, wrap
from graphgrad.tensor.creation import from_array
from graphgrad.tensor.inplace import assign
from graphgrad.tensor.plan import apply
from graphgrad.tensor.shapes import sizes_of
from graphgrad.tensor.state import no_grad, state

_UNIT = 2.0**-24  # a float32 in [0, 1) has 24 random bits


class Generator:
    """A stream of random numbers: ``Generator().manual_seed(0)``."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self.state = wrap(np.array([0, 0], np.int64))
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to ``seed``."""
        self.state._array[:] = (int(seed) & 0x7FFFFFFFFFFFFFFF, 0)
        self.state._storage.version += 1
        return self

    def seed(self) -> int:
        """Start an arbitrary stream; returns its seed."""
        value = int.from_bytes(os.urandom(6), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.state._array[0])

    def get_state(self) -> Tensor:
        """Where in which stream this generator is."""
        return self.state.clone()

    def set_state(self, new_state: Tensor) -> None:
        """Continue where ``get_state`` was taken."""
        self.state._array[:] = new_state._array

    def bits(self, shape: tuple[int, ...], words: int = 1) -> list[Tensor]:
        """``words`` (1 or 2) uint32 tensors; the counter moves on."""
        with no_grad():
            drawn = [
                apply("random_bits", self.state, shape=tuple(shape), word=w) for w in range(words)
            ]
            assign(self.state, self.state + _STEP)
        return drawn


# Every draw takes one step of the counter's high word, whatever its size.
_STEP = wrap(np.array([0, 1], np.int64))
default_generator = Generator()
default_generator.seed()


@function
def manual_seed(seed: int) -> Generator:
    """Seed the default generator; runs repeat."""
    return default_generator.manual_seed(seed)


@function
def seed() -> int:
    """Seed the default generator arbitrarily; returns the seed."""
    return default_generator.seed()


@function
def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


@function
def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


@function
def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


# -------------------------------------------------------------------------------------- distributions


def uniform_bits(bits: Tensor, dtype: DType) -> Tensor:
    """uint32 words as floats in [0, 1)."""
    kind = dtype if dtype.itemsize > 4 else dtypes.float32
    # int32 holds 24 bits exactly, and converts faster than int64.
    top = apply("shift_right", bits, FUNCTIONS["full"]((), 8, dtype=dtypes.uint32))
    unit = top.to(dtypes.int32).to(kind) * _UNIT
    return unit if kind is dtype else unit.to(dtype)


def uniform(shape: tuple[int, ...], dtype: DType, generator: Generator | None) -> Tensor:
    """Uniform in [0, 1)."""
    (bits,) = (generator or default_generator).bits(shape)
    return uniform_bits(bits, dtype)


def gaussian(shape: tuple[int, ...], dtype: DType, generator: Generator | None) -> Tensor:
    """Standard normal, by Box and Muller: sqrt(-2 ln u) cos(2πv), u in (0, 1]."""
    kind = dtype if dtype.itemsize > 4 else dtypes.float32
    first, second = (generator or default_generator).bits(shape, 2)
    radius = ((1.0 - uniform_bits(first, kind)).log() * -2.0).sqrt()
    drawn = radius * (uniform_bits(second, kind) * (2 * math.pi)).cos()
    return drawn if kind is dtype else drawn.to(dtype)


def whole(low: int, high: int, shape: tuple[int, ...], dtype: DType, g: Generator | None) -> Tensor:
    """Whole numbers in [low, high)."""
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    (bits,) = (g or default_generator).bits(shape)
    return (bits.to(dtypes.int64) % (high - low) + low).to(dtype)


def _drawing(name: str, draw: Any) -> None:
    """``rand`` and ``rand_like``, ``randn`` and ``randn_like``."""

    def make(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        generator: Generator | None = None,
        **other: Any,
    ) -> Tensor:
        shape = sizes_of(tuple(other["size"]) if "size" in other else size)
        kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
        t = draw(shape, kind, generator)
        return t.requires_grad_() if requires_grad else t

    def like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
        t = draw(tuple(input.shape), dtype or input.dtype, None)
        return t.requires_grad_() if requires_grad else t

    make.__name__, like.__name__ = name, f"{name}_like"
    make.__doc__ = like.__doc__ = draw.__doc__
    FUNCTIONS[name], FUNCTIONS[f"{name}_like"] = make, like


_drawing("rand", uniform)
_drawing("randn", gaussian)


@function
def randint(
    low: Any,
    high: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """Whole numbers in [low, high), or [0, low): ``randint(10, (3,))``, ``randint(2, 10, (3,))``."""
    if size is None:
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.int64
    return whole(int(low), int(high), sizes_of((tuple(size),)), kind, generator)


@function
def randint_like(input: Tensor, low: int, high: int | None = None, **options: Any) -> Tensor:
    """``randint`` of the shape and dtype of ``input``."""
    low, high = (0, low) if high is None else (low, high)
    return whole(low, high, tuple(input.shape), options.get("dtype") or input.dtype, None)


@function
def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, **_: Any) -> Tensor:
    """A random order of 0 … n - 1."""
    (bits,) = (generator or default_generator).bits((n,))
    if state.trace is not None:
        return bits.to(dtypes.int64).argsort()
    order = np.argsort(bits._array, kind="stable").astype(np.int64)
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.int64
    return from_array(order.astype(kind.numpy))


@function
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, **_: Any
) -> Tensor:
    """Normal numbers of the given mean and standard deviation (numbers or tensors)."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        shape, kind = tuple(like.shape), like.dtype
        if isinstance(mean, Tensor) and isinstance(std, Tensor):
            from graphgrad.tensor.shapes import broadcast_shapes

            shape = tuple(broadcast_shapes(mean.shape, std.shape))
    else:
        shape, kind = sizes_of((tuple(size),)), dtypes.get_default_dtype()
    return gaussian(shape, kind, generator) * std + mean


@both
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that ``input`` (or ``p``) says, else 0."""
    chance = input.detach() if p is None else p
    drawn = uniform(tuple(input.shape), dtypes.float32, generator)
    return (drawn < chance).to(input.dtype)


@function
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates in ``input`` (eagerly only)."""
    return from_array(_numpy(generator).poisson(input.numpy()).astype(input._array.dtype))


@both
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with the (unnormalised) weights in ``input``, row by row (eagerly only)."""
    weights = np.atleast_2d(input.detach().numpy().astype(np.float64))
    if not replacement and (np.count_nonzero(weights, 1) < num_samples).any():
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    source = _numpy(generator)
    rows = [
        source.choice(len(w), num_samples, replacement, w / w.sum()).astype(np.int64) for w in weights
    ]
    return from_array(np.stack(rows) if input.ndim > 1 else rows[0])


def _numpy(generator: Generator | None) -> np.random.Generator:
    """NumPy's own sampler, seeded from ours, for distributions with data-dependent work."""
    (bits,) = (generator or default_generator).bits((4,))
    return np.random.default_rng(bits.numpy().astype(np.uint64).tolist())


# ------------------------------------------------------------------------------------------- in place


def _filled(self: Tensor, drawn: Tensor) -> Tensor:
    return assign(self, drawn if drawn.dtype is self.dtype else drawn.to(self.dtype))


@method
def uniform_(
    self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None, **named: float
) -> Tensor:
    """Fill with uniform numbers in [a, b)."""
    low, high = named.get("from", a), named.get("to", b)
    return _filled(self, uniform(tuple(self.shape), self.dtype, generator) * (high - low) + low)


@method
def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    return _filled(self, gaussian(tuple(self.shape), self.dtype, generator) * std + mean)


@method
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones of probability ``p``, else zeros."""
    return _filled(self, uniform(tuple(self.shape), dtypes.float32, generator) < p)


@method
def random_(
    self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fill with whole numbers: in [low, high), in [0, low), or over the whole range of the type."""
    if high is None:
        low, high = (0, low) if low else (0, _reach(self.dtype))
    return _filled(self, whole(low, high, tuple(self.shape), dtypes.int64, generator))


def _reach(dtype: DType) -> int:
    if dtype.is_floating_point:
        return 2 ** (np.finfo(dtype.numpy).nmant + 1)
    return 2 if dtype is dtypes.bool_ else min(int(np.iinfo(dtype.numpy).max), 2**32)


@method
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of rate ``lambd``."""
    u = uniform(tuple(self.shape), self.dtype, generator)
    return _filled(self, (1.0 - u).log() * (-1 / lambd))


@method
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, **_: Any) -> Tensor:
    """Fill with Cauchy numbers."""
    u = uniform(tuple(self.shape), self.dtype, None)
    return _filled(self, ((u - 0.5) * math.pi).tan() * sigma + median)


@method
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, **_: Any) -> Tensor:
    """Fill with numbers whose logarithm is normal."""
    return _filled(self, (gaussian(tuple(self.shape), self.dtype, None) * std + mean).exp())


@method
def geometric_(self: Tensor, p: float, **_: Any) -> Tensor:
    """Fill with the number of trials until the first success of probability ``p``."""
    u = uniform(tuple(self.shape), self.dtype, None)
    return _filled(self, ((1.0 - u).log() / math.log(1 - p)).ceil())

