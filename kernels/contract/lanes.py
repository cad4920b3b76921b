"""Vectors in memory, as LLVM instructions: what the micro-kernels and packers are written in.

`Lanes` emits masked loads and stores, broadcasts, fused multiply-adds and lane shuffles for one
vector type. Every address is a plain int64, because the engine's tables hold byte offsets. A lane
that is masked off is never touched, so a vector may hang over the end of a row or of a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_ELEMENTS = {"float32": (ir.FloatType(), "f32", 4), "float64": (ir.DoubleType(), "f64", 8)}


def int64(value: int) -> ir.Constant:
    """An int64 constant."""
    return ir.Constant(I64, value)


def load_int64(builder: ir.IRBuilder, address: ir.Value, index: int = 0) -> ir.Value:
    """The `index`-th int64 of the table at `address`."""
    where = builder.add(address, int64(8 * index)) if index else address
    return builder.load(builder.inttoptr(where, I64.as_pointer()), align=8)


class Lanes:
    """Instructions on vectors of `count` numbers of `dtype`, emitted by `builder`."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, count: int):
        self.builder, self.count = builder, count
        self.element, suffix, self.bytes = _ELEMENTS[dtype]
        self.type = ir.VectorType(self.element, count)
        self.mask_type = ir.VectorType(I1, count)
        self.suffix = f"v{count}{suffix}"
        self.zero = ir.Constant(self.type, [0.0] * count)

    def mask(self, width: ir.Value) -> ir.Value:
        """Lanes [0, width); `width` is an int64, any value."""
        index = ir.VectorType(I32, self.count)
        iota = ir.Constant(index, list(range(self.count)))
        return self.builder.icmp_signed(
            "<", iota, self._splat(self.builder.trunc(width, I32), index)
        )

    def load(self, address: ir.Value, mask: ir.Value) -> ir.Value:
        """The lanes of `mask` from consecutive numbers at `address`; zero elsewhere."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        operands = [pointer, ir.Constant(I32, self.bytes), mask, self.zero]
        return self._call("masked.load", f"{self.suffix}.p0", self.type, operands)

    def load_all(self, address: ir.Value) -> ir.Value:
        """Every lane from consecutive numbers at `address`."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        return self.builder.load(pointer, align=self.bytes)

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value) -> None:
        """Write the lanes of `mask` to consecutive numbers at `address`."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        operands = [value, pointer, ir.Constant(I32, self.bytes), mask]
        self._call("masked.store", f"{self.suffix}.p0", ir.VoidType(), operands)

    def store_all(self, value: ir.Value, address: ir.Value) -> None:
        """Write every lane."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        self.builder.store(value, pointer, align=self.bytes)

    def prefetch(self, address: ir.Value, writes: bool = True) -> None:
        """Ask for the cache line of `address` ahead of its use."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        write, keep, data = (ir.Constant(I32, flag) for flag in (int(writes), 3, 1))
        self._call("prefetch", "p0", ir.VoidType(), [pointer, write, keep, data])

    def load_number(self, address: ir.Value) -> ir.Value:
        """The single number at `address`."""
        return self.builder.load(
            self.builder.inttoptr(address, self.element.as_pointer()), align=self.bytes
        )

    def store_number(self, value: ir.Value, address: ir.Value) -> None:
        """Write a single number."""
        pointer = self.builder.inttoptr(address, self.element.as_pointer())
        self.builder.store(value, pointer, align=self.bytes)

    def broadcast(self, address: ir.Value) -> ir.Value:
        """The number at `address` in every lane."""
        return self._splat(self.load_number(address), self.type)

    def multiply_add(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x * y + z, fused where the processor can (`llvm.fma` would call libm where it cannot)."""
        return self._call("fmuladd", self.suffix, self.type, [x, y, z])

    def pick(self, x: ir.Value, y: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """The chosen `lanes` of x followed by y."""
        index = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(x, y, index)

    def number(self, vector: ir.Value, lane: int) -> ir.Value:
        """One lane as a number."""
        return self.builder.extract_element(vector, ir.Constant(I32, lane))

    def _splat(self, value: ir.Value, kind: ir.VectorType) -> ir.Value:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.count), [0] * self.count)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def _call(self, name: str, suffix: str, result: ir.Type, operands: list[ir.Value]) -> ir.Value:
        # by name: llvmlite's declare_intrinsic refuses vector types
        name, module = f"llvm.{name}.{suffix}", self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [value.type for value in operands]), name
        )
        return self.builder.call(function, operands)
