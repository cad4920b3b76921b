"""16-bit floats as bits in memory: to float32 and back, in integer arithmetic on any processor.

from_f16(bits), from_bf16(bits)     float32 of int16 bits, exact
to_f16(x), to_bf16(x)               int16 bits of a float32: to nearest, ties to even
"""

from __future__ import annotations

import numpy as np

from .value import Value, where

REBIASED = 2.0**112  # float16's exponents begin that much higher than float32's
LEAST_NORMAL = 0x38800000  # float32's bits of 2⁻¹⁴
BEYOND = 0x47800000  # of 2¹⁶
HALF = 0x3F000000  # of 0.5


def from_f16(bits: Value) -> Value:
    """Exponent and fraction moved into place; the scaling makes denormals normal."""
    wide = _unsigned(bits)
    sign, rest = (wide & 0x8000) << 16, (wide & 0x7FFF) << 13
    number = rest.floats() * REBIASED
    magnitude = where(rest >= 0x7C00 << 13, rest | 0x7F800000, _bits(number))
    return (magnitude | sign).floats()


def to_f16(x: Value) -> Value:
    """Rounded by adding: half a last place to normals, 0.5 (whose last place is 2⁻²⁴) to others."""
    bits = _bits(x)
    rest, sign = bits & 0x7FFFFFFF, (bits >> 16) & 0x8000
    normal = (rest + 0xFFF + ((rest >> 13) & 1) - (112 << 23)) >> 13
    small = _bits(rest.floats() + 0.5) - HALF
    beyond = where(rest > 0x7F800000, rest.like(0x7E00), rest.like(0x7C00))
    found = where(rest < LEAST_NORMAL, small, where(rest >= BEYOND, beyond, normal))
    return (found | sign).to("int16")


def from_bf16(bits: Value) -> Value:
    """The upper half of a float32."""
    return (_unsigned(bits) << 16).floats()


def to_bf16(x: Value) -> Value:
    """The upper half, rounded; a NaN stays one."""
    bits = _bits(x)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return where(x == x, rounded, (bits >> 16) | 0x40).to("int16")


def _unsigned(bits: Value) -> Value:
    return Value(bits.builder, "uint16", bits.ir).to("uint32")


def _bits(x: Value) -> Value:
    return Value(x.builder, "uint32", x.bits().ir)


# ---- what they mean, in NumPy --------------------------------------------------------------------


def plain_from_f16(bits):
    return np.float32(np.int16(bits).view(np.float16))


def plain_to_f16(x):
    with np.errstate(all="ignore"):
        return np.float16(np.float32(x)).view(np.int16)


def plain_from_bf16(bits):
    return np.uint32((int(bits) & 0xFFFF) << 16).view(np.float32)


def plain_to_bf16(x):
    bits = int(np.float32(x).view(np.uint32))
    high = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 if x == x else bits >> 16 | 0x40
    return np.uint16(high & 0xFFFF).view(np.int16)


# name: body, plain meaning, dtype of the operand
FUNCTIONS = {
    "from_f16": (from_f16, plain_from_f16, "int16"),
    "to_f16": (to_f16, plain_to_f16, "float32"),
    "from_bf16": (from_bf16, plain_from_bf16, "int16"),
    "to_bf16": (to_bf16, plain_to_bf16, "float32"),
}
