"""Rounding, comparison, division with remainder, and the integer versions, of Values.

Remainders follow Python: their sign is the divisor's. C's, whose sign is the dividend's, is `fmod`.
"""

from __future__ import annotations

import math

from .value import Value, absolute, copysign, fma, nearest, repeat, sqrt, where

# fmod takes the quotient in steps of this many bits; |x/y| of float32 stays below 2^288.
QUOTIENT_STEP, QUOTIENT_BITS = 48, 288


def negate(x: Value) -> Value:
    return -x


def integer_absolute(x: Value) -> Value:
    return where(x < 0, -x, x)


def sign(x: Value) -> Value:
    """-1, 0 or 1; NaN stays NaN."""
    return where(x > 0, 1, where(x < 0, x.like(-1 if x.is_float or x.is_signed else 0), x))


def reciprocal(x: Value) -> Value:
    return 1 / x


def rsqrt(x: Value) -> Value:
    return 1 / sqrt(x)


def llvm(name: str, *flags: str):
    """The function that is LLVM's `llvm.NAME`, computed with these fast-math flags."""

    def body(x: Value, *others: Value) -> Value:
        return x.intrinsic(name, *others, flags=flags)

    return body


def isnan(x: Value) -> Value:
    return x != x


def isinf(x: Value) -> Value:
    return absolute(x) == math.inf


def isfinite(x: Value) -> Value:
    return absolute(x) < math.inf


def integer_maximum(x: Value, y: Value) -> Value:
    return where(x > y, x, y)


def integer_minimum(x: Value, y: Value) -> Value:
    return where(x < y, x, y)


# ---- division with remainder of floats


def fmod(x: Value, y: Value) -> Value:
    """x - y·trunc(x/y), exactly."""
    if x.dtype == "float64" or x.native_remainder:
        return x.remainder_of_floats(y)
    a, b = absolute(x).to("float64"), absolute(y).to("float64")
    inverse, rest = 1 / b, a
    # Each step leaves |rest| <= 0.6 · 2^k · b with no rounding: 24-bit operands in 53 bits of room.
    for k in range(QUOTIENT_BITS - QUOTIENT_STEP, -1, -QUOTIENT_STEP):
        quotient = nearest(rest * (inverse * 2.0**-k))
        rest = fma(-quotient, b * 2.0**k, rest)
    rest = where(rest < 0, rest + b, rest)
    rest = where((b == math.inf) & (a < math.inf), a, rest)
    return copysign(rest.to("float32"), x)


def remainder(x: Value, y: Value) -> Value:
    """x - y·floor(x/y), exactly rounded; 0 has the sign of y."""
    rest = fmod(x, y)
    wrong = (rest != 0) & ((rest < 0) ^ (y < 0))
    return where(rest == 0, copysign(rest, y), where(wrong, rest + y, rest))


def floor_div(x: Value, y: Value) -> Value:
    """floor of the exact x/y; x/y itself when y is 0."""
    rest = fmod(x, y)
    wrong = (rest != 0) & ((rest < 0) ^ (y < 0))
    quotient = (x - rest) / y
    quotient = where(wrong, quotient - 1, quotient)
    # An integer but for rounding; halves occur above 2^22, and NumPy takes them down.
    below = quotient.intrinsic("floor")
    quotient = where(quotient - below > 0.5, below + 1, below)
    ratio = x / y
    return where(y == 0, ratio, where(quotient == 0, copysign(quotient, ratio), quotient))


# ---- division with remainder of integers: by 0, every result is 0, as in NumPy


def truncated_quotient(x: Value, y: Value) -> Value:
    """x / y rounded towards 0, for y != 0; modulo 2^bits for the least integer by -1.

    There is no vector instruction to divide integers, but a float of twice their bits divides them
    exactly enough: x/y misses an integer by 1/|y| at least.
    """
    if x.bit_count == 64 or x.native_division:
        minus_one = y == -1
        return where(minus_one, -x, x.divide_integers(where(minus_one, 1, y)))
    wide = "float64" if x.bit_count == 32 else "float32"
    number = "uint32" if x.dtype == "uint32" else "int32"
    quotient = (x.to(wide) / y.to(wide)).to(number).to(x.dtype)
    return where(y == -1, -x, quotient) if x.is_signed else quotient


def integer_quotient(x: Value, y: Value) -> tuple[Value, Value, Value]:
    """(quotient, remainder, divisor is 0), rounded towards 0."""
    zero = y == 0
    divisor = where(zero, 1, y)
    quotient = truncated_quotient(x, divisor)
    return quotient, x - quotient * divisor, zero


def integer_floor_div(x: Value, y: Value) -> Value:
    quotient, rest, zero = integer_quotient(x, y)
    below = where((rest != 0) & ((rest < 0) ^ (y < 0)), quotient - 1, quotient)
    return where(zero, 0, below)


def integer_remainder(x: Value, y: Value) -> Value:
    _, rest, zero = integer_quotient(x, y)
    return where(zero, 0, where((rest != 0) & ((rest < 0) ^ (y < 0)), rest + y, rest))


def integer_fmod(x: Value, y: Value) -> Value:
    _, rest, zero = integer_quotient(x, y)
    return where(zero, 0, rest)


def integer_pow(x: Value, y: Value) -> Value:
    """x^y modulo 2^bits by squaring; to negative powers, 1 and -1 only are not 0."""

    def step(result: Value, square: Value, left: Value) -> tuple[Value, Value, Value]:
        return where((left & 1) != 0, result * square, result), square * square, left >> 1

    result, *_ = repeat(lambda result, square, left: left > 0, step, x.like(1), x, y)
    if not x.is_signed:
        return result
    unit = where((y & 1) != 0, x, 1)
    return where(y < 0, where((x == 1) | (x == -1), unit, 0), result)
