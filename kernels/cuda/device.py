"""The names that generated CUDA source may import, beside numba's `cuda`.

    exp_f32, tanh_f64, …, philox2x32      functions of `graphgrad.kernels.vecmath`, same formulas
    load4_f32(pointer, i)                 a 128-bit load of four elements from i on, a multiple of 4
    store4_f32(pointer, i, a, b, c, d)
    add_f32(pointer, i, value), max_i32   atomic
    pointer_f32(table, i), real(table, i) word i of int64 as an address, as a float64's bits
    fold_add_f32_32(value)                over the 32 threads of a warp (or 2, 4, 8, 16 of them)
    scan_add_f32_32(value)                over those up to this one
    shared_f32_512(), local_f32_64()      arrays of a block, of a thread
    quotient(a, b), rest(a, b)            of indices, which are never negative
    from_f16(bits), to_f16(x), from_bf16, to_bf16

Each is an intrinsic: a few instructions where it is called. Under numba's simulator each is plain
Python. Imported by generated source alone, for it loads numba-cuda.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.cuda.extending import intrinsic

from ..abi import Pointer, fscalar
from ..vecmath import SCALAR_FUNCTIONS
from ..vecmath import table as vecmath
from ..vecmath.value import LLVM_TYPES, where
from .intrinsics import TYPES, intrinsic_of, numba_type, of_arity
from .values import GpuValue

SIMULATED = bool(config.ENABLE_CUDASIM)
INT = ir.IntType(32)
_one_at_a_time = threading.Lock()  # the simulator's threads are Python's
_ROWS = {name: key for key, name in SCALAR_FUNCTIONS.items()}


def __getattr__(name: str) -> Any:
    for pattern, make in _MAKERS.items():
        found = re.fullmatch(pattern, name)
        if found:
            return _made(make, *found.groups())
    if name in _ROWS or name == "philox2x32":
        return _made(_function, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _made(make: Callable, *words: str) -> Any:
    plain, typed = make(*words)
    if SIMULATED:
        return plain
    return typed


# ---- elementwise functions -----------------------------------------------------------------------


def _function(name: str) -> tuple[Any, Any]:
    from ..vecmath.functions import FUNCTIONS

    plain = FUNCTIONS[name]
    if name == "philox2x32":
        return plain, _philox()
    op, dtype = _ROWS[name]
    dtype = "uint8" if dtype == "bool" else dtype
    row = vecmath.ROWS[op, dtype]
    body = GpuValue.BODIES.get((op, dtype), row.body)
    return plain, intrinsic_of(body, row.result or dtype, *[dtype] * row.arity)


def _philox() -> Any:
    words = types.UniTuple(types.uint32, 2)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [GpuValue(builder, "uint32", x) for x in args]
        low, high = vecmath.PHILOX.body(*given)
        return context.make_tuple(builder, words, [low.ir, high.ir])

    signature = words(types.uint32, types.uint32, types.uint32)
    return of_arity(3, lambda *_: (signature, codegen))


# ---- indices -------------------------------------------------------------------------------------


def _divide(name: str) -> tuple[Any, Any]:
    plain = {"quotient": lambda a, b: a // b, "rest": lambda a, b: a % b}[name]
    instruction = {"quotient": "udiv", "rest": "urem"}[name]

    def typed(a: Any, b: Any) -> Any:
        kind = types.int64 if types.int64 in (a, b) else types.int32

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return kind(kind, kind), codegen

    return plain, of_arity(2, typed)


# ---- memory --------------------------------------------------------------------------------------


def _vector(builder: Any, pointer: Any, index: Any, dtype: str, count: int) -> tuple[Any, int]:
    """The address of `count` elements as one vector, and its alignment."""
    kind = ir.VectorType(LLVM_TYPES[dtype], count)
    place = builder.gep(pointer, [index])
    align = min(16, count * np.dtype(dtype).itemsize)
    return builder.bitcast(place, kind.as_pointer()), align


def _load(count: str, short: str) -> tuple[Any, Any]:
    n, dtype = int(count), TYPES[short]
    halves = short in ("f16", "bf16")
    widen = _from_half(short) if halves else None
    result = types.UniTuple(types.float32 if halves else numba_type(dtype), n)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, align = _vector(builder, *args, dtype, n)
        whole = builder.load(place, align=align)
        items = [builder.extract_element(whole, INT(k)) for k in range(n)]
        if widen:
            items = [widen(GpuValue(builder, dtype, x)).ir for x in items]
        return context.make_tuple(builder, result, items)

    def typed(pointer: Any, index: Any) -> Any:
        return result(pointer, types.int64), codegen

    def plain(pointer: Any, index: int) -> Any:
        items = tuple(pointer[index + k] for k in range(n))
        return tuple(_plain_from(short, x) for x in items) if halves else items

    return plain, of_arity(2, typed)


def _store(count: str, short: str) -> tuple[Any, Any]:
    n, dtype = int(count), TYPES[short]
    halves = short in ("f16", "bf16")
    element = types.float32 if halves else numba_type(dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index, *items = args
        if halves:
            items = [_to_half(short)(GpuValue(builder, "float32", x)).ir for x in items]
        place, align = _vector(builder, pointer, index, dtype, n)
        whole = ir.Constant(ir.VectorType(LLVM_TYPES[dtype], n), ir.Undefined)
        for k, item in enumerate(items):
            whole = builder.insert_element(whole, item, INT(k))
        builder.store(whole, place, align=align)
        return context.get_dummy_value()

    def typed(pointer: Any, index: Any, *items: Any) -> Any:
        return types.none(pointer, types.int64, *[element] * n), codegen

    def plain(pointer: Any, index: int, *items: Any) -> None:
        for k, item in enumerate(items):
            pointer[index + k] = _plain_to(short, item) if halves else item

    return plain, of_arity(2 + n, typed)


def _pointer(short: str) -> tuple[Any, Any]:
    dtype = TYPES[short]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.load(builder.gep(*_one(args)))
        # Through the address space of global memory: else each access asks which one it is.
        place = builder.inttoptr(word, LLVM_TYPES[dtype].as_pointer(1))
        return builder.addrspacecast(place, LLVM_TYPES[dtype].as_pointer())

    def typed(table: Any, index: Any) -> Any:
        return types.CPointer(numba_type(dtype))(table, types.int64), codegen

    return lambda table, index: Pointer(int(table[index]), np.dtype(dtype)), of_arity(2, typed)


def _real() -> tuple[Any, Any]:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.load(builder.gep(*_one(args))), ir.DoubleType())

    def typed(table: Any, index: Any) -> Any:
        return types.float64(table, types.int64), codegen

    return fscalar, of_arity(2, typed)


def _one(args: Any) -> tuple[Any, list[Any]]:
    """Operands of an instruction that finds the place of an element."""
    return args[0], [args[1]]


_RED = {"f32": ("f32", "f"), "f64": ("f64", "d"), "i32": ("u32", "r"), "u32": ("u32", "r"),
        "i64": ("u64", "l")}  # fmt: skip


def _atomic(op: str, short: str) -> tuple[Any, Any]:
    if short not in _RED or (op == "max" and short != "i32"):
        raise AttributeError(f"no atomic {op} of {TYPES[short]}")
    kind, register = ("s32", "r") if op == "max" else _RED[short]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index, value = args
        place = builder.ptrtoint(builder.gep(pointer, [index]), ir.IntType(64))
        shape = ir.FunctionType(ir.VoidType(), [place.type, value.type])
        text = f"red.global.{op}.{kind} [$0], $1;"
        builder.asm(shape, text, f"l,{register}", [place, value], side_effect=True)
        return context.get_dummy_value()

    def typed(pointer: Any, index: Any, value: Any) -> Any:
        return types.none(pointer, types.int64, numba_type(TYPES[short])), codegen

    def plain(pointer: Any, index: int, value: Any) -> None:
        with _one_at_a_time:
            now = pointer[index]
            pointer[index] = max(now, value) if op == "max" else now + value

    return plain, of_arity(3, typed)


def _array(where: str, short: str, size: str) -> tuple[Any, Any]:
    dtype = TYPES[short]
    pointer = types.CPointer(numba_type(dtype))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(LLVM_TYPES[dtype], int(size))
        if where == "local":
            with builder.goto_entry_block():
                room = builder.alloca(kind)
                room.align = 16
            return builder.bitcast(room, LLVM_TYPES[dtype].as_pointer())
        name = builder.module.get_unique_name("shared")
        room = ir.GlobalVariable(builder.module, kind, name, addrspace=3)
        room.linkage, room.align = "internal", 16
        room.initializer = ir.Constant(kind, ir.Undefined)
        place = builder.bitcast(room, LLVM_TYPES[dtype].as_pointer(3))
        return builder.addrspacecast(place, LLVM_TYPES[dtype].as_pointer())

    return None, intrinsic(lambda context: (pointer(), codegen))


# ---- 16 bits in memory, float32 in registers -----------------------------------------------------


def _from_half(short: str) -> Callable:
    def from_f16(bits: GpuValue) -> GpuValue:
        half = bits.builder.bitcast(bits.ir, ir.HalfType())
        return GpuValue(bits.builder, "float32", bits.builder.fpext(half, ir.FloatType()))

    def from_bf16(bits: GpuValue) -> GpuValue:
        return (bits.to("uint32") << 16).floats()

    return {"f16": from_f16, "bf16": from_bf16}[short]


def _to_half(short: str) -> Callable:
    def to_f16(x: GpuValue) -> GpuValue:
        half = x.builder.fptrunc(x.ir, ir.HalfType())
        return GpuValue(x.builder, "uint16", x.builder.bitcast(half, ir.IntType(16)))

    def to_bf16(x: GpuValue) -> GpuValue:
        """Rounded to nearest, ties to even; a NaN stays one."""
        bits = GpuValue(x.builder, "uint32", x.bits().ir)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        kept = (bits >> 16) | 0x40
        chosen = x.builder.select((x == x).ir, rounded.ir, kept.ir)
        return GpuValue(x.builder, "uint32", chosen).to("uint16")

    return {"f16": to_f16, "bf16": to_bf16}[short]


def _plain_from(short: str, bits: Any) -> Any:
    if short == "f16":
        return np.float32(np.uint16(bits).view(np.float16))
    return np.uint32(int(bits) << 16).view(np.float32)


def _plain_to(short: str, x: Any) -> Any:
    if short == "f16":
        return np.float16(x).view(np.uint16)
    bits = int(np.float32(x).view(np.uint32))
    return np.uint16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 if x == x else bits >> 16 | 0x40)


def _halves(direction: str, short: str) -> tuple[Any, Any]:
    if direction == "from":
        return functools.partial(_plain_from, short), intrinsic_of(
            _from_half(short), "float32", "uint16"
        )
    return functools.partial(_plain_to, short), intrinsic_of(_to_half(short), "uint16", "float32")


# ---- tensor cores --------------------------------------------------------------------------------

# Words of a thread's registers from its first ones, of pairs along k, by the pitch of rows: rows
# t // 4 and + 8 of the first operand, pairs t % 4 and + 4; columns t // 4 of the second.
FRAGMENT_A = ((0, 0), (8, 0), (0, 4), (8, 4))
FRAGMENT_B = ((0, 0), (0, 4))


def _mma(short: str, pitch: str) -> tuple[Any, Any]:
    """16x8 numbers of a warp += a 16x16 by 16x8 product of 16-bit floats."""
    text = (
        f"mma.sync.aligned.m16n8k16.row.col.f32.{short}.{short}.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    four = ir.LiteralStructType([ir.FloatType()] * 4)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, at, a, a_at, b, b_at = args

        def words(pointer: Any, first: Any, places: tuple[tuple[int, int], ...]) -> list[Any]:
            offsets = [row * int(pitch) + word for row, word in places]
            indices = [builder.add(first, ir.Constant(first.type, n)) for n in offsets]
            return [builder.load(builder.gep(pointer, [i]), align=4) for i in indices]

        places = [builder.gep(sums, [builder.add(at, ir.Constant(at.type, q))]) for q in range(4)]
        given = words(a, a_at, FRAGMENT_A) + words(b, b_at, FRAGMENT_B)
        given += [builder.load(place) for place in places]
        kind = ir.FunctionType(four, [x.type for x in given])
        # A function of its operands: shared memory read for one product is kept for the next.
        found = builder.asm(kind, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", given, side_effect=False)
        for name in ("convergent", "nounwind", "readnone"):
            found.attributes.add(name)
        for q, place in enumerate(places):
            builder.store(builder.extract_value(found, q), place)
        return context.get_dummy_value()

    def typed(sums: Any, at: Any, a: Any, a_at: Any, b: Any, b_at: Any) -> Any:
        return types.none(sums, types.int64, a, types.int64, b, types.int64), codegen

    return None, of_arity(6, typed)


# ---- warps ---------------------------------------------------------------------------------------


def _fold(op: str, short: str, lanes: str) -> tuple[Any, Any]:
    """Halves onto halves by butterfly shuffles: every thread ends with the same bits."""
    dtype = TYPES[short]
    combine = _COMBINE.get(op) or vecmath.ROWS[op, dtype].body
    combine = GpuValue.BODIES.get((op, dtype), combine)

    def body(x: GpuValue) -> GpuValue:
        half = int(lanes) // 2
        while half:
            x = combine(x, x.shuffled(half))
            half //= 2
        return x

    return None, intrinsic_of(body, dtype, dtype)


def _scan(op: str, short: str, lanes: str) -> tuple[Any, Any]:
    """Every thread adds what lies 1, 2, 4, … lanes before it, if that is of its group."""
    dtype = TYPES[short]
    combine = _COMBINE.get(op) or vecmath.ROWS[op, dtype].body

    def body(x: GpuValue) -> GpuValue:
        step = 1
        while step < int(lanes):
            earlier, exists = x.from_below(step, int(lanes))
            x = where(exists, combine(earlier, x), x)
            step *= 2
        return x

    return None, intrinsic_of(body, dtype, dtype)


_COMBINE: dict[str, Callable] = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_and": lambda x, y: x & y,
}

_MAKERS: dict[str, Callable] = {
    "(quotient|rest)": _divide,
    r"load(\d+)_(\w+)": _load,
    r"pointer_(\w+)": _pointer,
    "real": _real,
    r"store([248])_(\w+)": _store,
    r"(shared|local)_([a-z]+\d+)_(\d+)": _array,
    r"(from|to)_(bf16|f16)": _halves,
    r"mma_(bf16|f16)_(\d+)": _mma,
    r"fold_(\w+?)_([a-z]+\d+)_(\d+)": _fold,
    r"scan_(\w+?)_([a-z]+\d+)_(\d+)": _scan,
    r"(add|max)_([a-z]+\d+)": _atomic,
}
