"""The distributions, each written once as graph code in ``LAWS``, and ``draw``, which uses them.

Element i of a draw is a pure function of (seed, counter, i), Philox-2x32 (Salmon et al. 2011), so
eager and compiled programs draw the same numbers. Eagerly a law is a program that is kept for its
shape; in a trace it is inlined.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes, ir, lang
from graphgrad.device import CPU, chosen, device, located
from graphgrad.dtypes import FLOAT, DType
from graphgrad.ir import Graph, Node
from graphgrad.ops import Shape, size_of
from graphgrad.random.generator import Generator, generator_of
from graphgrad.tensor.core import Tensor, tracer, wrap
from graphgrad.tensor.programs import Steps, program_of
from graphgrad.tensor.state import state

# Fewer elements are drawn before a kernel for them would be compiled.
_SMALL = 1024


def _word(g: Node, shape: Shape, word: int) -> Node:
    return lang.apply("random_bits", g, shape=shape, word=word)


def _top(bits: Node, count: int) -> Node:
    """The ``count`` (< 32) highest bits, as int32: the integer that converts fastest."""
    moved = lang.apply("shift_right", bits, lang.scalar(32 - count, dtypes.uint32))
    return lang.cast(moved, dtypes.int32)


def _unit(g: Node, shape: Shape, dtype: DType, word: int = 0) -> Node:
    """Uniform in [0, 1), with as many random bits as the type's numbers below 1 are apart."""
    if dtype is not dtypes.float64:
        count = {dtypes.float16: 11, dtypes.bfloat16: 8}.get(dtype, 24)
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
    kind = dtypes.float32 if dtype.is_half else dtype
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
    device: Any = None,
) -> Tensor:
    """A tensor of independent numbers; ``numbers`` are the law's parameters, of type ``dtype``.

    On ``device``: that of the generator, if there is one, or the thread's default.
    """
    shape = tuple(shape)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {shape}")
    if dtype.category != FLOAT and law not in ("whole", "wide_whole", "long"):
        raise NotImplementedError(f"{law} numbers need a floating-point type, not {dtype}")
    place = _place(device, generator)
    now = (generator or generator_of(place)).advance()
    if state.trace is not None:
        node = LAWS[law](now, shape, dtype, *(lang.scalar(v, dtype) for v in numbers))
        return tracer(node, state.trace)
    arrays = [np.asarray(v, dtype.numpy) for v in numbers]
    return wrap(_program(law, shape, dtype, len(numbers), place)([now, *arrays])[0])


def _place(wanted: Any, generator: Generator | None) -> device:
    """Where numbers are drawn. RuntimeError for a generator of another device."""
    if state.trace is not None:
        place = state.trace.device
        if wanted is not None:
            state.trace.settle(located(wanted))
    elif wanted is None and generator is not None:
        place = generator.device
    else:
        place = chosen(wanted)
    if generator is not None and generator.device != place:
        raise RuntimeError(
            f"Expected a '{place}' device type for generator but found '{generator.device}'"
        )
    return place


@functools.lru_cache(1024)
def _program(
    law: str, shape: Shape, dtype: DType, numbers: int, place: device
) -> Callable[..., Any]:
    """The law as a program: interpreted where it is small, else compiled when it is used more."""
    inputs = [ir.input((2,), dtypes.int64, "generator")]
    inputs += [ir.input((), dtype) for _ in range(numbers)]
    graph = Graph(inputs, [LAWS[law](inputs[0], shape, dtype, *inputs[1:])], law)
    if place is CPU and size_of(shape) < _SMALL:
        return Steps(graph)
    return program_of(graph, place).run
