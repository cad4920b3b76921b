"""Functions that exported kernels and statements call, as the text an exported file holds.

    SCALAR["exp_f32"]              # "np.exp": what NumPy has, numba compiles
    helper_texts()["rsqrt_f32"]    # the source of a function that NumPy lacks
    EXPRESSIONS["sum"]             # one primitive over whole arrays, in NumPy

Kernels call elementwise functions by type (``exp_f32``); an exported file spells most of them as
NumPy does, and has the rest as plain Python.
"""

from __future__ import annotations

import functools

import numpy as np

from graphgrad import interpret

_FLOATS = {"f32": "float32", "f64": "float64"}
_INTEGERS = {f"{s}{bits}": f"{'u' * (s == 'u')}int{bits}" for s in "iu" for bits in (8, 16, 32, 64)}

# Operations whose NumPy function numba knows, on numbers as on arrays.
_NUMPY = {
    "exp": "exp",
    "exp2": "exp2",
    "expm1": "expm1",
    "log": "log",
    "log2": "log2",
    "log1p": "log1p",
    "tanh": "tanh",
    "sinh": "sinh",
    "cosh": "cosh",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "pow": "power",
    "sqrt": "sqrt",
    "reciprocal": "reciprocal",
    "neg": "negative",
    "abs": "abs",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "round": "rint",
    "maximum": "maximum",
    "minimum": "minimum",
    "copysign": "copysign",
    "fmod": "fmod",
    "remainder": "remainder",
    "floor_div": "floor_divide",
    "isnan": "isnan",
    "isinf": "isinf",
    "isfinite": "isfinite",
}
_INTEGER_OPS = "neg abs sign maximum minimum floor_div remainder fmod".split()

SCALAR = {f"{op}_{t}": f"np.{name}" for op, name in _NUMPY.items() for t in _FLOATS}
SCALAR |= {f"{op}_{t}": f"np.{_NUMPY[op]}" for op in _INTEGER_OPS for t in _INTEGERS}

_FLOAT_TEXTS = {
    "rsqrt": """
def rsqrt_{t}(x):
    return {T}(1) / np.sqrt(x)
""",
    "sigmoid": '''
def sigmoid_{t}(x):
    """1 / (1 + exp(-x)) without overflow: exp only ever sees -|x|."""
    e = np.exp(-abs(x))
    return {T}(1) / ({T}(1) + e) if x >= 0 else e / ({T}(1) + e)
''',
    "erf": """
def erf_{t}(x):
    return {T}(math.erf(x))
""",
    "erfc": """
def erfc_{t}(x):
    return {T}(math.erfc(x))
""",
}
_INTEGER_TEXTS = {
    "pow": '''
def pow_{t}(x, y):
    """x to an integer power; a negative one leaves 1 or -1, or 0."""
    result, square, rest = {T}(1), x, abs(y)
    while rest:
        if rest & 1:
            result = {T}(result * square)
        square, rest = {T}(square * square), rest >> 1
    return result if y >= 0 or abs(x) == 1 else {T}(0)
''',
}
_PHILOX = '''
def philox2x32(low, high, key):
    """Two random words for a counter (low, high) under a key: Philox-2x32, 10 rounds (SC 2011)."""
    a, b, k = np.uint64(low), np.uint64(high), np.uint64(key)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        product = a * np.uint64(0xD256D193)
        a, b = (product >> half) ^ k ^ b, product & mask
        k = (k + np.uint64(0x9E3779B9)) & mask
    return np.uint32(a), np.uint32(b)
'''


@functools.cache
def helper_texts() -> dict[str, str]:
    """Sources of the elementwise functions that have no NumPy name, by their names."""
    found = {"philox2x32": _PHILOX}
    for texts, short in ((_FLOAT_TEXTS, _FLOATS), (_INTEGER_TEXTS, _INTEGERS)):
        for op, text in texts.items():
            for t, dtype in short.items():
                found[f"{op}_{t}"] = text.format(t=t, T=f"np.{dtype}")
    return {name: f"@njit\n{text.strip()}\n" for name, text in found.items()}


# ------------------------------------------------------------------------- whole arrays, with NumPy

# Primitives that one NumPy expression computes; operands are {0}, {1}, attributes by their names.
EXPRESSIONS = {
    "rsqrt": "np.reciprocal(np.sqrt({0}))",
    "identity": "np.array({0})",
    "cast": "{0}.astype(np.{dtype})",
    "bitcast": "np.ascontiguousarray({0}).view(np.{dtype}).reshape({shape})",
    "reshape": "{0}.reshape({shape})",
    "permute": "{0}.transpose({axes})",
    "expand": "np.broadcast_to({0}, {shape})",
    "flip": "np.flip({0}, {axes})",
    "view_as_real": "np.stack((np.real({0}), np.imag({0})), -1)",
    "view_as_complex": "np.ascontiguousarray({0}).view(np.{dtype})[..., 0]",
    "sum": "np.add.reduce({0}, {axes}, {0}.dtype)",
    "prod": "np.multiply.reduce({0}, {axes}, {0}.dtype)",
    "max": "np.maximum.reduce({0}, {axes})",
    "min": "np.minimum.reduce({0}, {axes})",
    "argmax": "np.argmax({0}, {axis})",
    "argmin": "np.argmin({0}, {axis})",
    "cumsum": "np.cumsum({0}, {axis}, {0}.dtype)",
    "cumprod": "np.cumprod({0}, {axis}, {0}.dtype)",
    "cummax": "np.maximum.accumulate({0}, {axis})",
    "cummin": "np.minimum.accumulate({0}, {axis})",
    "result": "{0}[{index}]",
}
EXPRESSIONS |= {
    name: f"np.{rule.__name__}({', '.join(f'{{{i}}}' for i in range(rule.nin))})"
    for name, rule in interpret.RULES.items()
    if isinstance(rule, np.ufunc)
}
EXPRESSIONS["where"] = "np.where({0}, {1}, {2})"
