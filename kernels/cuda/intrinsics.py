"""How a name of `device` becomes instructions: numba's intrinsics, of so many operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.cuda.extending import intrinsic

from .values import GpuValue

# Short names of what memory holds; 16-bit floats are words there.
TYPES = {
    "u8": "uint8",
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    "u32": "uint32",
    "f16": "uint16",
    "bf16": "uint16",
    "f32": "float32",
    "f64": "float64",
}


def numba_type(dtype: str) -> Any:
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def intrinsic_of(emit: Callable, result: str, *operands: str) -> Any:
    """An intrinsic over numbers: `emit` takes and gives Values of these dtypes."""
    signature = numba_type(result)(*map(numba_type, operands))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [GpuValue(builder, d, x) for d, x in zip(operands, args, strict=True)]
        return emit(*given).ir

    return of_arity(len(operands), lambda *_: (signature, codegen))


def of_arity(count: int, typed: Callable) -> Any:
    """numba reads the number of operands off the function."""
    return intrinsic(_ARITIES[count](typed))


_ARITIES: dict[int, Callable] = {
    1: lambda f: lambda context, a: f(a),
    2: lambda f: lambda context, a, b: f(a, b),
    3: lambda f: lambda context, a, b, c: f(a, b, c),
    4: lambda f: lambda context, a, b, c, d: f(a, b, c, d),
    6: lambda f: lambda context, a, b, c, d, e, g: f(a, b, c, d, e, g),
    10: lambda f: lambda context, a, b, c, d, e, g, h, i, j, k: f(a, b, c, d, e, g, h, i, j, k),
}
