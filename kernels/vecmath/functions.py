"""The elementwise functions as names a kernel may call, registered with numba.

Each is a plain Python function, which is what a kernel calls under `NUMBA_DISABLE_JIT=1`. Compiled,
a call appends the body from `table` to the kernel: there is nothing to link and nothing to inline.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import lower_builtin, type_callable

from .table import PHILOX, ROWS, SCALAR_FUNCTIONS, Row
from .value import Value

# numba reads the number of parameters of a function from its signature.
_TYPERS: dict[int, Callable] = {
    1: lambda sig: lambda x: sig,
    2: lambda sig: lambda x, y: sig,
    3: lambda sig: lambda x, y, z: sig,
}


def _numba_type(dtype: str) -> types.Type:
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def _plain_function(name: str, row: Row, dtype: str) -> Callable:
    result = np.dtype(row.result or dtype).type

    def function(*operands):
        with np.errstate(all="ignore"):
            return result(row.plain(*operands))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = row.body.__doc__
    return function


def _register(function: Callable, row: Row, dtype: str, result: types.Type) -> None:
    operand = _numba_type(dtype)
    sig = signature(result, *[operand] * row.arity)
    type_callable(function)(lambda context: _TYPERS[row.arity](sig))

    @lower_builtin(function, *sig.args)
    def lower(context, builder, sig, operands):
        values = row.body(*(Value(builder, dtype, x) for x in operands))
        if isinstance(values, Value):
            return values.ir
        return context.make_tuple(builder, sig.return_type, [value.ir for value in values])


def philox2x32(low, high, key):
    """Two uint32 words for the counter (low, high) under `key`: 10 rounds of Philox."""
    return tuple(word[()] for word in PHILOX.plain(low, high, key))


_register(philox2x32, PHILOX, "uint32", types.UniTuple(types.uint32, 2))

FUNCTIONS: dict[str, Callable] = {"philox2x32": philox2x32}
for (_op, _dtype), _row in ROWS.items():
    _name = SCALAR_FUNCTIONS[_op, _dtype]
    FUNCTIONS[_name] = _plain_function(_name, _row, _dtype)
    _register(FUNCTIONS[_name], _row, _dtype, _numba_type(_row.result or _dtype))
