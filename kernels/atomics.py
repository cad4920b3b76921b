"""Words several threads share, as numba sees them: `load`, `store`, `add`, `take`, `pause`.

All are sequentially consistent, so protocols may be reasoned about one step after another. `invoke`
calls a C function by address. Like `abi`, each is a plain Python function which numba compiles to
one instruction; the plain ones are for one thread.
"""

import ctypes

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from .abi import ARGS, WORD

ORDER = "seq_cst"
WORD_BYTES = 8
PAUSE = {"x86_64": ("llvm.x86.sse2.pause", []), "aarch64": ("llvm.aarch64.hint", [1])}


def load(table, index) -> int:
    """The word at `table[index]`."""
    return table[index]


def store(table, index, value) -> None:
    """`table[index] = value`, seen by all threads before anything this thread does next."""
    table[index] = value


def add(table, index, value) -> int:
    """Add `value` to `table[index]` in one step; returns what was there before."""
    before = table[index]
    table[index] = before + value
    return before


def take(table, index) -> int:
    """Set `table[index]` to 1 in one step; returns what was there before: 0 to one thread only."""
    before = table[index]
    table[index] = 1
    return before


def pause() -> None:
    """Tell the core that this is a waiting loop."""


def invoke(function, first, second) -> int:
    """`function(first, second)` of a C function, by address, on word-sized arguments."""
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t)(function)(first, second)


def _register(function, result, *arguments):
    """Type `function` as `result(*arguments)`; decorates what emits its instructions."""

    @infer_global(function)
    class Type(AbstractTemplate):
        key = function

        def generic(self, given, keywords):
            return signature(result, *arguments)

    def decorate(emit):
        @lower_builtin(function, *arguments)
        def lower(context, builder, sig, values):
            return emit(context, builder, *values)

        return emit

    return decorate


@_register(load, types.int64, ARGS, types.int64)
def _emit_load(context, builder, table, index):
    return builder.load_atomic(builder.gep(table, [index]), ORDER, WORD_BYTES)


@_register(store, types.none, ARGS, types.int64, types.int64)
def _emit_store(context, builder, table, index, value):
    builder.store_atomic(value, builder.gep(table, [index]), ORDER, WORD_BYTES)
    return context.get_dummy_value()


@_register(add, types.int64, ARGS, types.int64, types.int64)
def _emit_add(context, builder, table, index, value):
    return builder.atomic_rmw("add", builder.gep(table, [index]), value, ORDER)


@_register(take, types.int64, ARGS, types.int64)
def _emit_take(context, builder, table, index):
    return builder.atomic_rmw("xchg", builder.gep(table, [index]), WORD(1), ORDER)


@_register(pause, types.none)
def _emit_pause(context, builder):
    architecture = binding.get_process_triple().partition("-")[0].replace("arm64", "aarch64")
    if architecture in PAUSE:
        name, operands = PAUSE[architecture]
        int32 = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [int32] * len(operands))
        function = cgutils.get_or_insert_function(builder.module, hint, name)
        builder.call(function, [int32(operand) for operand in operands])
    return context.get_dummy_value()


@_register(invoke, types.int32, types.int64, types.int64, types.int64)
def _emit_invoke(context, builder, function, first, second):
    c_function = ir.FunctionType(ir.IntType(32), [WORD, WORD])
    return builder.call(builder.inttoptr(function, c_function.as_pointer()), [first, second])
