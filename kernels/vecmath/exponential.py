"""Exponentials, logarithms, hyperbolic functions, the error function and powers of Values.

Every body takes float32 or float64; only the polynomials differ.
"""

from __future__ import annotations

import math

import numpy as np

from . import coefficients as table
from .value import (
    Value,
    absolute,
    at_least,
    at_most,
    copysign,
    fma,
    horner,
    muladd,
    sqrt,
    where,
)

MANTISSA = {"float32": 23, "float64": 52}
BIAS = {"float32": 127, "float64": 1023}
# Added to a small number, this leaves the nearest integer in the low bits of the sum.
MAGIC = {"float32": 1.5 * 2.0**23, "float64": 1.5 * 2.0**52}
# exp is 0 below and inf above. A product that rounds to 0 costs the processor a hundred cycles or
# more (it is a subnormal first), and a masked softmax is full of exp(-inf): 0 is chosen, not made.
EXP_RANGE = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}
EXP2_RANGE = {"float32": (-151.0, 129.0), "float64": (-1076.0, 1025.0)}
# tanh and expm1(-x) are ±1 in this precision from here on.
SATURATED = {"float32": 18.0, "float64": 40.0}
# From here on 1 + x is x, and below the inverse x + x² is x.
HUGE = {"float32": 2.0**25, "float64": 2.0**54}
TWO_LOG2E = tuple(2 * c for c in table.LOG2E_PAIR)
# erfc rounds to 0 from here on.
ERFC_VANISHES = {"float32": 10.1, "float64": 27.3}


def bits_of(number: float, dtype: str) -> int:
    """The bits of a literal, as a Python integer."""
    return int(np.dtype(dtype).type(number).view(f"int{8 * np.dtype(dtype).itemsize}"))


def split_integer(x: Value, factor: float | None = None) -> tuple[Value, Value]:
    """(n, n): the integer nearest to a small `x` (times factor), as a float and as an integer."""
    shifted = x + MAGIC[x.dtype] if factor is None else muladd(x, factor, MAGIC[x.dtype])
    return shifted - MAGIC[x.dtype], shifted.bits() - bits_of(MAGIC[x.dtype], x.dtype)


def power_of_two(exponent: Value) -> Value:
    """2^exponent of an integer in the range of normal floats."""
    dtype = f"float{exponent.bit_count}"
    return ((exponent + BIAS[dtype]) << MANTISSA[dtype]).floats()


def scale(x: Value, exponent: Value) -> Value:
    """x · 2^exponent, rounded once: the first of the two factors keeps it normal."""
    half = exponent >> 1
    return x * power_of_two(half) * power_of_two(exponent - half)


# ---- exponentials: e^x = (1 + p) · 2^n


def expm1_reduced(r: Value) -> Value:
    """e^r - 1 for |r| <= ln(2)/2."""
    return muladd(r * r, horner(r, table.EXP[r.dtype]), r)


def exp_parts(x: Value, tail: Value | None = None) -> tuple[Value, Value]:
    """(p, n) with e^(x + tail) = (1 + p) · 2^n, by Cody and Waite's reduction; x in EXP_RANGE."""
    high, low = table.LN2_SPLIT[x.dtype]
    n, exponent = split_integer(x, float(table.LOG2E))
    r = muladd(n, -low, muladd(n, -high, x))
    return expm1_reduced(r if tail is None else r + tail), exponent


def exp(x: Value) -> Value:
    return exp_at_most(at_most(x, EXP_RANGE[x.dtype][1]))


def exp_at_most(x: Value) -> Value:
    """e^x for x up to EXP_RANGE's end."""
    vanishes = x < EXP_RANGE[x.dtype][0]
    p, n = exp_parts(where(vanishes, 0, x))
    return where(vanishes, 0, scale(1 + p, n))


def exp2(x: Value) -> Value:
    least, most = EXP2_RANGE[x.dtype]
    vanishes = x < least
    x = at_most(where(vanishes, 0, x), most)
    n, exponent = split_integer(x)
    return where(vanishes, 0, scale(1 + expm1_reduced((x - n) * float(table.LN2)), exponent))


def expm1_core(x: Value) -> Value:
    """e^x - 1 without the care for x below 1/HUGE and for overflow."""
    p, n = exp_parts(x)
    power = power_of_two(n)
    return muladd(power, p, power - 1)


