"""Plain addresses in kernels: load an int64, call a function."""

from __future__ import annotations

from llvmlite import ir

from ..front.instruction import machine_instruction
from .lanes import I64, load_int64


@machine_instruction()
def int64_at(builder, address, index):
    """The `index`-th int64 of the table at `address`."""
    return load_int64(builder, builder.add(address, builder.mul(index, ir.Constant(I64, 8))))


@machine_instruction()
def call_address(builder, address, arguments):
    """Call the C function at `address` with a tuple of int64 `arguments`; it returns nothing."""
    function = ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
    builder.call(builder.inttoptr(address, function.as_pointer()), arguments)
