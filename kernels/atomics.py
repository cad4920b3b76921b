"""Words several threads share: `load`, `store`, `add`, `take`, `pause`.

All are sequentially consistent, so protocols may be reasoned about one step after another. `invoke`
calls a C function by address. Like `abi`, each is a plain Python function, compiled to
one instruction; the plain ones are for one thread.
"""

import ctypes

from llvmlite import binding, ir

from .front.instruction import instruction
from .front.operands import WORD, word
from .vecmath.value import Value

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


# ---- what they are compiled to -------------------------------------------------------------------


@instruction(load)
def _emit_load(builder, table, index):
    place = builder.gep(table.ir, [word(builder, index)])
    return Value(builder, "int64", builder.load_atomic(place, ORDER, WORD_BYTES))


@instruction(store)
def _emit_store(builder, table, index, value):
    place = builder.gep(table.ir, [word(builder, index)])
    builder.store_atomic(word(builder, value), place, ORDER, WORD_BYTES)


@instruction(add)
def _emit_add(builder, table, index, value):
    return _exchange(builder, "add", table, index, value)


@instruction(take)
def _emit_take(builder, table, index):
    return _exchange(builder, "xchg", table, index, 1)


def _exchange(builder, operation, table, index, value):
    place = builder.gep(table.ir, [word(builder, index)])
    before = builder.atomic_rmw(operation, place, word(builder, value), ORDER)
    return Value(builder, "int64", before)


@instruction(pause)
def _emit_pause(builder):
    architecture = binding.get_process_triple().partition("-")[0].replace("arm64", "aarch64")
    if architecture in PAUSE:
        name, operands = PAUSE[architecture]
        int32 = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [int32] * len(operands))
        function = builder.module.globals.get(name) or ir.Function(builder.module, hint, name)
        builder.call(function, [int32(operand) for operand in operands])


@instruction(invoke)
def _emit_invoke(builder, function, first, second):
    kind = ir.FunctionType(ir.IntType(32), [WORD, WORD]).as_pointer()
    code = builder.inttoptr(word(builder, function), kind)
    result = builder.call(code, [word(builder, first), word(builder, second)])
    return Value(builder, "int32", result)
