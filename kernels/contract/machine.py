"""Plain addresses in kernels: load an int64, call a function."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .lanes import I64, load_int64


@intrinsic
def int64_at(typingctx, address, index):
    """The `index`-th int64 of the table at `address`."""

    def generate(context, builder, signature, values):
        where = builder.add(values[0], builder.mul(values[1], ir.Constant(I64, 8)))
        return load_int64(builder, where)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def call_address(typingctx, address, arguments):
    """Call the C function at `address` with a tuple of int64 `arguments`; it returns nothing."""

    def generate(context, builder, signature, values):
        numbers = cgutils.unpack_tuple(builder, values[1])
        function = ir.FunctionType(ir.VoidType(), [I64] * len(numbers))
        builder.call(builder.inttoptr(values[0], function.as_pointer()), numbers)
        return context.get_dummy_value()

    return types.none(types.int64, arguments), generate
