"""The table of elementwise functions: body, NumPy meaning and error bound of each, by dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphgrad.philox import philox2x32_numpy

from . import arithmetic as a
from . import exponential as e
from . import random
from . import trigonometric as t

SHORT_NAMES = {
    "float32": "f32",
    "float64": "f64",
    **{f"int{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    "uint8": "u8",
    "uint32": "u32",
    "bool": "u8",
}
FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32")


@dataclass(frozen=True)
class Row:
    """One function: `body` emits it on Values, `plain` is what it means, in NumPy."""

    body: Callable
    plain: Callable
    arity: int = 1
    result: str | None = None
    ulps: tuple[float, float] = (0.0, 0.0)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x)) if x >= 0 else np.exp(x) / (1 + np.exp(x))


def _integer_pow(x, y):
    return x**y if y >= 0 else (x ** (-y) if abs(int(x)) == 1 else x * 0)


# op: body, NumPy meaning, …, largest error in ulps of the float32 and float64 versions (measured:
# every float32, samples of float64; 0.5 is a correctly rounded result, 0 an exact one).
FLOAT_FUNCTIONS = {
    "exp": Row(e.exp, np.exp, ulps=(1.5, 1.5)),
    "exp2": Row(e.exp2, np.exp2, ulps=(1.5, 1.5)),
    "expm1": Row(e.expm1, np.expm1, ulps=(2.0, 2.0)),
    "log": Row(e.log, np.log, ulps=(1.5, 1.5)),
    "log2": Row(e.log2, np.log2, ulps=(2.0, 2.0)),
    "log1p": Row(e.log1p, np.log1p, ulps=(1.5, 1.5)),
    "sigmoid": Row(e.sigmoid, _sigmoid, ulps=(2.5, 2.5)),
    "tanh": Row(e.tanh, np.tanh, ulps=(3.0, 3.0)),
    "sinh": Row(e.sinh, np.sinh, ulps=(2.0, 2.0)),
    "cosh": Row(e.cosh, np.cosh, ulps=(2.0, 2.0)),
    "asinh": Row(e.asinh, np.arcsinh, ulps=(3.0, 3.0)),
    "acosh": Row(e.acosh, np.arccosh, ulps=(3.0, 3.0)),
    "atanh": Row(e.atanh, np.arctanh, ulps=(3.0, 3.0)),
    "erf": Row(e.erf, math.erf, ulps=(2.0, 2.0)),
    "erfc": Row(e.erfc, math.erfc, ulps=(4.0, 4.0)),
    "sin": Row(t.sin, np.sin, ulps=(2.0, 2.0)),
    "cos": Row(t.cos, np.cos, ulps=(2.0, 2.0)),
    "tan": Row(t.tan, np.tan, ulps=(4.0, 4.0)),
    "asin": Row(t.asin, np.arcsin, ulps=(2.0, 2.0)),
    "acos": Row(t.acos, np.arccos, ulps=(2.0, 2.0)),
    "atan": Row(t.atan, np.arctan, ulps=(2.0, 2.0)),
    "atan2": Row(t.atan2, np.arctan2, 2, ulps=(2.0, 2.0)),
    "pow": Row(e.pow, np.power, 2, ulps=(1.0, 2.0)),
    "sqrt": Row(a.llvm("sqrt"), np.sqrt, ulps=(0.5, 0.5)),
    "rsqrt": Row(a.rsqrt, lambda x: 1 / np.sqrt(x), ulps=(1.5, 1.5)),
    "reciprocal": Row(a.reciprocal, np.reciprocal, ulps=(0.5, 0.5)),
    "neg": Row(a.negate, np.negative),
    "abs": Row(a.llvm("fabs"), np.abs),
    "sign": Row(a.sign, np.sign),
    "floor": Row(a.llvm("floor"), np.floor),
    "ceil": Row(a.llvm("ceil"), np.ceil),
    "trunc": Row(a.llvm("trunc"), np.trunc),
    "round": Row(a.llvm("roundeven"), np.rint),
    # Which of 0 and -0 it is nobody promises, and telling them apart would double the work.
    "maximum": Row(a.llvm("maximum", "nsz"), np.maximum, 2),
    "minimum": Row(a.llvm("minimum", "nsz"), np.minimum, 2),
    "copysign": Row(a.llvm("copysign"), np.copysign, 2),
    "fmod": Row(a.fmod, np.fmod, 2),
    "remainder": Row(a.remainder, np.remainder, 2, ulps=(0.5, 0.5)),
    "floor_div": Row(a.floor_div, np.floor_divide, 2, ulps=(1.0, 1.0)),
    "isnan": Row(a.isnan, np.isnan, result="bool"),
    "isinf": Row(a.isinf, np.isinf, result="bool"),
    "isfinite": Row(a.isfinite, np.isfinite, result="bool"),
}
INTEGER_FUNCTIONS = {
    "neg": Row(a.negate, np.negative),
    "abs": Row(a.integer_absolute, np.abs),
    "sign": Row(a.sign, np.sign),
    "maximum": Row(a.integer_maximum, np.maximum, 2),
    "minimum": Row(a.integer_minimum, np.minimum, 2),
    "floor_div": Row(a.integer_floor_div, np.floor_divide, 2),
    "remainder": Row(a.integer_remainder, np.remainder, 2),
    "fmod": Row(a.integer_fmod, np.fmod, 2),
    "pow": Row(a.integer_pow, _integer_pow, 2),
}
PHILOX = Row(random.philox2x32, philox2x32_numpy, 3)

# (op, dtype) -> its row: everything there is, but philox2x32.
ROWS = {
    **{(op, dtype): row for op, row in FLOAT_FUNCTIONS.items() for dtype in FLOATS},
    **{(op, dtype): row for op, row in INTEGER_FUNCTIONS.items() for dtype in INTEGERS},
}

# (op, dtype) -> the name of its function in `graphgrad.kernels.vecmath`; bool is computed as uint8.
SCALAR_FUNCTIONS = {(op, dtype): f"{op}_{SHORT_NAMES[dtype]}" for op, dtype in ROWS}
SCALAR_FUNCTIONS |= {(op, "bool"): f"{op}_u8" for op in ("maximum", "minimum")}

# (op, dtype) -> bound on the error in units in the last place of the true result.
ULP = {
    (op, dtype): bound
    for op, row in FLOAT_FUNCTIONS.items()
    for dtype, bound in zip(FLOATS, row.ulps, strict=True)
}