def expm1(x: Value) -> Value:
    p, n = exp_parts(at_most(at_least(x, -SATURATED[x.dtype]), EXP_RANGE[x.dtype][1]))
    # 2^n itself overflows one step before the result does.
    last = n > BIAS[x.dtype]
    power = power_of_two(where(last, BIAS[x.dtype], n))
    result = muladd(power, p, power - 1) * where(last, x.like(2), 1)
    return where(absolute(x) < 1 / HUGE[x.dtype], x, result)


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x), with e^-|x| on both sides so that nothing overflows."""
    small = exp_at_most(-absolute(x))
    return where(x >= 0, x.like(1), small) / (1 + small)


def tanh(x: Value) -> Value:
    """e / (e + 2) with e = expm1(2|x|)."""
    grown = expm1_core(at_most(2 * absolute(x), SATURATED[x.dtype]))
    return copysign(grown / (grown + 2), x)


def half_exp(x: Value) -> Value:
    """e^x / 2 for x >= 0, which overflows later than e^x."""
    p, n = exp_parts(at_most(x, EXP_RANGE[x.dtype][1] + 1))
    return scale(1 + p, n - 1)


def sinh(x: Value) -> Value:
    a = absolute(x)
    square = a * a
    small = muladd(a * square, horner(square, table.SINH[x.dtype]), a)
    grown = half_exp(a)
    return copysign(where(a < 1, small, grown - 0.25 / grown), x)


def cosh(x: Value) -> Value:
    grown = half_exp(absolute(x))
    return grown + 0.25 / grown


# ---- logarithms: x = m · 2^e with 1/sqrt(2) <= m < sqrt(2), f = m - 1, s = f / (2 + f)


def log_parts(x: Value) -> tuple[Value, Value]:
    """(f, e) with x = (1 + f) · 2^e, e an integer Value; x positive and finite."""
    shift = MANTISSA[x.dtype]
    subnormal = x < float(np.finfo(x.dtype).tiny)
    bits = where(subnormal, x * 2.0**shift, x).bits()
    e = (bits - bits_of(math.sqrt(0.5), x.dtype)) >> shift
    return (bits - (e << shift)).floats() - 1, where(subnormal, e - shift, e)


def log1p_tail(f: Value, low: Value | None = None) -> Value:
    """log(1 + f) - f + low, from 2·atanh(s) = log(1 + f), without losing what f has."""
    s = f / (2 + f)
    z = s * s
    half_square = 0.5 * f * f
    inner = s * muladd(z, horner(z, table.LOG[f.dtype]), half_square)
    return (inner if low is None else inner + low) - half_square


def log_edges(x: Value, result: Value) -> Value:
    """`result` for positive finite x; logarithms of 0, negative numbers, inf and NaN otherwise."""
    edge = where(x == 0, x.like(-math.inf), where(x < 0, math.nan, x))
    return where(where(x > 0, x, math.inf) < math.inf, result, edge)


def log_sum(f: Value, e: Value) -> Value:
    """log(1 + f) + e·ln(2)."""
    high, low = table.LN2_SPLIT[f.dtype]
    return muladd(e, high, f + log1p_tail(f, e * low))


def log(x: Value) -> Value:
    f, e = log_parts(x)
    return log_edges(x, log_sum(f, e.to(x.dtype)))


def log2(x: Value) -> Value:
    f, e = log_parts(x)
    return log_edges(x, muladd(f + log1p_tail(f), float(table.LOG2E), e.to(x.dtype)))


def log1p(x: Value) -> Value:
    """log of u = 1 + x, with what u lost in rounding added to f."""
    u = 1 + x
    most = u - 1
    lost = (1 - (u - most)) + (x - most)
    f, e = log_parts(u)
    f = f + lost * power_of_two(-where(e > 100, 100, e))
    return copysign(log_edges(u, log_sum(f, e.to(x.dtype))), x)


# ---- inverse hyperbolic functions


def asinh(x: Value) -> Value:
    a = absolute(x)
    huge = a > HUGE[x.dtype]
    square = a * a
    inner = where(huge, a, a + square / (1 + sqrt(1 + square)))
    return copysign(log1p(inner) + where(huge, x.like(float(table.LN2)), 0), x)


def acosh(x: Value) -> Value:
    huge = x > HUGE[x.dtype]
    t = x - 1
    inner = where(huge, x, t + sqrt(t * (t + 2)))
    return where(x < 1, math.nan, log1p(inner) + where(huge, x.like(float(table.LN2)), 0))


def atanh(x: Value) -> Value:
    a = absolute(x)
    return copysign(0.5 * log1p(2 * a / (1 - a)), x)


# ---- error functions


def erfc_parts(a: Value) -> tuple[Value, Value]:
    """(w, n) with erfc(a) = w · 2^n for a >= 0: e^(-a²) times a polynomial of (a-k)/(a+k)."""
    centre = table.ERFCX_CENTRE[a.dtype]
    scaled = horner((a - centre) / (a + centre), table.ERFCX[a.dtype]) / (a + centre)
    square = a * a
    p, n = exp_parts(-square, fma(-a, a, square))
    return muladd(scaled, p, scaled), n


def erfc(x: Value) -> Value:
    a = absolute(x)
    w, n = erfc_parts(at_most(a, ERFC_VANISHES[x.dtype]))
    positive = scale(w, n)
    # Near 1 an ulp is small and so is erf: there the difference is the more precise.
    return where(a < 0.75, 1 - erf_small(x), where(x < 0, 2 - positive, positive))


def erf_small(x: Value) -> Value:
    """erf(x) for |x| <= 1."""
    return muladd(x, horner(x * x, table.ERF_SMALL[x.dtype]), x)


def erf(x: Value) -> Value:
    a = absolute(x)
    return copysign({"float32": erf_float32, "float64": erf_float64}[x.dtype](a), x)


def erf_float32(a: Value) -> Value:
    """1 - e^-y for a >= 0, where y = -log(erfc(a)) is nearly a polynomial."""
    a = at_most(a, 4.0)
    y = muladd(a, table.ERF_SLOPE, a * horner(a, table.ERF_EXPONENT))
    return -expm1_core(-y)


def erf_float64(a: Value) -> Value:
    w, n = erfc_parts(at_most(a, 6.0))
    return where(a < 1, erf_small(a), 1 - w * power_of_two(n))


# ---- powers


def pow(x: Value, y: Value) -> Value:
    """|x|^y by 2^(y·log2|x|), then the edges and the sign of C's pow."""
    a = absolute(x)
    magnitude = {"float32": pow_float32, "float64": pow_float64}[x.dtype](a, y)
    whole = y.intrinsic("trunc") == y
    half = 0.5 * y
    odd = whole & (half.intrinsic("trunc") != half)
    negative = x.bits() < 0
    result = where(odd & negative, -magnitude, magnitude)
    undefined = (x < 0) & (a < math.inf) & (whole ^ True)
    one = (x == 1) | (y == 0) | ((a == 1) & (absolute(y) == math.inf))
    return where(one, 1, where(undefined, math.nan, result))


