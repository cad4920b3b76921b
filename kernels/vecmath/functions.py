"""The elementwise functions as names a kernel may call.

Each is a plain Python function, which is what a kernel calls under `NUMBA_DISABLE_JIT=1`. Compiled,
a call appends the body from `table` to the kernel: there is nothing to link and nothing to inline.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..front.instruction import instruction
from ..front.operands import number
from .halves import FUNCTIONS as HALVES
from .table import PHILOX, ROWS, SCALAR_FUNCTIONS, Row


def _plain_function(name: str, row: Row, dtype: str) -> Callable:
    result = np.dtype(row.result or dtype).type

    def function(*operands):
        with np.errstate(all="ignore"):
            return result(row.plain(*operands))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = row.body.__doc__
    return function


def _compiled_to(function: Callable, row: Row, dtype: str) -> Callable:
    @instruction(function)
    def emit(builder, *operands):
        return row.body(*(number(builder, x, dtype) for x in operands))

    return function


def philox2x32(low, high, key):
    """Two uint32 words for the counter (low, high) under `key`: 10 rounds of Philox."""
    return tuple(word[()] for word in PHILOX.plain(low, high, key))


FUNCTIONS: dict[str, Callable] = {"philox2x32": _compiled_to(philox2x32, PHILOX, "uint32")}
for (_op, _dtype), _row in ROWS.items():
    _name = SCALAR_FUNCTIONS[_op, _dtype]
    FUNCTIONS[_name] = _compiled_to(_plain_function(_name, _row, _dtype), _row, _dtype)


def _of_halves(name: str) -> Callable:
    body, plain, dtype = HALVES[name]
    plain.__name__ = plain.__qualname__ = name

    @instruction(plain)
    def emit(builder, x):
        return body(number(builder, x, dtype))

    return plain


FUNCTIONS |= {name: _of_halves(name) for name in HALVES}
