"""Numbers as LLVM values: what the functions of this package are written in.

A `Value` is one number inside the kernel being compiled. Python's operators on it append an LLVM
instruction, literals take its dtype, and there is no branch to be taken: `where` evaluates both
sides. So a body below reads as a formula, compiles in microseconds, and vectorises in whatever loop
it is called from, 8 or 16 elements at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from ..layout import ALIAS_DOMAIN

# Kernels are compiled with `reassoc` and `contract`, which would cancel the error terms of two-sums
# and of argument reductions, or count them twice. numba gives these flags only to instructions that
# have none, so ours carry one that allows nothing: `afn` is about calls of functions.
FLAGS = ("afn",)


class OwnFlags(ir.instructions.FastMathFlags):
    """The flags of our calls, to which numba adds its own otherwise: fma(x, c, -x·c) would be 0."""

    def __init__(self, flags: Sequence[str]) -> None:
        super().__init__()
        self.update(flags)

    def add(self, name: str) -> None:
        pass


LLVM_TYPES = {
    "bool": ir.IntType(1),
    **{f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
}
SHORT = {"float32": "f32", "float64": "f64"}


class Value:
    """A number of type `dtype` (a NumPy name) held by the LLVM value `ir`."""

    __slots__ = ("builder", "dtype", "ir")
    __array_ufunc__ = None
    # Whether the machine divides integers, and finds remainders of float32, as well as by formulas.
    native_remainder = native_division = False
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, dtype: str, value: ir.Value) -> None:
        self.builder, self.dtype, self.ir = builder, dtype, value

    # ---- types

    @property
    def is_float(self) -> bool:
        return self.dtype in SHORT

    @property
    def is_signed(self) -> bool:
        return self.dtype.startswith("int")

    @property
    def bit_count(self) -> int:
        return 8 * np.dtype(self.dtype).itemsize

    def like(self, literal) -> Value:
        """`literal` (a Python number, or a Value already) as a number of this dtype."""
        if isinstance(literal, Value):
            return literal
        kind = LLVM_TYPES[self.dtype]
        number = float(np.dtype(self.dtype).type(literal)) if self.is_float else int(literal)
        return self._new(ir.Constant(kind, number))

    def to(self, dtype: str) -> Value:
        """This number converted: floats round, floats to integers truncate (and must fit)."""
        if dtype == self.dtype:
            return self
        target = np.dtype(dtype)
        if self.is_float and dtype in SHORT:
            name = "fpext" if target.itemsize > 4 else "fptrunc"
        elif self.is_float:
            name = "fptosi" if target.kind == "i" else "fptoui"
        elif dtype in SHORT:
            name = "sitofp" if self.is_signed else "uitofp"
        elif 8 * target.itemsize == self.bit_count and self.dtype != "bool":
            return type(self)(self.builder, dtype, self.ir)
        elif 8 * target.itemsize > self.bit_count or self.dtype == "bool":
            name = "sext" if self.is_signed else "zext"
        else:
            name = "trunc"
        return type(self)(
            self.builder, dtype, getattr(self.builder, name)(self.ir, LLVM_TYPES[dtype])
        )

    def bits(self) -> Value:
        """The bits of a float, as a signed integer of its size."""
        return self._bitcast(f"int{self.bit_count}")

    def floats(self) -> Value:
        """The float whose bits these are: the inverse of `bits`."""
        return self._bitcast(f"float{self.bit_count}")

    def _bitcast(self, dtype: str) -> Value:
        return type(self)(self.builder, dtype, self.builder.bitcast(self.ir, LLVM_TYPES[dtype]))

    def _new(self, value: ir.Value, dtype: str | None = None) -> Value:
        return type(self)(self.builder, dtype or self.dtype, value)

    # ---- operators

    def _arithmetic(self, name: str, other, swap: bool = False) -> Value:
        left, right = (self.like(other), self) if swap else (self, self.like(other))
        if self.is_float:
            return self._new(getattr(self.builder, f"f{name}")(left.ir, right.ir, flags=FLAGS))
        return self._new(getattr(self.builder, name)(left.ir, right.ir))

    def __add__(self, other) -> Value:
        return self._arithmetic("add", other)

    def __radd__(self, other) -> Value:
        return self._arithmetic("add", other)

    def __sub__(self, other) -> Value:
        return self._arithmetic("sub", other)

    def __rsub__(self, other) -> Value:
        return self._arithmetic("sub", other, swap=True)

    def __mul__(self, other) -> Value:
        return self._arithmetic("mul", other)

    def __rmul__(self, other) -> Value:
        return self._arithmetic("mul", other)

    def __truediv__(self, other) -> Value:
        return self._arithmetic("div", other)

    def __rtruediv__(self, other) -> Value:
        return self._arithmetic("div", other, swap=True)

    def __neg__(self) -> Value:
        return self._new(self.builder.fneg(self.ir)) if self.is_float else 0 - self

    def __and__(self, other) -> Value:
        return self._new(self.builder.and_(self.ir, self.like(other).ir))

    def __or__(self, other) -> Value:
        return self._new(self.builder.or_(self.ir, self.like(other).ir))

    def __xor__(self, other) -> Value:
        return self._new(self.builder.xor(self.ir, self.like(other).ir))

    def __lshift__(self, count: int) -> Value:
        return self._new(self.builder.shl(self.ir, self.like(count).ir))

    def __rshift__(self, count: int) -> Value:
        shift = self.builder.ashr if self.is_signed else self.builder.lshr
        return self._new(shift(self.ir, self.like(count).ir))

    def _compare(self, sign: str, other) -> Value:
        right = self.like(other).ir
        if self.is_float:
            # NaN compares as in Python: unequal to everything, itself included.
            ordered = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
            return self._new(ordered(sign, self.ir, right, flags=FLAGS), "bool")
        by_sign = self.builder.icmp_signed if self.is_signed else self.builder.icmp_unsigned
        return self._new(by_sign(sign, self.ir, right), "bool")

    def __lt__(self, other) -> Value:
        return self._compare("<", other)

    def __le__(self, other) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other) -> Value:
        return self._compare(">", other)

    def __ge__(self, other) -> Value:
        return self._compare(">=", other)

    def __eq__(self, other) -> Value:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other) -> Value:  # type: ignore[override]
        return self._compare("!=", other)

    # ---- LLVM's own functions

    def intrinsic(self, name: str, *others, flags: Sequence[str] = ()) -> Value:
        """LLVM's `llvm.NAME` of this number and `others`, all of one type."""
        values = [self, *(self.like(other) for other in others)]
        kind = LLVM_TYPES[self.dtype]
        suffix = SHORT.get(self.dtype) or f"i{self.bit_count}"
        signature = ir.FunctionType(kind, [kind] * len(values))
        module, full_name = self.builder.module, f"llvm.{name}.{suffix}"
        function = module.globals.get(full_name) or ir.Function(module, signature, full_name)
        call = self.builder.call(function, [value.ir for value in values])
        call.fastmath = OwnFlags(flags)
        return self._new(call)

    def divide_integers(self, other: Value) -> Value:
        """The quotient rounded to 0; the divisor must not be 0, nor -1 under the least integer."""
        divide = self.builder.sdiv if self.is_signed else self.builder.udiv
        return self._new(divide(self.ir, other.ir))

    def remainder_of_floats(self, other: Value) -> Value:
        """C's fmod, from the C library: exact, one element at a time."""
        return self._new(self.builder.frem(self.ir, other.ir, flags=FLAGS))


