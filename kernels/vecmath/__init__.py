"""Elementwise functions for kernels: branch-free, vectorised by the loop that calls them.

    from graphgrad.kernels.vecmath import exp_f32, philox2x32

    y[i] = exp_f32(x[i])                        # float32: 16 at a time with AVX-512
    w0, w1 = philox2x32(counter, high, key)     # two uint32 words

A function is named OP_TYPE (`exp_f32`, `tanh_f64`, `floor_div_i32`); an emitter asks
`SCALAR_FUNCTIONS[op, dtype]` for the name. `ULP[op, dtype]` bounds its error. The functions
themselves need llvmlite's IR, imported when the first of them is asked for; the tables do not.
"""

from .table import SCALAR_FUNCTIONS, ULP

__all__ = ["SCALAR_FUNCTIONS", "ULP"]


def __getattr__(name: str):
    from .functions import FUNCTIONS

    try:
        return FUNCTIONS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
