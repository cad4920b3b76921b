"""From values and a schedule to LoopIR: one kernel.

    kernel = Nest("softmax", schedule, blocks, numbers).build()

A pass per stage: first what the finished reductions allow per row, then the loops that reduce and
store. Rows are reduced into variables, columns into arrays as wide as the tile.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphgrad.choices import settle
from graphgrad.dtypes import DType

from .. import loopir as ir
from .cost import EXPENSIVE
from .schedule import Loop, Store
from .values import Value, identity
from .writer import Level, Writer

LONG_SUM = 16384  # longest run summed into one set of accumulators
SUM_BLOCK = 4096
LONG_KEPT = 16384  # longest row of which a value is kept for the next pass


class Nest(Writer):
    """Writes one kernel."""

    # ---- the kernel

    def build(self) -> ir.Kernel:
        """All statements of the kernel."""
        self.kept = self._values_to_keep()
        self._open_rows()
        for stage in range(self.schedule.stages):
            self._pass(stage)
        top, rows = self.levels
        body = tuple(top.body) + self._close_rows(rows)
        return ir.Kernel(self.name, self._about(), body, tuple(self.slots))

    def _about(self) -> str:
        """What an iteration is, for the reader of the source."""
        s = self.schedule
        if s.inner and s.tile is None:
            passes = f", walked {s.stages} times" if s.stages > 2 else ""
            return f"an iteration is a {'block of a ' if self.numbers else ''}row{passes}"
        if s.inner:
            return "an iteration is a block of columns" + (" and rows" if self.numbers else "")
        if s.crossed:
            return "an iteration is a block of two loops, one contiguous for each operand"
        return "an iteration is " + ("an element" if self.direct else "a row")

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
        long = False
        if reduces and loops[-1] not in self.blocks:
            size = loops[-1].size
            long = settle("long sum", size > LONG_SUM, binding=size > 4 * LONG_SUM)
        self._open(loops, long)
        parts = self._partial_sums(reduces)
        for v in reduces:
            self._accumulate(v, parts.get(v, self.sums[v]))
        self._keep_values(full)
        self._stores(full)
        self._close(parts)

    def _values_to_keep(self) -> set[Value]:
        """Expensive values along a row that a later pass needs as well."""
        s = self.schedule
        if s.tile is not None or len(s.inner) != 1 or s.inner[0] in self.blocks:
            return set()
        if any(v.op == "running" for v in s.reduces):
            return set()
        size = s.inner[0].size
        if settle("long kept", size > LONG_KEPT, binding=size > 4 * LONG_KEPT):
            return set()
        seen: set[Value] = set()
        kept: set[Value] = set()
        for stage in range(s.stages):
            stack = [v for x in s.stores if x.stage == stage for v in x.roots]
            stack += [v.args[0] for v in s.reduces if v.args[0].stage == stage]
            now: set[Value] = set()
            while stack:
                v = stack.pop()
                if v in now or not s.is_full(v.axes):
                    continue
                now.add(v)
                if v in seen and v.op in EXPENSIVE and v.stage < stage:
                    kept.add(v)
                else:
                    stack.extend(v.args)
            seen |= now
        return kept

    def _keep_values(self, full: Iterable[Store]) -> None:
        """Store what later passes need, unless that is an output: then it is read from there."""
        stored = {x.value: (x.array, x.position) for x in full if not x.add}
        for v in [v for v in self.levels[-1].known if v in self.kept]:
            if v not in self.homes and v in stored:
                self.homes[v] = stored[v]
            elif v not in self.homes:
                array = self._chunk_array(v.dtype, self.schedule.inner[0].size)
                self._put(array, self.known(v), v.dtype)
                self.homes[v] = array

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
                self.names.setdefault(v, []).append(total.name)
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

    def _put(self, pointer: ir.Var, value: ir.Expr, dtype: DType) -> None:
        self.levels[-1].body.append(ir.Put(pointer, self._innermost, value, dtype))

    def _tile_array(self, dtype: DType) -> ir.Var:
        """Scratch as wide as the tile."""
        tile = self.schedule.tile
        return self._chunk_array(dtype, self.blocks.get(tile, tile.size))

    def _chunk_array(self, dtype: DType, width: int) -> ir.Var:
        """Scratch of its own for every chunk."""
        name = f"chunk array {len(self.chunk_arrays)}"
        slot = self.slot(name, "chunk", len(self.chunk_arrays))
        self.chunk_arrays.append((slot, width * dtype.itemsize))
        base = self.let(0, "s", ir.Pointer(slot, dtype))
        step = ir.Slot(self.slot("chunk array", "int", width))
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
            before, after = self._edges(level.loop)
            loop = ir.For(level.var, start, stop, tuple(level.body))
            self.levels[-1].body += [*before, loop, *after]
            for v, part in (parts or {}).items():
                total = self._fold(v, self.sums[v], part)
                self.levels[-1].body.append(ir.Assign(self.sums[v].name, total))
            parts = None

    def _edges(self, loop: Loop | None) -> tuple[list[ir.Stmt], list[ir.Stmt]]:
        """Loops that fill what lies in memory before and after all of a loop's elements."""
        before: list[ir.Stmt] = []
        after: list[ir.Stmt] = []
        found = self.schedule.edges_of(loop) if loop and loop not in self.blocks else []
        for store, edge in found:
            pointer, index = self.address(store.array, store.position)
            end = loop.size * loop.stride(store.position)
            sides = ((edge.before, -edge.before, before), (edge.after, end, after))
            for count, start, filled in sides:
                if count:
                    var = self.fresh("e")
                    offset = ir.Slot(self.slot(("edge", edge, start), "int", start - edge.shift))
                    where = ir.total([index, offset, ir.Var(var)])
                    put = ir.Put(pointer, where, self.value(edge.fill), store.array.dtype)
                    stop = ir.Slot(self.slot(("edge", edge, start, "count"), "int", count))
                    filled.append(ir.For(var, ir.Int(0), stop, (put,)))
        return before, after

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
