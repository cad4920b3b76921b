"""Random numbers: generators, seeds, and tensors drawn from them.

    gg.manual_seed(0); gg.rand(2, 3); gg.randn(5); x.uniform_(-1, 1); gg.randperm(10)

A generator is a seed and a counter of draws, held in an int64[2] tensor. Element i of a draw is a
pure function of (seed, counter, i), Philox-2x32, so that eager and compiled programs draw the same
numbers; inside a trace the counter is a tensor that the program reads and writes like any other.

Each distribution is written once, as graph code in ``LAWS``: eagerly it is a program that is kept
for its shape, in a trace it is inlined.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphgrad import device as devices
from graphgrad import dtypes, ir, lang
from graphgrad.dtypes import FLOAT, DType
from graphgrad.ir import Graph, Node
from graphgrad.ops import Shape, size_of
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method, tracer, wrap
from graphgrad.tensor.inplace import assign, check_writable
from graphgrad.tensor.programs import Promoted, Steps
from graphgrad.tensor.shapes import broadcast_shapes, sizes_of
from graphgrad.tensor.state import state

# Fewer elements are drawn before a kernel for them would be compiled.
_SMALL = 1024
_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


class Generator:
    """A stream of random numbers: ``Generator().manual_seed(0)``."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = devices.device(device)
        self.state = wrap(np.zeros(2, np.int64))
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to ``seed``, any 64-bit integer."""
        whole = int(seed) & 0xFFFFFFFFFFFFFFFF
        # Draws are keyed by the seed's low word; the high word chooses where the counter starts.
        start = (whole >> 32) * _GOLDEN & _MASK
        self._set(np.array([whole, start], np.uint64).view(np.int64))
        return self

    def seed(self) -> int:
        """Start an arbitrary stream; returns its seed."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.state.concrete("initial_seed()")[0]) & 0xFFFFFFFFFFFFFFFF

    def get_state(self) -> Tensor:
        """Where in which stream this generator is."""
        return self.state.clone()

    def set_state(self, new_state: Tensor) -> None:
        """Continue where ``get_state`` was taken."""
        if state.trace is not None:
            state.trace.write(self.state, state.trace.node(new_state))
        else:
            self._set(new_state.concrete("set_state()"))

    def _set(self, values: np.ndarray) -> None:
        if state.trace is not None:
            state.trace.write(self.state, lang.constant(values))
        else:
            self.state._array[:] = values
            self.state._storage.version += 1

    def advance(self) -> Node | np.ndarray:
        """The state of the next draw (a node inside a trace); the counter moves on by one."""
        trace = state.trace
        if trace is not None:
            now = trace.node(self.state)
            trace.write(self.state, lang.add(now, lang.constant(_STEP)))
            return now
        now = self.state._array.copy()
        self.state._array[1] += 1
        self.state._storage.version += 1
        return now


_STEP = np.array([0, 1], np.int64)
default_generator = Generator()
default_generator.seed()


@function
def manual_seed(seed: int) -> Generator:
    """Seed the default generator, so that runs repeat."""
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


@contextlib.contextmanager
def fork_rng(devices: Any = (), enabled: bool = True, **_: Any) -> Iterator[None]:
    """Leave the default generator, after the block, as it was before."""
    before = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(before)


# ----------------------------------------------------------------------------- laws, as graph code


def _word(g: Node, shape: Shape, word: int) -> Node:
    return lang.apply("random_bits", g, shape=shape, word=word)


def _top(bits: Node, count: int) -> Node:
    """The ``count`` (< 32) highest bits, as int32: the integer that converts fastest."""
    moved = lang.apply("shift_right", bits, lang.scalar(32 - count, dtypes.uint32))
    return lang.cast(moved, dtypes.int32)


def _unit(g: Node, shape: Shape, dtype: DType, word: int = 0) -> Node:
    """Uniform in [0, 1), with as many random bits as the type's numbers below 1 are apart."""
    if dtype is not dtypes.float64:
        count = 11 if dtype is dtypes.float16 else 24
        return lang.mul(lang.cast(_top(_word(g, shape, word), count), dtype), 2.0**-count)
    high, low = (lang.cast(_top(_word(g, shape, w), n), dtype) for w, n in ((0, 27), (1, 26)))
    return lang.mul(lang.add(lang.mul(high, 2.0**26), low), 2.0**-53)


def _half_unit(g: Node, shape: Shape, dtype: DType, word: int) -> Node:
    """Uniform in [0, 1) from one word: 32 bits for float64, else 24."""
    if dtype is not dtypes.float64:
        return _unit(g, shape, dtype, word)
    whole = lang.cast(_word(g, shape, word), dtypes.int64)
    return lang.mul(lang.cast(whole, dtype), 2.0**-32)


