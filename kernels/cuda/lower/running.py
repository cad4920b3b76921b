"""Kernels of cumulative operations: a block of threads scans a row, tile by tile.

Where rows do not lie contiguous a thread walks a row alone, beside neighbours on theirs.
"""

from __future__ import annotations

from typing import Any

from ... import loopir as ir
from ...lower.cost import nanoseconds
from ...lower.schedule import Schedule
from ...lower.values import Value, identity
from .. import gridir as g
from ..call import GridCall
from .groups import BLOCK, Groups, Shape, power

SHORT_ROW = 8  # elements that a thread walks alone


def lower_running(name: str, about: str, schedule: Schedule) -> GridCall:
    """The kernel call of a schedule with values that run along its inner loops."""
    if any(v.op == "reduce" for v in schedule.reduces):
        raise NotImplementedError("a running value and a reduction in one region")
    count = schedule.elements // max(1, schedule.rows)
    if schedule.tile is not None or count <= SHORT_ROW:
        return _Alone(f"{name}_scan", about, schedule, Shape(1, BLOCK, 1, 0)).call()
    lanes = min(BLOCK, power(count))
    return _Together(f"{name}_scan", about, schedule, Shape(lanes, 1, 1, 0)).call()


class _Alone(Groups):
    """A thread a row."""

    def call(self, scratch: int = 0) -> GridCall:
        self._open()
        sums = {v: self._start(v) for v in self.schedule.reduces}
        var, body = self.fresh("k"), []
        trip = self._units(ir.Var(var), body)
        self.trip, unit = trip, trip.units[0]
        for v, acc in sums.items():
            self.enter(unit)
            body.append(ir.Assign(acc.name, self._join(v, acc, self.value(v.args[0]))))
            unit.known[v] = acc
        self.store_trip(trip, self.schedule.stores, self.valid)
        self.levels[1].body.append(g.Steps(var, self.first, self.stop, ir.Int(1), tuple(body)))
        return self._finished()

    def _start(self, v: Value) -> ir.Var:
        return self.let(1, "acc", ir.Number(identity(v.attrs[0], v.dtype), v.dtype))

    def _finished(self) -> GridCall:
        shape, s = self.shape, self.schedule
        kernel = self.kernel(shape.block)
        grid = -(-s.rows // shape.groups)
        return GridCall(self.name, kernel, tuple(self.slots), grid, 0, nanoseconds(s))


class _Together(_Alone):
    """A group of threads a row: a tile of as many elements at a time, and what came before it."""

    def call(self, scratch: int = 0) -> GridCall:
        self._open()
        carried = {v: self._start(v) for v in self.schedule.reduces}
        var, body = self.fresh("tile"), []
        inner: list[Any] = [self.levels[1].body]
        self.levels[1].body = body
        k = self.let(1, "k", ir.arith("+", ir.Var(var), self.lane))
        active = self.let(1, "on", ir.Arith("<", k, self.stop))
        k = self.let(1, "k", ir.Arith("min", k, ir.Arith("-", self.stop, ir.Int(1))))
        trip = self._units(k, body, active)
        self.trip, unit = trip, trip.units[0]
        for v, before in carried.items():
            self._scan(v, before, unit, active)
        self.store_trip(trip, self.schedule.stores, self.valid)
        self.levels[1].body = inner[0]
        lanes = ir.Int(self.shape.lanes)
        self.levels[1].body.append(g.Steps(var, ir.Int(0), self.stop, lanes, tuple(body)))
        return self._finished()

    def _scan(self, v: Value, before: ir.Var, unit: Any, active: ir.Var) -> None:
        op, dtype, body = v.attrs[0], v.dtype, self.levels[1].body
        self.enter(unit)
        value = self.value(v.args[0])
        neutral = ir.Number(identity(op, dtype), dtype)
        mine = self.let(1, "mine", ir.Call("where", dtype, dtype, (active, value, neutral)))
        prefix, whole = self.fresh("prefix"), self.fresh("whole")
        body.append(g.Scan(prefix, op, dtype, mine, self.shape.lanes))
        unit.known[v] = self.let(1, "so_far", self._join(v, before, ir.Var(prefix)))
        body.append(g.Fold(whole, op, dtype, mine, self.shape.lanes))
        body.append(ir.Assign(before.name, self._join(v, before, ir.Var(whole))))
        self.leave()
