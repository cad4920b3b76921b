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
under a debugger) which numba compiles to a single instruction or two.
"""

import ctypes
import operator
import struct

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model, type_callable

from .layout import KERNEL_TYPE, TABLE_TYPE

ARGS = types.CPointer(types.int64)
SIGNATURE = types.void(ARGS, types.int64, types.int64, types.int64)

ALIAS_DOMAIN = "graphgrad.slots"
WORD = ir.IntType(64)


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


# ---- what they mean to numba ---------------------------------------------------------------------


class SlotPointer(types.Type):
    """A pointer to `dtype` elements that no access through another slot overlaps."""

    def __init__(self, dtype: types.Type, slot: int) -> None:
        self.dtype, self.slot = dtype, slot
        super().__init__(name=f"SlotPointer({dtype}, {slot})")


@register_model(SlotPointer)
class _SlotPointerModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type: SlotPointer) -> None:
        element = dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, element.as_pointer())


def _register_pointer(function, dtype: types.Type) -> None:
    @type_callable(function)
    def type_pointer(context):
        def typer(args, slot):
            fits = args == ARGS and isinstance(slot, types.IntegerLiteral)
            return SlotPointer(dtype, slot.literal_value) if fits else None

        return typer

    @lower_builtin(function, ARGS, types.IntegerLiteral)
    def lower_pointer(context, builder, sig, values):
        place = builder.gep(values[0], [WORD(sig.return_type.slot)])
        return builder.inttoptr(builder.load(place), context.get_value_type(sig.return_type))


for _name, _function in POINTERS.items():
    if _name != "bool":
        _register_pointer(_function, getattr(types, _name))


def _mark_slot(builder: ir.IRBuilder, access: ir.Instruction, pointer: SlotPointer) -> None:
    """Say that `access` touches its slot and no lower one (either side saying it is enough)."""
    module = builder.module
    domain = module.add_metadata([f"{ALIAS_DOMAIN}"])
    scopes = [module.add_metadata([f"slot {k}", domain]) for k in range(pointer.slot + 1)]
    access.align = pointer.dtype.bitwidth // 8
    access.set_metadata("alias.scope", module.add_metadata([scopes[-1]]))
    if pointer.slot:
        access.set_metadata("noalias", module.add_metadata(scopes[:-1]))


@infer_global(operator.getitem)
class _TypeLoad(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index = args
        fits = isinstance(pointer, SlotPointer) and isinstance(index, types.Integer)
        return signature(pointer.dtype, pointer, types.int64) if fits else None


@lower_builtin(operator.getitem, SlotPointer, types.Integer)
def _lower_load(context, builder, sig, values):
    value = builder.load(builder.gep(values[0], [values[1]], inbounds=True))
    _mark_slot(builder, value, sig.args[0])
    return value


@infer_global(operator.setitem)
class _TypeStore(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index, _ = args
        fits = isinstance(pointer, SlotPointer) and isinstance(index, types.Integer)
        return signature(types.none, pointer, types.int64, pointer.dtype) if fits else None


@lower_builtin(operator.setitem, SlotPointer, types.Integer, types.Any)
def _lower_store(context, builder, sig, values):
    place = builder.gep(values[0], [values[1]], inbounds=True)
    _mark_slot(builder, builder.store(values[2], place), sig.args[0])


@infer_global(operator.add)
class _TypeAdvance(AbstractTemplate):
    def generic(self, args, kws):
        pointer, elements = args
        fits = isinstance(pointer, SlotPointer) and isinstance(elements, types.Integer)
        return signature(pointer, pointer, types.int64) if fits else None


@lower_builtin(operator.add, SlotPointer, types.Integer)
def _lower_advance(context, builder, sig, values):
    return builder.gep(values[0], [values[1]], inbounds=True)


@type_callable(fscalar)
def _type_fscalar(context):
    def typer(args, slot):
        fits = args == ARGS and isinstance(slot, types.Integer)
        return signature(types.float64, ARGS, types.int64) if fits else None

    return typer


@lower_builtin(fscalar, ARGS, types.Integer)
def _lower_fscalar(context, builder, sig, values):
    bits = builder.load(builder.gep(values[0], [values[1]]))
    return builder.bitcast(bits, ir.DoubleType())


@type_callable(address)
def _type_address(context):
    def typer(pointer):
        return types.int64 if isinstance(pointer, SlotPointer | types.CPointer) else None

    return typer


@lower_builtin(address, SlotPointer)
@lower_builtin(address, types.CPointer)
def _lower_address(context, builder, sig, values):
    return builder.ptrtoint(values[0], WORD)


@type_callable(words)
def _type_words(context):
    def typer(where):
        return signature(ARGS, types.int64) if isinstance(where, types.Integer) else None

    return typer


@lower_builtin(words, types.Integer)
def _lower_words(context, builder, sig, values):
    return builder.inttoptr(values[0], WORD.as_pointer())


@type_callable(local_table)
def _type_local_table(context):
    def typer(size):
        return ARGS if isinstance(size, types.IntegerLiteral) else None

    return typer


@lower_builtin(local_table, types.IntegerLiteral)
def _lower_local_table(context, builder, sig, values):
    # In the entry block, or a table inside a loop would grow the stack at every trip.
    return cgutils.alloca_once(builder, WORD, size=WORD(sig.args[0].literal_value))


@type_callable(call)
def _type_call(context):
    def typer(fn, args, start, stop, chunk):
        table = ARGS if args == ARGS else types.int64
        return signature(types.none, types.int64, table, *[types.int64] * 3)

    return typer


@lower_builtin(call, types.Integer, types.Any, types.Integer, types.Integer, types.Integer)
def _lower_call(context, builder, sig, values):
    fn, args, *bounds = values
    table = WORD.as_pointer()
    kernel = ir.FunctionType(ir.VoidType(), [table, WORD, WORD, WORD])
    if sig.args[1] != ARGS:
        args = builder.inttoptr(args, table)
    builder.call(builder.inttoptr(fn, kernel.as_pointer()), [args, *bounds])
    return context.get_dummy_value()