def _uniform(g: Node, shape: Shape, dtype: DType, low: Node, high: Node) -> Node:
    return lang.add(lang.mul(_unit(g, shape, dtype), lang.sub(high, low)), low)


def _gauss(g: Node, shape: Shape, dtype: DType) -> Node:
    """Box and Muller 1958: sqrt(-2 ln u)·cos(2πv) with u in (0, 1] and v in [0, 1)."""
    kind = dtypes.float32 if dtype is dtypes.float16 else dtype
    u, v = (_half_unit(g, shape, kind, word) for word in (0, 1))
    radius = lang.sqrt(lang.mul(lang.log(lang.sub(1.0, u)), -2.0))
    return lang.cast(lang.mul(radius, lang.cos(lang.mul(v, 2 * math.pi))), dtype)


def _normal(g: Node, shape: Shape, dtype: DType, mean: Node, std: Node) -> Node:
    return lang.add(lang.mul(_gauss(g, shape, dtype), std), mean)


def _exponential(g: Node, shape: Shape, dtype: DType, rate: Node) -> Node:
    return lang.div(lang.neg(lang.log(lang.sub(1.0, _unit(g, shape, dtype)))), rate)


def _cauchy(g: Node, shape: Shape, dtype: DType, median: Node, sigma: Node) -> Node:
    angle = lang.mul(lang.sub(_unit(g, shape, dtype), 0.5), math.pi)
    return lang.add(lang.mul(lang.tan(angle), sigma), median)


def _log_normal(g: Node, shape: Shape, dtype: DType, mean: Node, std: Node) -> Node:
    return lang.exp(_normal(g, shape, dtype, mean, std))


def _geometric(g: Node, shape: Shape, dtype: DType, p: Node) -> Node:
    """The first success of probability p is trial ceil(ln u / ln(1 - p)), at least the first."""
    tries = lang.div(lang.log(lang.sub(1.0, _unit(g, shape, dtype))), lang.log(lang.sub(1.0, p)))
    return lang.maximum(lang.neg(lang.floor(lang.neg(tries))), 1.0)


def _bernoulli(g: Node, shape: Shape, dtype: DType, p: Node) -> Node:
    return lang.cast(lang.lt(_unit(g, shape, dtype), p), dtype)


def _long(g: Node, shape: Shape) -> Node:
    """63 random bits as int64."""
    high, low = (lang.cast(_word(g, shape, w), dtypes.int64) for w in (0, 1))
    high = lang.apply("shift_left", high, lang.scalar(31, dtypes.int64))
    return lang.bitwise_or(high, lang.apply("shift_right", low, lang.scalar(1, dtypes.int64)))


def _whole(g: Node, shape: Shape, dtype: DType, low: Node, count: Node) -> Node:
    """``count`` <= 2³¹ numbers from ``low``, by multiplication: off by at most count·2⁻³²."""
    wide = lang.mul(lang.cast(_word(g, shape, 0), dtypes.int64), count)
    return lang.add(lang.apply("shift_right", wide, lang.scalar(32, dtypes.int64)), low)


def _wide_whole(g: Node, shape: Shape, dtype: DType, low: Node, count: Node) -> Node:
    """Any ``count`` numbers from ``low``, by remainder: off by at most count·2⁻⁶³."""
    return lang.add(lang.remainder(_long(g, shape), count), low)


LAWS: dict[str, Callable[..., Node]] = {
    "unit": _unit,
    "uniform": _uniform,
    "gauss": _gauss,
    "normal": _normal,
    "exponential": _exponential,
    "cauchy": _cauchy,
    "log_normal": _log_normal,
    "geometric": _geometric,
    "bernoulli": _bernoulli,
    "whole": _whole,
    "wide_whole": _wide_whole,
    "long": lambda g, shape, dtype: _long(g, shape),
}


def draw(
    law: str,
    shape: Sequence[int],
    dtype: DType,
    *numbers: Any,
    generator: Generator | None = None,
) -> Tensor:
    """A tensor of independent numbers; ``numbers`` are the law's parameters, of type ``dtype``."""
    shape = tuple(shape)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {shape}")
    if dtype.category != FLOAT and law not in ("whole", "wide_whole", "long"):
        raise NotImplementedError(f"{law} numbers need a floating-point type, not {dtype}")
    now = (generator or default_generator).advance()
    if state.trace is not None:
        node = LAWS[law](now, shape, dtype, *(lang.scalar(v, dtype) for v in numbers))
        return tracer(node, state.trace)
    arrays = [np.asarray(v, dtype.numpy) for v in numbers]
    return wrap(_program(law, shape, dtype, len(numbers))([now, *arrays])[0])


