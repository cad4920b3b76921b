"""What a kernel may say: typed pointers into its argument table, scalars, and calls by address.

Every kernel is `def NAME(args, start, stop, chunk)`, where `args` is a table of int64 slots:

    x = f32(args, 0)            # slot 0 holds a float32 pointer; the slot number is a literal
    y = f32(args, 1) + args[5]  # the same slot, args[5] elements further on
    alpha = fscalar(args, 2)    # slot 2 holds the bits of a float64
    n = args[3]                 # slot 3 holds an extent
    y[i] = alpha * x[i]

Loads and stores carry their slot as an alias scope, so LLVM vectorises a loop over any number of
slots without run-time overlap checks. It follows that two slots must never overlap: an in-place
operand is ONE slot, read and written.

Each name here is a plain Python function (with `NUMBA_DISABLE_JIT=1` a kernel runs as it reads,
under a debugger) which is compiled to a single instruction or two: see the second half, and
`numba_front` for numba.
"""

import ctypes
import struct
from collections.abc import Callable

import numpy as np
from llvmlite import ir

from .front.instruction import instruction
from .front.operands import WORD, SlotPointer, Table, Unsupported, word
from .layout import KERNEL_TYPE, TABLE_TYPE
from .vecmath.value import LLVM_TYPES, Value

# ---- what the names mean in plain Python ---------------------------------------------------------


class Pointer:
    """A typed pointer at a raw address: the plain Python meaning of `f32(args, 0)`."""

    __slots__ = ("address", "cell", "dtype")

    def __init__(self, address: int, dtype: np.dtype) -> None:
        self.address, self.dtype = int(address), dtype
        self.cell = np.ctypeslib.as_ctypes_type(dtype)

    def __getitem__(self, index: int):
        where = self.address + int(index) * self.dtype.itemsize
        return self.dtype.type(self.cell.from_address(where).value)

    def __setitem__(self, index: int, value) -> None:
        where = self.address + int(index) * self.dtype.itemsize
        self.cell.from_address(where).value = self.dtype.type(value).item()

    def __add__(self, elements: int) -> "Pointer":
        return Pointer(self.address + int(elements) * self.dtype.itemsize, self.dtype)


def _pointer_function(name: str, dtype: str):
    def at_slot(args, slot):
        return Pointer(args[slot], np.dtype(dtype))

    at_slot.__name__ = at_slot.__qualname__ = name
    at_slot.__doc__ = f"The {dtype} pointer in slot `slot` (a literal) of `args`."
    return at_slot


u8 = _pointer_function("u8", "uint8")
i8 = _pointer_function("i8", "int8")
i16 = _pointer_function("i16", "int16")
i32 = _pointer_function("i32", "int32")
u32 = _pointer_function("u32", "uint32")
i64 = _pointer_function("i64", "int64")
f32 = _pointer_function("f32", "float32")
f64 = _pointer_function("f64", "float64")

# The function of this module that reads a pointer to each dtype (bool is stored as 0 or 1).
POINTERS = {
    "bool": u8,
    "uint8": u8,
    "int8": i8,
    "int16": i16,
    "int32": i32,
    "uint32": u32,
    "int64": i64,
    "float32": f32,
    "float64": f64,
}


def fscalar(args, slot) -> float:
    """The float64 whose bits are in slot `slot` of `args`."""
    return struct.unpack("<d", struct.pack("<q", args[slot]))[0]


def address(pointer) -> int:
    """The address a slot pointer or an `args` table points to, as an int64."""
    if isinstance(pointer, Pointer):
        return pointer.address
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def words(where: int):
    """The int64 table at address `where`: the inverse of `address(args)`."""
    return ctypes.cast(int(where), TABLE_TYPE)


def local_table(size: int):
    """A fresh int64 table of `size` (a literal) slots that lives until the kernel returns."""
    return (ctypes.c_int64 * size)()


def call(fn, args, start, stop, chunk) -> None:
    """Call the kernel at address `fn`; `args` is a table, or the address of one."""
    table = (
        words(int(args)) if isinstance(args, int | np.integer) else ctypes.cast(args, TABLE_TYPE)
    )
    KERNEL_TYPE(int(fn))(table, int(start), int(stop), int(chunk))


# ---- what they are compiled to -------------------------------------------------------------------


def _emit_pointer(dtype: str) -> Callable:
    def emit(builder, table, slot):
        if type(slot) is not int:
            raise Unsupported("a slot that is not a literal")
        place = builder.load(builder.gep(table.ir, [WORD(slot)]))
        return SlotPointer(dtype, slot, builder.inttoptr(place, LLVM_TYPES[dtype].as_pointer()))

    return emit


for _name, _function in POINTERS.items():
    if _name != "bool":
        instruction(_function)(_emit_pointer(_name))


@instruction(fscalar)
def _emit_fscalar(builder, table, slot):
    bits = builder.load(builder.gep(table.ir, [word(builder, slot)]))
    return Value(builder, "float64", builder.bitcast(bits, ir.DoubleType()))


@instruction(address)
def _emit_address(builder, pointer):
    return Value(builder, "int64", builder.ptrtoint(pointer.ir, WORD))


@instruction(words)
def _emit_words(builder, where):
    return Table(builder.inttoptr(word(builder, where), WORD.as_pointer()))


@instruction(local_table)
def _emit_local_table(builder, size):
    # In the entry block, or a table inside a loop would grow the stack at every trip.
    with builder.goto_entry_block():
        return Table(builder.alloca(WORD, size=WORD(size)))


@instruction(call)
def _emit_call(builder, fn, args, *bounds):
    table = WORD.as_pointer()
    kernel = ir.FunctionType(ir.VoidType(), [table, WORD, WORD, WORD])
    where = args.ir if isinstance(args, Table) else builder.inttoptr(word(builder, args), table)
    code = builder.inttoptr(word(builder, fn), kernel.as_pointer())
    builder.call(code, [where, *(word(builder, bound) for bound in bounds)])
