"""Floats as bits: the next number, and mantissa with exponent.

graphgrad.frexp(x)                 # x = mantissa * 2 ** exponent, 1/2 <= |mantissa| < 1
graphgrad.nextafter(x, y)          # the neighbour of x in the direction of y
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.tensor.core import Tensor, both
from graphgrad.tensor.operators import expect_tensors, tied, where
from graphgrad.tensor.plan import apply
from graphgrad.tensor.promotion import joined
from graphgrad.tensor.state import as_one


class _Layout(NamedTuple):
    """Where a type keeps its exponent: as integers of ``kind``, above ``fraction`` bits."""

    kind: DType
    fraction: int
    bias: int


_LAYOUTS = {
    dtypes.float16: _Layout(dtypes.int16, 10, 15),
    dtypes.bfloat16: _Layout(dtypes.int16, 7, 127),
    dtypes.float32: _Layout(dtypes.int32, 23, 127),
    dtypes.float64: _Layout(dtypes.int64, 52, 1023),
}


def bits_of(x: Tensor) -> Tensor:
    """The bits of floats as whole numbers of the same size."""
    return apply("bitcast", x.detach(), dtype=_layout("bitcast", x).kind)


def _layout(name: str, x: Tensor) -> _Layout:
    found = _LAYOUTS.get(x.dtype)
    if found is None:
        raise RuntimeError(f"{name}() only supports floating-point dtypes, not {x.dtype.name}")
    return found


def _power_of_two(exponent: Tensor, dtype: DType) -> Tensor:
    """``2 ** exponent``, exactly, for exponents of normal numbers."""
    layout = _LAYOUTS[dtype]
    bits = (exponent + layout.bias) * 2**layout.fraction
    return apply("bitcast", bits.to(layout.kind), dtype=dtype)


_Frexp: Any = namedtuple("frexp", "mantissa exponent")


@both
@as_one
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent) with ``input = mantissa * 2 ** exponent``; the exponents are int32."""
    layout = _layout("frexp", input)
    # Numbers below the normal ones are scaled up first.
    tiny = input.detach().abs() < float(2.0 ** (1 - layout.bias))
    up = layout.fraction + 2
    scaled = where(tiny, input * float(2**up), input)
    field = (bits_of(scaled) // 2**layout.fraction).to(dtypes.int64) % (2 * layout.bias + 2)
    exponent = field - (layout.bias - 1)
    half = exponent // 2
    first, second = (_power_of_two(-e, input.dtype) for e in (half, exponent - half))
    plain = (input == 0) | ~input.isfinite()
    mantissa = where(plain, input, scaled * first * second)
    shifted = where(tiny, exponent - up, exponent)
    return _Frexp(mantissa, where(plain, 0, shifted).to(dtypes.int32))


@both
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The number next to ``input`` in the direction of ``other``; moves as ``input`` does."""
    expect_tensors("nextafter", input=input, other=other)
    kind = joined(input, other)
    x, y = (v.detach().to(kind) for v in (input, other))
    bits = bits_of(x)
    # Bits of one sign count up with the magnitude.
    outward = (y > x) == (x > 0)
    stepped = apply("bitcast", where(outward, bits + 1, bits - 1), dtype=kind)
    least = apply("bitcast", bits * 0 + 1, dtype=kind)
    near_zero = where(y > 0, least, -least)
    moved = where(x == 0, near_zero, stepped)
    kept = where(x == y, y, moved)
    found = where((x != x) | (y != y), x + y, kept)
    if not (input.requires_grad or other.requires_grad):
        return found
    flow = where((x == y) | ~x.isfinite(), 0.0, input)
    return tied(found + (flow - flow.detach()), other)
