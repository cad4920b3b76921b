"""Writing values as LoopIR: slots, names, addresses, and where each value is computed.

Levels of a kernel: 0 before all loops, 1 inside the outer (parallel) loop, 2 and up inside the
loops of the pass being written. A value is computed at the outermost level it can be, and bound to
a name there; an address is a pointer advanced as far out as possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.choices import settle
from graphgrad.dtypes import DType

from .. import loopir as ir
from .affine import Affine
from .schedule import Loop, Schedule, Store
from .values import Array, Value

INLINE_STRIDES = (1, 2, 3, 4, -1)  # strides LLVM turns into shuffles of whole vectors
NEIGHBOURS = 8  # elements between accesses that may be parts of one vector


class Level:
    """A block being written: its statements, and what is known there."""

    def __init__(self, loop: Loop | None = None, var: str = "") -> None:
        self.loop, self.var = loop, var
        self.body: list[ir.Stmt] = []
        self.known: dict[Any, Any] = {}


class Writer:
    """What is written so far, and how to write a value, an address or a store next."""

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        blocks: Mapping[Loop, int],
        numbers: Mapping[Loop, Axis],
    ) -> None:
        self.name, self.schedule, self.blocks, self.numbers = name, schedule, blocks, numbers
        self.slots: list[tuple[Any, ...]] = []
        self.chunk_arrays: list[tuple[int, int]] = []
        self._slot_of: dict[Any, int] = {}
        self._count: dict[str, int] = {}
        self.levels = [Level(), Level()]
        self.starts: dict[Loop, ir.Expr] = {}
        self.sums: dict[Value, ir.Var] = {}
        self.saved: dict[Value, ir.Var] = {}
        # Where a value along a row was stored in an earlier pass: scratch, or an output.
        self.homes: dict[Value, Any] = {}
        # What each value is called in the source, wherever it is bound.
        self.names: dict[Value, list[str]] = {}

    # ---- slots and names

    def slot(self, key: Any, *slot: Any) -> int:
        """The number of an argument slot; equal keys share one."""
        if key not in self._slot_of:
            self._slot_of[key] = len(self.slots)
            self.slots.append(slot)
        return self._slot_of[key]

    def extent(self, loop: Loop) -> ir.Slot:
        return ir.Slot(self.slot(("extent", loop), "int", loop.size))

    def fresh(self, base: str) -> str:
        """A new name: the base and a number."""
        n = self._count.get(base, 0)
        self._count[base] = n + 1
        return f"{base}{n}"

    def let(self, level: int, base: str, value: ir.Expr) -> ir.Var:
        var = ir.Var(self.fresh(base))
        self.levels[level].body.append(ir.Let(var.name, value))
        return var

    def known(self, key: Any) -> Any:
        for level in self.levels:
            if key in level.known:
                return level.known[key]
        return None

    def depth(self, axes: frozenset[Axis], stage: int) -> int:
        """The outermost level at which all of some axes have a position."""
        if stage and self.schedule.tile is not None and self.schedule.inner:
            return len(self.levels) - 1  # where the tile's accumulators are read
        deepest = 1 if stage or any(loop.carries(axes) for loop in self.starts) else 0
        for i, level in enumerate(self.levels[2:], 2):
            if level.loop is not None and level.loop.carries(axes):
                deepest = i
        return deepest

    # ---- positions

    def _stride(self, position: Affine, loop: Any, stride: int) -> ir.Expr:
        if settle("stride", stride if stride in INLINE_STRIDES else None) == stride:
            return ir.Int(stride)
        return ir.Slot(self.slot(("stride", position.terms, loop), "int", stride))

    def _terms(self, position: Affine) -> dict[int, list[ir.Expr]]:
        """The summands of a position, by the level they are known at."""
        found: dict[int, list[ir.Expr]] = {}

        def add(level: int, var: ir.Expr, loop: Any, stride: int) -> None:
            if stride:
                term = ir.arith("*", var, self._stride(position, loop, stride))
                found.setdefault(level, []).append(term)

        for loop, start in self.starts.items():
            add(1, start, loop, loop.stride(position))
            if loop in self.numbers:
                number, axis = self.known(("number", loop)), self.numbers[loop]
                add(1, number, axis, position.coefficient(axis))
        for i, level in enumerate(self.levels[2:], 2):
            if level.loop is not None:
                add(i, ir.Var(level.var), level.loop, level.loop.stride(position))
        indices = [(t, c) for t, c in position.terms if isinstance(t, Value)]
        for term, stride in indices:
            add(self.depth(term.axes, term.stage), self.value(term), term, stride)
        if position.const:
            offset = ir.Slot(self.slot(("offset", position), "int", position.const))
            found.setdefault(0, []).append(offset)
        return found

    def address(self, array: Array, position: Affine) -> tuple[ir.Var, ir.Expr]:
        """A pointer advanced as far out as possible, and the index that is left."""
        base, near = self._neighbour(position)
        pointer, index = self._address(array, base)
        return pointer, ir.total([index, ir.Int(near)]) if near else index

    def _neighbour(self, position: Affine) -> tuple[Affine, int]:
        """A position seen before that lies a few elements earlier, and how many.

        LLVM joins strided accesses of one pointer, like those of a window, into whole vectors.
        """
        seen = self.levels[0].known.setdefault(("offsets", position.terms), [])
        away = [position.const - const for const in seen]
        near = next((d for d in away if 0 <= d <= NEIGHBOURS), None)
        if settle("near", near) == near and near is not None:
            return Affine(position.terms, position.const - near), near
        seen.append(position.const)
        return position, 0

    def _address(self, array: Array, position: Affine) -> tuple[ir.Var, ir.Expr]:
        terms = self._terms(position)
        pointer = self.pointer(array)
        last = len(self.levels) - 1
        index = ir.total(terms.pop(last, [])) if last > 1 else ir.Int(0)
        for level in sorted(terms):
            key = (pointer, position.terms, position.const if level == 0 else None, level)
            if self.known(key) is None:
                moved = self._offset(level, position, terms[level])
                base = pointer.name.split("_")[0]
                var = self.let(level, f"{base}_", ir.Advance(pointer, moved))
                self.levels[level].known[key] = var
            pointer = self.known(key)
        return pointer, index

    def _offset(self, level: int, position: Affine, terms: list[ir.Expr]) -> ir.Expr:
        """A position's part at one level, bound once for all arrays that share it."""
        if len(terms) == 1 and not isinstance(terms[0], ir.Arith):
            return terms[0]
        key = ("offset", position.terms, level)
        if self.known(key) is None:
            self.levels[level].known[key] = self.let(level, "at", ir.total(terms))
        return self.known(key)

    def pointer(self, array: Array) -> ir.Var:
        key = ("pointer", array)
        if self.known(key) is None:
            slot = self.slot(key, *array.slot)
            self.levels[0].known[key] = self.let(0, array.name, ir.Pointer(slot, array.dtype))
        return self.known(key)

    # ---- values

    def value(self, v: Value) -> ir.Expr:
        """The expression that holds a value, computed where it has to be and not yet is."""
        stack = [(v, False)]
        while stack:
            x, ready = stack.pop()
            if self.known(x) is not None or x in self.sums or x in self.saved:
                continue
            if ready or x in self.homes:
                self._compute(x)
            else:
                stack.append((x, True))
                stack.extend((a, False) for a in reversed(x.args))
        return self._held(v)

    def _held(self, v: Value) -> ir.Expr:
        known = self.known(v)
        if known is not None:
            return known
        array = self.saved.get(v) or self.sums[v]
        if self.schedule.tile is None or v.op == "running":
            return array
        held = self.let(-1, "row", ir.Get(array, self._innermost, v.dtype))
        self.names.setdefault(v, []).append(held.name)
        self.levels[-1].known[v] = held
        return held

    def _compute(self, v: Value) -> None:
        level = self.depth(v.axes, v.stage)
        expr = self._expr(v, level)
        if v.op != "literal" and v.op != "checked":
            expr = self.let(level, f"{v.op}_", expr)
            self.names.setdefault(v, []).append(expr.name)
        self.levels[level].known[v] = expr

    def _expr(self, v: Value, level: int) -> ir.Expr:
        if v in self.homes:
            return self._from_home(v)
        if v.op == "literal":
            return self._number(v.attrs[0], v.dtype)
        if v.op == "scalar":
            node = v.attrs[0]
            return ir.Scalar(self.slot(("scalar", v), "scalar", node), v.dtype)
        if v.op == "load":
            pointer, index = self._at_level(level, v.array, v.position)
            return ir.Get(pointer, index, v.dtype)
        if v.op == "index":
            number = ir.total([t for _, ts in sorted(self._terms(v.position).items()) for t in ts])
            return ir.Call("cast", v.dtype, dtypes.int64, (number,))
        if v.op == "checked":
            return self._clamp(v, level)
        args = tuple(self._held(a) for a in v.args)
        source = v.args[-1].dtype if v.op == "where" else v.args[0].dtype
        return ir.Call(v.op, v.dtype, source, args, v.attrs)

    def _from_home(self, v: Value) -> ir.Expr:
        home = self.homes[v]
        pointer, index = self.address(*home) if isinstance(home, tuple) else (home, self._innermost)
        return ir.Get(pointer, index, v.dtype)

    def _at_level(self, level: int, array: Array, position: Affine) -> tuple[ir.Var, ir.Expr]:
        """The address of a load that belongs to an outer level."""
        inner, self.levels = self.levels[level + 1 :], self.levels[: level + 1]
        try:
            return self.address(array, position)
        finally:
            self.levels = self.levels + inner

    def _clamp(self, v: Value, level: int) -> ir.Expr:
        error = self.slot("error", "error")
        extent = ir.Slot(self.slot(("range", v), "int", v.attrs[0]))
        name = self.fresh("index")
        index = self._held(v.args[0])
        self.levels[level].body.append(ir.Clamp(name, index, extent, error))
        return ir.Var(name)

    def _number(self, value: Any, dtype: DType) -> ir.Expr:
        return ir.Number(value, dtype)

    @property
    def _innermost(self) -> ir.Expr:
        return ir.Var(self.levels[-1].var)

    # ---- stores

    def _stores(self, stores: Iterable[Store]) -> None:
        """Compute everything first: a store may overwrite what another store's value reads."""
        stores = list(stores)
        values = [self.value(s.value) for s in stores]
        for s, value in zip(stores, values, strict=True):
            pointer, index = self.address(s.array, s.position)
            if s.add:
                now = ir.Get(pointer, index, s.array.dtype)
                value = ir.Call("add", s.array.dtype, s.array.dtype, (now, value))
            self.levels[-1].body.append(ir.Put(pointer, index, value, s.array.dtype))