def where(condition: Value, chosen, other) -> Value:
    """`chosen` where the condition holds, else `other`; one of the two may be a literal."""
    model = chosen if isinstance(chosen, Value) else other
    chosen, other = model.like(chosen), model.like(other)
    return model._new(model.builder.select(condition.ir, chosen.ir, other.ir))


def absolute(x: Value) -> Value:
    return x.intrinsic("fabs")


def copysign(magnitude: Value, sign: Value) -> Value:
    return magnitude.intrinsic("copysign", sign)


def sqrt(x: Value) -> Value:
    return x.intrinsic("sqrt")


def nearest(x: Value) -> Value:
    """`x` rounded to the nearest integer, ties to even."""
    return x.intrinsic("rint")


def fma(x: Value, y, z) -> Value:
    """x·y + z with one rounding: for error terms, which need it."""
    return x.intrinsic("fma", y, z)


def muladd(x: Value, y, z) -> Value:
    """x·y + z in whichever way is faster on the host: for everything else."""
    return x.intrinsic("fmuladd", y, z)


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """c[0] + c[1]·x + c[2]·x² + …"""
    total = x.like(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = muladd(total, x, c)
    return total


def at_most(x: Value, bound: float) -> Value:
    """The smaller of the two; NaN stays NaN."""
    return where(x > bound, bound, x)


def at_least(x: Value, bound: float) -> Value:
    """The larger of the two; NaN stays NaN."""
    return where(x < bound, bound, x)


def table_lookup(name: str, table: Sequence[float], index: Value) -> Value:
    """table[index], a float64 of a read-only table (a vector gather inside a loop)."""
    module = index.builder.module
    variable = module.globals.get(name) or _constant_table(module, name, table)
    place = index.builder.gep(variable, [index.like(0).ir, index.ir], inbounds=True)
    number = index.builder.load(place)
    # A store to an unknown address, as far as LLVM can see, may change the table: it stays scalar.
    number.set_metadata("noalias", _operand_scopes(module))
    return Value(index.builder, "float64", number)


def _constant_table(module: ir.Module, name: str, table: Sequence[float]) -> ir.GlobalVariable:
    kind = ir.ArrayType(LLVM_TYPES["float64"], len(table))
    variable = ir.GlobalVariable(module, kind, name)
    variable.initializer = ir.Constant(kind, list(table))
    variable.linkage, variable.global_constant = "internal", True
    return variable


def _operand_scopes(module: ir.Module, count: int = 64) -> ir.Value:
    """Alias scopes of a kernel's first `count` slots; stores to later ones stop vectorisation."""
    domain = module.add_metadata([ALIAS_DOMAIN])
    return module.add_metadata([module.add_metadata([f"slot {k}", domain]) for k in range(count)])


def repeat(condition: Callable, step: Callable, *state: Value) -> tuple[Value, ...]:
    """`state = step(*state)` while condition(*state): a loop, which is never vectorised."""
    builder = state[0].builder
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.ir.type) for value in state]
    current = [value._new(phi) for value, phi in zip(state, phis, strict=True)]
    builder.cbranch(condition(*current).ir, body, after)
    builder.position_at_end(body)
    for phi, old, new in zip(phis, state, step(*current), strict=True):
        phi.add_incoming(old.ir, before)
        phi.add_incoming(new.ir, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return tuple(current)
