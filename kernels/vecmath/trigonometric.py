"""Sines, tangents and their inverses of Values, right for every finite argument.

|x| · 2/π is wanted modulo 4, to the last bit even of 1e300 (after Payne and Hanek, 1983). Write
x = m · 2^k with an integer m: then x · 2/π and m · (2^k · 2/π mod 4) agree modulo 4. The second
factor is one of a few constants, held as a sum of floats; which one is chosen by the size of x.
"""

from __future__ import annotations

import math
from fractions import Fraction

from . import coefficients as table
from .exponential import MANTISSA, split_integer
from .value import (
    Value,
    absolute,
    copysign,
    fma,
    horner,
    muladd,
    nearest,
    sqrt,
    table_lookup,
    where,
)

# 2/π to 1280 bits: float64 reach 2^1024, and 53 + 3 · 53 more bits are looked at.
TWO_OVER_PI = Fraction(
    int(
        "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0"
        "06492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f4"
        "9c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d"
        "7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d",
        16,
    ),
    1 << 1280,
)


def quarter_turns(k: int, words: int) -> list[float]:
    """2^k · 2/π modulo 4 as a sum of `words` float64, largest first."""
    rest = TWO_OVER_PI * (1 << k) % 4
    parts = []
    for _ in range(words):
        parts.append(float(rest))
        rest -= Fraction(parts[-1])
    return parts


# float32: five bands of 22 exponents, each with its pair of constants, already times 2^-k.
BAND = 22
BANDS = {k: [math.ldexp(c, -k) for c in quarter_turns(k, 2)] for k in range(0, 5 * BAND, BAND)}

# float64: sixty-one bands of 16 exponents, four words each.
BAND_SHIFT = 4
TURNS_TABLE = [c for k in range(0, 61 << BAND_SHIFT, 1 << BAND_SHIFT) for c in quarter_turns(k, 4)]


# ---- |x| = θ + quadrant · π/2 (modulo 2π), |θ| <= π/4


def reduce_float32(a: Value) -> tuple[Value, Value, None]:
    """(θ, quadrant, None) for a >= 0, by products of float64."""
    wide = a.to("float64")
    high, low = (wide.like(c) for c in BANDS[0])
    for k in [k for k in BANDS if k]:
        band = wide >= 2.0 ** (k + MANTISSA["float32"])
        high, low = (where(band, c, other) for c, other in zip(BANDS[k], (high, low), strict=True))
    turns = wide * high
    n, quadrant = split_integer(turns)
    rest = (turns - n) + muladd(wide, low, fma(wide, high, -turns))
    return (rest * float(table.PI / 2)).to("float32"), quadrant.to("int32"), None


def reduce_float64(a: Value) -> tuple[Value, Value, Value]:
    """(θ, quadrant, error of θ) for a >= 0."""
    exponent = (a.bits() >> MANTISSA["float64"]) - (1023 + MANTISSA["float64"])
    band = where(exponent > 0, exponent, 0) >> BAND_SHIFT
    whole = (a.bits() - (band << (MANTISSA["float64"] + BAND_SHIFT))).floats()
    terms = turn_terms(whole, band)
    n, quadrant = split_integer(terms[0] + terms[1] + terms[2])
    high, low = terms[0] - n, terms[-1]
    for term in terms[1:-1]:
        high, lost = two_sum(high, term)
        low = low + lost
    high, low = two_sum(high, low)
    half_pi, half_pi_low = table.HALF_PI["float64"]
    theta = high * half_pi
    error = fma(high, half_pi, -theta) + muladd(high, half_pi_low, low * half_pi)
    return where(a < math.inf, theta, math.nan), quadrant, error


def turn_terms(whole: Value, band: Value) -> list[Value]:
    """Terms whose sum is whole · 2^k · 2/π modulo 4, the first three within ±2."""
    words = [table_lookup("graphgrad.turns", TURNS_TABLE, 4 * band + i) for i in range(4)]
    products = [whole * w for w in words]
    errors = [fma(whole, w, -p) for w, p in zip(words[:3], products, strict=False)]
    large = (products[0], errors[0], products[1])
    small = (errors[1], products[2], errors[2] + products[3])
    return [*(t - 4 * nearest(0.25 * t) for t in large), *small]


