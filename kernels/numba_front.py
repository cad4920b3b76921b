"""numba as a compiler of kernels: the reference, and what takes over outside the kernel language.

    text = translate(function, "name")    # as `front.translate`; takes 0.1 s, the first time 0.5

Registers what generated kernels call with numba's type inference: the pointers of `abi` and the
functions of `vecmath`. Their instructions are the ones `front` emits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import types
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model, type_callable

from . import abi
from .front import operands
from .layout import FASTMATH
from .vecmath.functions import FUNCTIONS, philox2x32
from .vecmath.halves import FUNCTIONS as HALVES
from .vecmath.table import PHILOX, ROWS, SCALAR_FUNCTIONS, Row
from .vecmath.value import Value

ARGS = types.CPointer(types.int64)
SIGNATURE = types.void(ARGS, types.int64, types.int64, types.int64)

# ---- compiling -----------------------------------------------------------------------------------


class _FrontEnd(_FunctionCompiler):
    """numba up to LLVM: it types a function and lowers it."""

    def _customize_flags(self, flags):
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        flags.enable_pyobject = False
        return flags


_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": set(FASTMATH),
    "boundscheck": False,
}


def translate(function: Callable, symbol: str) -> str:
    """LLVM's text of a module that exports the kernel `function` as `symbol`.

    It must not raise: an exception would have nobody to catch it and is dropped.
    """
    with global_compiler_lock:
        front = _FrontEnd(function, cpu_target, _OPTIONS, {}, pipeline_class=Compiler)
        result = front.compile(SIGNATURE.args, SIGNATURE.return_type)
        module = llvm.parse_assembly(str(result.library._final_module))
        module.link_in(llvm.parse_assembly(_c_entry(result, symbol)))
        for library in result.library._linking_libraries:
            module.link_in(library._get_module_for_linking(), preserve=True)
    return str(module)


def _c_entry(result, symbol: str) -> str:
    """IR of the function `symbol` that calls numba's native function and drops its status word."""
    context, description = cpu_target.target_context, result.fndesc
    argtypes, restype = description.argtypes, description.restype
    module = result.library.create_ir_module(symbol)
    native = ir.Function(
        module,
        context.call_conv.get_function_type(restype, argtypes),
        description.llvm_func_name,
    )
    entry_type = ir.FunctionType(ir.VoidType(), [context.get_value_type(a) for a in argtypes])
    entry = ir.Function(module, entry_type, symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    context.call_conv.call_function(builder, native, restype, argtypes, entry.args)
    builder.ret_void()
    return str(module)


# ---- pointers ------------------------------------------------------------------------------------


class SlotPointer(types.Type):
    """`operands.SlotPointer` as a type of numba's."""

    def __init__(self, dtype: str, slot: int) -> None:
        self.dtype, self.slot = dtype, slot
        super().__init__(name=f"SlotPointer({dtype}, {slot})")

    def of(self, value: ir.Value) -> operands.SlotPointer:
        return operands.SlotPointer(self.dtype, self.slot, value)


@register_model(SlotPointer)
class _SlotPointerModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type: SlotPointer) -> None:
        super().__init__(dmm, fe_type, operands.LLVM_TYPES[fe_type.dtype].as_pointer())


def _register_pointer(function: Callable, dtype: str) -> None:
    @type_callable(function)
    def type_pointer(context):
        def typer(args, slot):
            fits = args == ARGS and isinstance(slot, types.IntegerLiteral)
            return SlotPointer(dtype, slot.literal_value) if fits else None

        return typer

    @lower_builtin(function, ARGS, types.IntegerLiteral)
    def lower_pointer(context, builder, sig, values):
        return function.emit(builder, operands.Table(values[0]), sig.return_type.slot).ir


for _name, _function in abi.POINTERS.items():
    if _name != "bool":
        _register_pointer(_function, _name)


def _numba_type(dtype: str) -> types.Type:
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def _is_access(pointer: types.Type, index: types.Type) -> bool:
    return isinstance(pointer, SlotPointer) and isinstance(index, types.Integer)


@infer_global(operator.getitem)
class _TypeLoad(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index = args
        if _is_access(pointer, index):
            return signature(_numba_type(pointer.dtype), pointer, types.int64)
        return None


@lower_builtin(operator.getitem, SlotPointer, types.Integer)
def _lower_load(context, builder, sig, values):
    index = Value(builder, "int64", values[1])
    return operands.load(builder, sig.args[0].of(values[0]), index).ir


@infer_global(operator.setitem)
class _TypeStore(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index, _ = args
        if _is_access(pointer, index):
            return signature(types.none, pointer, types.int64, _numba_type(pointer.dtype))
        return None


@lower_builtin(operator.setitem, SlotPointer, types.Integer, types.Any)
def _lower_store(context, builder, sig, values):
    pointer, index = sig.args[0].of(values[0]), Value(builder, "int64", values[1])
    operands.store(builder, pointer, index, Value(builder, pointer.dtype, values[2]))


@infer_global(operator.add)
class _TypeAdvance(AbstractTemplate):
    def generic(self, args, kws):
        pointer, elements = args
        return signature(pointer, pointer, types.int64) if _is_access(pointer, elements) else None


@lower_builtin(operator.add, SlotPointer, types.Integer)
def _lower_advance(context, builder, sig, values):
    elements = Value(builder, "int64", values[1])
    return operands.binary(builder, "+", sig.args[0].of(values[0]), elements).ir


@type_callable(abi.fscalar)
def _type_fscalar(context):
    def typer(args, slot):
        fits = args == ARGS and isinstance(slot, types.Integer)
        return signature(types.float64, ARGS, types.int64) if fits else None

    return typer


@lower_builtin(abi.fscalar, ARGS, types.Integer)
def _lower_fscalar(context, builder, sig, values):
    slot = Value(builder, "int64", values[1])
    return abi.fscalar.emit(builder, operands.Table(values[0]), slot).ir


# ---- elementwise functions -----------------------------------------------------------------------

# numba reads the number of parameters of a function from its signature.
_TYPERS: dict[int, Callable] = {
    1: lambda sig: lambda x: sig,
    2: lambda sig: lambda x, y: sig,
    3: lambda sig: lambda x, y, z: sig,
}


def _register(function: Callable, row: Row, dtype: str, result: types.Type) -> None:
    sig = signature(result, *[_numba_type(dtype)] * row.arity)
    type_callable(function)(lambda context: _TYPERS[row.arity](sig))

    @lower_builtin(function, *sig.args)
    def lower(context, builder, sig, given):
        values = row.body(*(Value(builder, dtype, x) for x in given))
        if isinstance(values, Value):
            return values.ir
        return context.make_tuple(builder, sig.return_type, [value.ir for value in values])


_register(philox2x32, PHILOX, "uint32", types.UniTuple(types.uint32, 2))
for (_op, _dtype), _row in ROWS.items():
    _function = FUNCTIONS[SCALAR_FUNCTIONS[_op, _dtype]]
    _register(_function, _row, _dtype, _numba_type(_row.result or _dtype))
for _name, (_body, _, _dtype) in HALVES.items():
    _result = "float32" if _dtype == "int16" else "int16"
    _register(FUNCTIONS[_name], Row(_body, FUNCTIONS[_name]), _dtype, _numba_type(_result))