@functools.lru_cache(1024)
def _program(law: str, shape: Shape, dtype: DType, numbers: int) -> Callable[..., Any]:
    """The law as a program: interpreted where it is small, else compiled when it is used more."""
    inputs = [ir.input((2,), dtypes.int64, "generator")]
    inputs += [ir.input((), dtype) for _ in range(numbers)]
    graph = Graph(inputs, [LAWS[law](inputs[0], shape, dtype, *inputs[1:])], law)
    return Promoted(graph).run if size_of(shape) >= _SMALL else Steps(graph)


# ------------------------------------------------------------------------------------------ making


def _kind(dtype: Any, default: DType | None = None) -> DType:
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    return default or dtypes.get_default_dtype()


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
        if device is not None:
            devices.device(device)
        out = draw(law, shape, _kind(dtype), generator=generator)
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
            device=device,
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
    low: int, high: int, shape: Sequence[int], dtype: DType, generator: Generator | None = None
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
    return draw(law, shape, dtypes.int64, low, count, generator=generator).to(dtype)


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
        int(low), int(high), sizes_of((tuple(size),)), _kind(dtype, dtypes.int64), generator
    )
    return out.requires_grad_() if requires_grad else out


@function
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, **options: Any
) -> Tensor:
    """``randint`` of the shape and dtype of ``input``."""
    low, high = (0, low) if high is None else (low, high)
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
    keys = draw("long", (n,), dtypes.int64, generator=generator)
    if keys._array is None:
        order = keys.argsort()
    else:
        order = wrap(np.argsort(keys._array, kind="stable").astype(np.int64))
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
        out = draw("normal", shape, kind, mean, std, generator=generator)
        return out.requires_grad_() if requires_grad else out
    shape = broadcast_shapes(*(t.shape for t in tensors))
    out = draw("gauss", shape, _kind(dtype, tensors[0].dtype), generator=generator)
    mean, std = (v.detach() if isinstance(v, Tensor) else v for v in (mean, std))
    return out * std + mean


@both
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that ``input`` (or the number ``p``) says, else 0."""
    if p is not None:
        return input.detach().clone().bernoulli_(p, generator=generator)
    return _events(input.detach(), tuple(input.shape), generator).to(input.dtype)


def _events(chance: Tensor, shape: Shape, generator: Generator | None) -> Tensor:
    """True with the probabilities in ``chance``."""
    kind = chance.dtype if chance.dtype.category == FLOAT else dtypes.float32
    return draw("unit", shape, kind, generator=generator) < chance


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
        waits = draw("exponential", weights.shape, weights.dtype, 1.0, generator=generator)
        rates = weights / waits.clamp(min=np.finfo(weights.dtype.numpy).tiny)
        return rates.topk(num_samples, -1).indices
    # In float64, u·total of a 24-bit u stays below the total: no empty class past the end is drawn.
    rising = weights.to(dtypes.float64).cumsum(-1)
    shape = (*weights.shape[:-1], num_samples)
    unit = draw("unit", shape, dtypes.float32, generator=generator).to(dtypes.float64)
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
    if weights._array is None or state.trace is not None:
        return
    if not (np.isfinite(weights._array) & (weights._array >= 0)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    enough = 1 if replacement else num_samples
    if (np.count_nonzero(weights._array, -1) < enough).any():
        raise RuntimeError(
            "invalid multinomial distribution (too few categories of positive probability)"
        )


@both
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates in ``input`` (eagerly only: NumPy's, seeded from ours)."""
    rates = input.detach().concrete("poisson()")
    words = draw("long", (4,), dtypes.int64, generator=generator)
    return wrap(np.asarray(np.random.default_rng(words.tolist()).poisson(rates), rates.dtype))


# ----------------------------------------------------------------------------------------- in place


def _filled(self: Tensor, law: str, *numbers: Any, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers of a law; those of integer tensors are drawn as floats."""
    check_writable(self)
    kind = self.dtype if self.dtype.category == FLOAT else dtypes.get_default_dtype()
    drawn = draw(law, self.shape, kind, *numbers, generator=generator)
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
        return assign(self, _events(p.detach(), tuple(self.shape), generator).to(self.dtype))
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
    return assign(self, whole(low, high, tuple(self.shape), self.dtype, generator))


def _reach(dtype: DType) -> int:
    """One more than the largest whole number up to which the type holds every one."""
    if dtype.category == FLOAT:
        return 2 ** (np.finfo(dtype.numpy).nmant + 1) + 1
    return 2 if dtype is dtypes.bool_ else min(int(np.iinfo(dtype.numpy).max) + 1, 2**63 - 1)