def two_sum(x: Value, y: Value) -> tuple[Value, Value]:
    """(x + y rounded, what rounding lost): Knuth's."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


REDUCE = {"float32": reduce_float32, "float64": reduce_float64}


def sine_cosine(x: Value) -> tuple[Value, Value, Value]:
    """(sin θ, cos θ, quadrant) of |x|."""
    theta, quadrant, error = REDUCE[x.dtype](absolute(x))
    z = theta * theta
    sine_tail, sine_poly = theta * z, horner(z, table.SIN[x.dtype])
    cosine = muladd(z * z, horner(z, table.COS[x.dtype]), muladd(z, -0.5, 1))
    if error is None:
        return muladd(sine_tail, sine_poly, theta), cosine, quadrant
    return theta + muladd(sine_tail, sine_poly, error), muladd(-theta, error, cosine), quadrant


def flip_sign(x: Value, flip: Value) -> Value:
    """`x` with its sign changed where the top bit of the integer `flip` is set."""
    return (x.bits() ^ (flip & -(1 << (x.bit_count - 1)))).floats()


def sin(x: Value) -> Value:
    sine, cosine, quadrant = sine_cosine(x)
    flip = (quadrant << (x.bit_count - 2)) ^ x.bits()
    return flip_sign(where((quadrant & 1) == 0, sine, cosine), flip)


def cos(x: Value) -> Value:
    sine, cosine, quadrant = sine_cosine(x)
    flip = (quadrant + 1) << (x.bit_count - 2)
    return flip_sign(where((quadrant & 1) == 0, cosine, sine), flip)


def tan(x: Value) -> Value:
    sine, cosine, quadrant = sine_cosine(x)
    even = (quadrant & 1) == 0
    flip = (quadrant << (x.bit_count - 1)) ^ x.bits()
    return flip_sign(where(even, sine, cosine) / where(even, cosine, sine), flip)


# ---- inverses


def asin_parts(a: Value) -> tuple[Value, Value, Value]:
    """(folded, s, c) for a >= 0: asin(a) = s + c, or π/2 - 2(s + c) where folded, if a > 1/2."""
    folded = a > 0.5
    z = where(folded, 0.5 * (1 - a), a * a)
    s = where(folded, sqrt(z), a)
    return folded, s, s * z * horner(z, table.ASIN[a.dtype])


def angle_minus(angle: tuple[float, float], s: Value, c: Value) -> Value:
    """angle - (s + c), with both angle and s + c more precise than a float."""
    half, low = angle[0] / 2, angle[1]
    return (half - s) + ((half - c) + low)


def asin(x: Value) -> Value:
    folded, s, c = asin_parts(absolute(x))
    return copysign(where(folded, angle_minus(table.HALF_PI[x.dtype], 2 * s, 2 * c), s + c), x)


def acos(x: Value) -> Value:
    folded, s, c = asin_parts(absolute(x))
    twice = where(x < 0, angle_minus(table.WHOLE_PI[x.dtype], 2 * s, 2 * c), 2 * (s + c))
    return where(folded, twice, angle_minus(table.HALF_PI[x.dtype], copysign(s, x), copysign(c, x)))


def atan_quotient(t: Value, inverted: Value) -> Value:
    """atan(t) for 0 <= t <= 1, or π/2 - atan(t) where inverted."""
    high, low = table.HALF_PI[t.dtype]
    z = t * t
    p = muladd(t * z, horner(z, table.ATAN[t.dtype]), t)
    return where(inverted, high - (p - low), p)


def atan(x: Value) -> Value:
    a = absolute(x)
    inverted = a > 1
    return copysign(atan_quotient(where(inverted, 1 / a, a), inverted), x)


def atan2(y: Value, x: Value) -> Value:
    a, b = absolute(y), absolute(x)
    inverted = a > b
    quotient = where(inverted, b, a) / where(inverted, a, b)
    # 0/0 is angle 0 and inf/inf is π/4, as if both had been equal and finite.
    same = where(a == 0, a, 1)
    angle = atan_quotient(where(a == b, same, quotient), inverted)
    high, low = table.WHOLE_PI[x.dtype]
    return copysign(where(x.bits() < 0, high - (angle - low), angle), y)
