"""From values and a schedule to LoopIR: one kernel.

    kernel, slots = Nest("softmax", schedule, ...).build()

Levels of a kernel: 0 before all loops, 1 inside the outer (parallel) loop, 2 and up inside the
loops of the pass being written. A value is computed at the outermost level it can be. A pass per
stage: first what the finished reductions allow per row, then the loops that reduce and store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.dtypes import DType

from .. import loopir as ir
from .affine import Affine
from .schedule import Loop, Schedule, Store
from .values import Array, Value, identity

INLINE_STRIDES = (1, 2, 3, 4, -1)  # strides LLVM turns into shuffles of whole vectors
NEIGHBOURS = 8  # elements between accesses that may be parts of one vector
LONG_SUM = 16384  # longest run summed into one set of accumulators
SUM_BLOCK = 4096


class Level:
    """A block being written: its statements, and what is known there."""

    def __init__(self, loop: Loop | None = None, var: str = "") -> None:
        self.loop, self.var = loop, var
        self.body: list[ir.Stmt] = []
        self.known: dict[Any, Any] = {}


class Nest:
    """Writes one kernel.

    ``blocks`` says which loops an iteration walks only a block of, and how long it is; ``numbers``
    names the axis that stands for the block's number in positions.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        blocks: Mapping[Loop, int],
        numbers: Mapping[Loop, Axis],
    ) -> None:
        self.name, self.schedule, self.blocks, self.numbers = name, schedule, blocks, numbers
        self.slots: list[tuple[Any, ...]] = []
        self.scratch_bytes = 0
        self.chunk_arrays: list[tuple[int, int]] = []
        self._slot_of: dict[Any, int] = {}
        self._count: dict[str, int] = {}
        self.levels = [Level(), Level()]
        self.starts: dict[Loop, ir.Expr] = {}
        self.sums: dict[Value, ir.Var] = {}
        self.saved: dict[Value, ir.Var] = {}

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

    # ---- the kernel

    def build(self) -> ir.Kernel:
        """All statements of the kernel."""
        self._open_rows()
        for stage in range(self.schedule.stages):
            self._pass(stage)
        top, rows = self.levels
        body = tuple(top.body) + self._close_rows(rows)
        return ir.Kernel(self.name, body, tuple(self.slots))

    @property
    def digits(self) -> list[tuple[Loop, int]]:
        """What an iteration's number is made of: loops and blocks of loops, with their counts."""
        whole = [(loop, loop.size) for loop in self.schedule.outer]
        return whole + [(loop, -(-loop.size // size)) for loop, size in self.blocks.items()]

    @property
    def direct(self) -> bool:
        """Whether iterations are elements: a single loop, cut anywhere."""
        s = self.schedule
        return not s.outer and not s.inner and not self.blocks and s.tile is not None

    @property
    def iterations(self) -> int:
        if self.direct:
            return self.schedule.tile.size
        n = 1
        for _, count in self.digits:
            n *= count
        return n

    def _open_rows(self) -> None:
        """Level 1: recover the position of every outer loop from the iteration's number."""
        digits, rest = self.digits, ir.Var("row")
        for i, (loop, count) in reversed(list(enumerate(digits))):
            position: ir.Expr = rest
            if i:
                bound = self.extent(loop)
                if loop in self.blocks:
                    bound = ir.Slot(self.slot(("blocks", loop), "int", count))
                position = ir.Arith("%", rest, bound)
            if loop in self.blocks:
                self._open_block(loop, position)
            else:
                self.starts[loop] = self.let(1, "i", position) if i else rest
            if i:
                rest = self.let(1, "outer", ir.Arith("//", rest, bound))

    def _open_block(self, loop: Loop, position: ir.Expr) -> None:
        block = ir.Slot(self.slot(("block", loop), "int", self.blocks[loop]))
        number = position if isinstance(position, ir.Var) else self.let(1, "block", position)
        self.starts[loop] = self.let(1, "first", ir.arith("*", number, block))
        left = ir.Arith("-", self.extent(loop), self.starts[loop])
        self.levels[1].known["count", loop] = self.let(1, "count", ir.Arith("min", block, left))
        self.levels[1].known["number", loop] = number

    def _close_rows(self, rows: Level) -> tuple[ir.Stmt, ...]:
        if self.direct or not self.digits:
            return tuple(rows.body)
        return (ir.For("row", ir.Var("start"), ir.Var("stop"), tuple(rows.body)),)

    # ---- passes

    def _pass(self, stage: int) -> None:
        s = self.schedule
        stores = [x for x in s.stores if x.stage == stage]
        full = [x for x in stores if s.is_full(x.axes)]
        rows = [x for x in stores if not s.is_full(x.axes)]
        reduces = [v for v in s.reduces if v.args[0].stage == stage]
        if s.tile is not None and s.inner:
            self._tile_pass(full, rows, reduces)
            return
        if rows:
            self._open(self.schedule.across)
            self._stores(rows)
            self._close()
        if full or reduces:
            self._row_sums(full, reduces)

    def _row_sums(self, full: list[Store], reduces: list[Value]) -> None:
        """Reduce rows: accumulators are variables."""
        for v in reduces:
            self.sums[v] = self.let(1, "acc", self._start(v))
        loops = self.schedule.inner
        long = bool(reduces) and loops[-1].size > LONG_SUM and loops[-1] not in self.blocks
        self._open(loops, long)
        parts = self._partial_sums(reduces)
        for v in reduces:
            self._accumulate(v, parts.get(v, self.sums[v]))
        self._stores(full)
        self._close(parts)

    def _partial_sums(self, reduces: list[Value]) -> dict[Value, ir.Var]:
        """Sums over the innermost loop alone, added to the sum after it: rounding grows slower."""
        if len(self.levels) < 4 or any(v.op == "running" for v in reduces):
            return {}
        above = len(self.levels) - 2
        return {v: self.let(above, "part", self._start(v)) for v in reduces}

    def _accumulate(self, v: Value, acc: ir.Var) -> None:
        value = self.value(v.args[0])
        self.levels[-1].body.append(ir.Assign(acc.name, self._fold(v, acc, value)))
        if v.op == "running":
            self.levels[-1].known[v] = acc

    def _tile_pass(self, full: list[Store], rows: list[Store], reduces: list[Value]) -> None:
        """Reduce columns: accumulators are arrays as wide as the tile."""
        keep = self._to_save(full, reduces)
        if rows or keep or reduces:
            self._open(self.schedule.across)
            for v in keep:
                value, array = self.value(v), self._tile_array(v.dtype)
                self._put(array, value, v.dtype)
                self.saved[v] = array
            self._stores(rows)
            for v in reduces:
                self.sums[v] = self._tile_array(v.dtype)
                self._put(self.sums[v], self._start(v), v.dtype)
            self._close()
        if full or reduces:
            self._open(self.schedule.nest)
            for v in reduces:
                value = self.value(v.args[0])
                now = ir.Get(self.sums[v], self._innermost, v.dtype)
                total = self.let(-1, "acc", self._fold(v, now, value))
                self._put(self.sums[v], total, v.dtype)
                if v.op == "running":
                    self.levels[-1].known[v] = total
            self._stores(full)
            self._close()

    def _to_save(self, full: list[Store], reduces: list[Value]) -> list[Value]:
        """Values per column that the inner loops would compute again for every row."""
        found: dict[Value, None] = {}
        stack = [v for s in full for v in s.roots] + [v.args[0] for v in reduces]
        seen: set[Value] = set()
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            if self.schedule.is_full(v.axes):
                stack.extend(v.args)
            elif v.stage and v.op != "reduce" and v not in self.saved:
                found[v] = None
        return list(found)[::-1]

    def _start(self, v: Value) -> ir.Expr:
        return self._number(identity(v.attrs[0], v.dtype), v.dtype)

    def _fold(self, v: Value, acc: ir.Expr, value: ir.Expr) -> ir.Expr:
        return ir.Call(v.attrs[0], v.dtype, v.dtype, (acc, value))

    @property
    def _innermost(self) -> ir.Expr:
        return ir.Var(self.levels[-1].var)

    def _put(self, pointer: ir.Var, value: ir.Expr, dtype: DType) -> None:
        self.levels[-1].body.append(ir.Put(pointer, self._innermost, value, dtype))

    def _tile_array(self, dtype: DType) -> ir.Var:
        """Scratch as wide as the tile, of its own for every chunk."""
        tile = self.schedule.tile
        width = self.blocks.get(tile, tile.size)
        name = f"chunk array {len(self.chunk_arrays)}"
        slot = self.slot(name, "chunk", len(self.chunk_arrays))
        self.chunk_arrays.append((slot, width * dtype.itemsize))
        base = self.let(0, "s", ir.Pointer(slot, dtype))
        step = ir.Slot(self.slot("tile width", "int", width))
        return self.let(0, "s", ir.Advance(base, ir.arith("*", ir.Var("chunk"), step)))

    # ---- loops

    def _open(self, loops: Iterable[Loop], long: bool = False) -> None:
        loops = list(loops)
        for loop in loops:
            if long and loop is loops[-1]:
                self.levels.append(Level(None, self.fresh("b")))
            self.levels.append(Level(loop, self.fresh("j")))

    def _close(self, parts: dict[Value, ir.Var] | None = None) -> None:
        while len(self.levels) > 2:
            level = self.levels.pop()
            start, stop = self._range(level)
            self.levels[-1].body.append(ir.For(level.var, start, stop, tuple(level.body)))
            for v, part in (parts or {}).items():
                total = self._fold(v, self.sums[v], part)
                self.levels[-1].body.append(ir.Assign(self.sums[v].name, total))
            parts = None

    def _range(self, level: Level) -> tuple[ir.Expr, ir.Expr]:
        loop = level.loop
        if loop is None:
            inner = self.schedule.inner[-1]
            count = -(-inner.size // SUM_BLOCK)
            return ir.Int(0), ir.Slot(self.slot("sum blocks", "int", count))
        if self.direct:
            return ir.Var("start"), ir.Var("stop")
        if self.levels[-1].loop is None and len(self.levels) > 2:
            block = ir.Int(SUM_BLOCK)
            first = ir.Arith("*", ir.Var(self.levels[-1].var), block)
            left = ir.Arith("-", self.extent(loop), first)
            return first, ir.Arith("+", first, ir.Arith("min", block, left))
        return ir.Int(0), self.known(("count", loop)) or self.extent(loop)

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
        if stride in INLINE_STRIDES:
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
        for const in seen:
            if 0 <= position.const - const <= NEIGHBOURS:
                return Affine(position.terms, const), position.const - const
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
            if ready:
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
        self.levels[-1].known[v] = held
        return held

    def _compute(self, v: Value) -> None:
        level = self.depth(v.axes, v.stage)
        expr = self._expr(v, level)
        if v.op != "literal" and v.op != "checked":
            expr = self.let(level, f"{v.op}_", expr)
        self.levels[level].known[v] = expr

    def _expr(self, v: Value, level: int) -> ir.Expr:
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
