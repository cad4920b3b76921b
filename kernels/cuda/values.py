"""Numbers of a GPU's kernel: `vecmath.value.Value` where instructions differ from a CPU's.

The bodies of `vecmath` run on these unchanged, so that both devices compute the same formulas. What
a CPU does in float64 because that is free there (reducing the argument of a sine, powers, exact
remainders of floats) is libdevice's here: within 2 ulp for sin and cos, 4 for tan and pow (the
bounds of the CUDA programming guide), fmod exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from llvmlite import ir

from ..vecmath.value import LLVM_TYPES, SHORT, Value, where
from . import gridir as g

# LLVM's name -> libdevice's, for what libnvvm does not know.
_LIBDEVICE = {"fabs": "fabs", "rint": "rint", "roundeven": "rint", "trunc": "trunc", "frem": "fmod"}
WORD = ir.IntType(32)
ALL_LANES, UP, BUTTERFLY, WHOLE_WARP = 0xFFFFFFFF, 1, 3, 31


class GpuValue(Value):
    """A number in a register of one thread."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    native_remainder = native_division = True
    BODIES: ClassVar[dict[tuple[str, str], Callable]] = {}

    def __neg__(self) -> Value:
        # libnvvm's language has no fneg.
        return (
            self._new(self.builder.fsub(self.like(-0.0).ir, self.ir)) if self.is_float else 0 - self
        )

    def intrinsic(self, name: str, *others: Any, flags: Sequence[str] = ()) -> Value:
        if name in ("maximum", "minimum"):
            return self._extreme(name, self.like(others[0]))
        if name in _LIBDEVICE:
            return self.libdevice(_LIBDEVICE[name], *others)
        return self._called(f"llvm.{name}.{SHORT[self.dtype]}", others)

    def libdevice(self, name: str, *others: Any) -> Value:
        """A function of CUDA's mathematical library."""
        return self._called(f"__nv_{name}{'f' if self.dtype == 'float32' else ''}", others)

    def _called(self, name: str, others: Sequence[Any]) -> Value:
        values = [self, *(self.like(other) for other in others)]
        kind = LLVM_TYPES[self.dtype]
        module = self.builder.module
        signature = ir.FunctionType(kind, [kind] * len(values))
        function = module.globals.get(name) or ir.Function(module, signature, name)
        return self._new(self.builder.call(function, [value.ir for value in values]))

    def _extreme(self, name: str, other: Value) -> Value:
        """The larger or smaller of two; NaN if one is."""
        if self.dtype == "float32":
            kind = LLVM_TYPES[self.dtype]
            text = f"{name[:3]}.NaN.f32 $0, $1, $2;"
            shape = ir.FunctionType(kind, [kind, kind])
            return self._new(self.builder.asm(shape, text, "=f,f,f", [self.ir, other.ir], False))
        first = self > other if name == "maximum" else self < other
        return where(first | (self != self), self, other)

    def remainder_of_floats(self, other: Value) -> Value:
        return self.libdevice("fmod", other)

    # ---- between the threads of a warp

    def shuffled(self, distance: int) -> Value:
        """The same number of the thread whose lane differs in the bit ``distance``."""
        return self._moved(BUTTERFLY, distance, WHOLE_WARP)[0]

    def from_below(self, distance: int, lanes: int) -> tuple[Value, Value]:
        """The same number of the thread ``distance`` lanes below; whether there is one in a group
        of ``lanes``."""
        value, exists = self._moved(UP, distance, (g.WARP - lanes) << 8)
        return value, type(self)(self.builder, "bool", exists)

    def _moved(self, mode: int, distance: int, limit: int) -> tuple[Value, ir.Value]:
        if self.bit_count < 32 or self.dtype == "bool":
            moved, exists = self.to("int32")._moved(mode, distance, limit)  # type: ignore[attr-defined]
            return self._new(moved.to(self.dtype).ir), exists
        bits = self.bits() if self.is_float else self
        b, wide = self.builder, ir.IntType(64)
        if self.bit_count == 32:
            word, exists = self._exchange(bits.ir, mode, distance, limit)
        else:
            low, exists = self._exchange(b.trunc(bits.ir, WORD), mode, distance, limit)
            top = b.trunc(b.lshr(bits.ir, wide(32)), WORD)
            high, _ = self._exchange(top, mode, distance, limit)
            word = b.or_(b.zext(low, wide), b.shl(b.zext(high, wide), wide(32)))
        kind = LLVM_TYPES[self.dtype]
        return self._new(b.bitcast(word, kind) if self.is_float else word), exists

    def _exchange(
        self, word: ir.Value, mode: int, distance: int, limit: int
    ) -> tuple[ir.Value, ir.Value]:
        result = ir.LiteralStructType((WORD, ir.IntType(1)))
        name, module = "llvm.nvvm.shfl.sync.i32", self.builder.module
        shape = ir.FunctionType(result, [WORD] * 5)
        function = module.globals.get(name) or ir.Function(module, shape, name)
        given = [WORD(ALL_LANES), WORD(mode), word, WORD(distance), WORD(limit)]
        both = self.builder.call(function, given)
        return self.builder.extract_value(both, 0), self.builder.extract_value(both, 1)


def _from_libdevice(name: str) -> Callable:
    return lambda x, *others: x.libdevice(name, *others)


for _dtype in SHORT:
    for _name in ("sin", "cos", "tan", "pow"):
        GpuValue.BODIES[_name, _dtype] = _from_libdevice(_name)
