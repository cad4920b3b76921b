"""Generated CUDA source as LLVM's text, by the translator that the CPU's kernels use.

    text = translate(kernel)        # for libnvvm; front.Unsupported: a construct outside of it

numba types and lowers a kernel in a third of a second; this takes a tenth of that. What the names
of `device` mean is asked of the intrinsics themselves, so both ways emit the same instructions.
"""

from __future__ import annotations

import builtins
import pathlib
import re
import types as python_types
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphgrad.config import config

from ..front.fixed import fixed_names
from ..front.function import Body, definition_of
from ..front.operands import SlotPointer, Unsupported, number
from ..recipes import from_source
from ..vecmath.value import LLVM_TYPES
from . import emit
from .gridir import GridKernel
from .values import GpuValue

_FAST = re.compile(r"\b(f\w+|call) (?:(?:reassoc|nsz|arcp|afn|contract) )+")


def translate(kernel: GridKernel, pointers: dict[int, str], cuda: Any) -> str:
    """LLVM's text of a module with the kernel; ``pointers`` are the element types of its slots,
    ``cuda`` is numba-cuda's `nvvm` module."""
    module = ir.Module(kernel.name)
    module.triple, module.data_layout = "nvptx64-nvidia-cuda", cuda.NVVM().data_layout
    cuda.add_ir_version(module)
    numbers = {"i32": "int32", "i64": "int64", "f32": "float32", "f64": "float64"}
    given: list[tuple[str, bool]] = [
        (numbers[kind], False) if kind in numbers else (pointers.get(k, "int64"), True)
        for k, kind in enumerate(kernel.signature)
    ]
    kinds = [LLVM_TYPES[t].as_pointer() if is_pointer else LLVM_TYPES[t] for t, is_pointer in given]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), kernel.name)
    cuda.set_cuda_kernel(function)
    cuda.set_launch_bounds(function, (kernel.block, kernel.resident))
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    operands: list[Any] = [
        SlotPointer(t, k, x) if is_pointer else GpuValue(builder, t, x)
        for k, ((t, is_pointer), x) in enumerate(zip(given, function.args, strict=True))
    ]
    _write(builder, kernel, operands)
    return _FAST.sub(r"\1 ", str(module))


def _write(builder: ir.IRBuilder, kernel: GridKernel, operands: list[Any]) -> None:
    recipe = from_source(kernel.name, kernel.source)
    path = str(pathlib.Path(config.cache_dir) / f"{recipe.name}_{recipe.key}.py")
    names = _Names(builder, len(operands))
    with_names = {**vars(builtins), "__import__": names.imported}
    function = recipe.function(path, {"__builtins__": with_names})
    definition = definition_of(function)
    body = _Body(builder, function, fixed_names(definition))
    body.wide = kernel.wide
    for argument, operand in zip(definition.args.args, operands, strict=True):
        body.bind(argument.arg, operand)
    body.statements(definition.body)
    body.finish()
    builder.ret_void()


class _Body(Body):
    """A kernel's statements: loops count in the kernel's index type."""

    wide = False

    def counter(self, count: ir.Value) -> GpuValue:
        whole = GpuValue(self.builder, "int64", count)
        return whole if self.wide else GpuValue(self.builder, "int32", whole.to("int32").ir)


class _Names:
    """What generated source imports, as the translator takes it."""

    def __init__(self, builder: ir.IRBuilder, slots: int) -> None:
        self.builder, self.slots = builder, slots
        self.meanings: dict[str, Any] = {}

    def imported(self, name: str, *rest: Any) -> Any:
        if name == "numba":
            return python_types.SimpleNamespace(cuda=self)
        if name == emit.CudaWriter.module:
            return _Device(self)
        return builtins.__import__(name, *rest)

    # ---- `cuda`

    @property
    def threadIdx(self) -> Any:
        return python_types.SimpleNamespace(x=self._register("tid"))

    @property
    def blockIdx(self) -> Any:
        return python_types.SimpleNamespace(x=self._register("ctaid"))

    def _register(self, name: str) -> GpuValue:
        whole = self._declared(f"llvm.nvvm.read.ptx.sreg.{name}.x", LLVM_TYPES["int32"])
        return GpuValue(self.builder, "int32", self.builder.call(whole, []))

    def _declared(self, name: str, result: Any) -> ir.Function:
        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, []), name)

    @property
    def syncthreads(self) -> Any:
        barrier = self._declared("llvm.nvvm.barrier0", ir.VoidType())

        def emit(builder: ir.IRBuilder) -> None:
            builder.call(barrier, [])

        return python_types.SimpleNamespace(emit=emit)


class _Device:
    """The module `device`, each name as something that emits itself."""

    def __init__(self, names: _Names) -> None:
        self.names = names

    def __getattr__(self, name: str) -> Any:
        from . import device

        intrinsic = getattr(device, name)
        return python_types.SimpleNamespace(emit=self._emitter(intrinsic))

    def _emitter(self, intrinsic: Any) -> Callable:
        from numba import types

        def emit(builder: ir.IRBuilder, *operands: Any) -> Any:
            kinds = [_numba_type(types, builder, x) for x in operands]
            signature, codegen = intrinsic._defn(None, *kinds)
            pairs = zip(operands, signature.args, strict=True)
            args = [_as(builder, x, kind) for x, kind in pairs]
            result = codegen(_CONTEXT, builder, signature, args)
            return self._operand(builder, types, signature.return_type, result)

        return emit

    def _operand(self, builder: ir.IRBuilder, types: Any, kind: Any, result: Any) -> Any:
        if kind == types.none:
            return None
        if isinstance(kind, types.BaseTuple):
            return tuple(
                self._operand(builder, types, t, x) for t, x in zip(kind.types, result, strict=True)
            )
        if isinstance(kind, types.CPointer):
            self.names.slots += 1
            return SlotPointer(str(kind.dtype), self.names.slots - 1, result)
        return GpuValue(builder, _name(kind), result)


class _Context:
    """What intrinsics ask of numba's target context."""

    @staticmethod
    def make_tuple(builder: ir.IRBuilder, kind: Any, items: Any) -> tuple[Any, ...]:
        return tuple(items)

    @staticmethod
    def get_dummy_value() -> None:
        return None


_CONTEXT = _Context()


def _name(kind: Any) -> str:
    return "bool" if str(kind) == "bool" or str(kind) == "boolean" else str(kind)


def _numba_type(types: Any, builder: ir.IRBuilder, x: Any) -> Any:
    if isinstance(x, SlotPointer):
        return types.CPointer(getattr(types, x.dtype))
    dtype = number(builder, x).dtype
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def _as(builder: ir.IRBuilder, x: Any, kind: Any) -> ir.Value:
    if isinstance(x, SlotPointer):
        return x.ir
    if str(kind).endswith("*"):
        raise Unsupported("a number where a pointer belongs")
    return number(builder, x, _name(kind)).ir