def pow_float32(a: Value, y: Value) -> Value:
    """2^(y·log2(a)) in float64 arithmetic, which needs no error terms."""
    a, y = a.to("float64"), y.to("float64")
    f, e = log_parts(a)
    s = f / (2 + f)
    log2_a = muladd(s, horner(s * s, table.LOG2_WIDE), e.to("float64"))
    power = y * positive_edges(a, log2_a)
    n, exponent = split_integer(at_most(at_least(power, -200.0), 200.0))
    r = at_most(at_least(power, -200.0), 200.0) - n
    return (horner(r, table.EXP2_WIDE) * power_of_two(exponent)).to("float32")


def pow_float64(a: Value, y: Value) -> Value:
    """2^(y·log2(a)) with both the logarithm and the product held as unevaluated sums."""
    high, low = log2_pair(a)
    high = positive_edges(a, high)
    power = y * high
    error = fma(y, high, -power) + y * low
    in_range = absolute(power) < 1100
    power = at_most(at_least(power, -1100.0), 1100.0)
    n, exponent = split_integer(power)
    r = power - n
    ln2_high, ln2_low = table.LN2_PAIR
    v = r * ln2_high
    tail = fma(r, ln2_high, -v) + muladd(r, ln2_low, where(in_range, error, 0) * ln2_high)
    p = expm1_reduced(v)
    return scale(1 + (p + muladd(tail, p, tail)), exponent)


def positive_edges(a: Value, log2_a: Value) -> Value:
    """log2(a) for a >= 0, with -inf, inf and NaN where they belong."""
    return where(a == 0, -math.inf, where(a < math.inf, log2_a, a))


def product(a: tuple[Value, Value], b: tuple) -> tuple[Value, Value]:
    """(high, low) of the product of two unevaluated sums (Dekker's, with fma)."""
    high = a[0] * b[0]
    return high, fma(a[0], b[0], -high) + muladd(a[0], b[1], a[1] * b[0])


def fast_two_sum(large: Value, small: Value) -> tuple[Value, Value]:
    """(large + small rounded, what rounding lost), for |large| >= |small| (Dekker's)."""
    total = large + small
    return total, small - (total - large)


def log2_pair(a: Value) -> tuple[Value, Value]:
    """(high, low) of log2(a), to about 2^-64: e + 2/ln(2) · s · (1 + z/3 + z²·tail)."""
    f, e = log_parts(a)
    e = e.to("float64")
    divisor = 2 + f
    inverse = 1 / divisor
    s = f * inverse
    s_low = fma(-s, f - (divisor - 2), fma(-s, divisor, f)) * inverse
    z = product((s, s_low), (s, s_low))
    third = product(z, table.THIRD_PAIR)
    rest = muladd(z[0] * z[0], horner(z[0], table.LOG_TAIL), third[1])
    series, lost = fast_two_sum(z[0].like(1), third[0])
    b = product(product((s, s_low), (series, lost + rest)), TWO_LOG2E)
    high, low = fast_two_sum(e, b[0])
    return fast_two_sum(high, low + b[1])
