"""Kernels of transposes: some operand lies along another loop than the result does.

A block does 32 by 32 elements. What lies along the other loop is read row by row, as it lies, into
shared memory, and taken from there column by column; a column more than needed keeps the 32 threads
of a warp on 32 banks.
"""

from __future__ import annotations

import math
from typing import Any

from ... import loopir as ir
from ...lower.affine import Affine
from ...lower.cost import nanoseconds
from ...lower.schedule import Schedule
from ...lower.values import Value
from .. import gridir as g
from ..call import GridCall
from .writer import GridWriter, Trip, Unit

TILE = 32
ROWS = 8  # rows of a tile that a block does at once
PITCH = TILE + 1


def lower_tiles(name: str, about: str, schedule: Schedule) -> GridCall:
    """The kernel call of a schedule whose tile and beside cross."""
    return _Tiles(name, about, schedule).call()


class _Tiles(GridWriter):
    def __init__(self, name: str, about: str, schedule: Schedule) -> None:
        what = f"a block does {TILE} x {TILE} elements, turned in shared memory."
        super().__init__(f"{name}_tiles", schedule, f"{what}\n\n{about}")
        assert schedule.tile is not None and schedule.beside is not None
        self.along, self.across = schedule.tile, schedule.beside

    def call(self) -> GridCall:
        s, counts = self.schedule, [-(-loop.size // TILE) for loop in (self.across, self.along)]
        row = self.let(1, "y", ir.Arith("//", g.Thread(), ir.Int(TILE)))
        column = self.let(1, "x", ir.Arith("%", g.Thread(), ir.Int(TILE)))
        first = [self.let(1, "first", ir.Arith("*", t, ir.Int(TILE))) for t in self._tile(counts)]
        turned = [v for v in s.values if v.op == "load" and self._crosses(v.position)]
        rooms = self._read(turned, first, row, column)
        self._write(turned, rooms, first, row, column)
        grid = math.prod([*counts, *(loop.size for loop in s.outer)])
        kernel = self.kernel(TILE * ROWS)
        return GridCall(self.name, kernel, tuple(self.slots), grid, 0, nanoseconds(s))

    def _tile(self, counts: list[int]) -> list[Any]:
        """The numbers of the block's tile, across and along; outer loops are counted above."""
        along = self.number("tiles along", counts[1])
        low = self.let(1, "tile", ir.Arith("%", g.Block(), along))
        rest: Any = self.let(1, "rest", ir.Arith("//", g.Block(), along))
        outer = self.schedule.outer
        if not outer:
            return [rest, low]
        across = self.number("tiles across", counts[0])
        high = self.let(1, "tile", ir.Arith("%", rest, across))
        rest = self.let(1, "rest", ir.Arith("//", rest, across))
        self.starts = dict(zip(outer, self.decomposed(rest, outer), strict=True))
        return [high, low]

    def _crosses(self, position: Affine) -> bool:
        """Whether something lies along the other loop, at a place known without reading."""
        plain = not any(isinstance(t, Value) for t, _ in position.terms)
        return plain and abs(self.across.stride(position)) == 1 and self.along.stride(position) != 0

    def _element(self, first: list[Any], down: Any, right: Any) -> tuple[Unit, Any]:
        """The unit ``down`` rows (along the loop across) and ``right`` columns into the tile."""
        body = self.levels[1].body
        places = [
            self.let(1, "i", ir.Arith("+", start, step))
            for start, step in zip(first, (down, right), strict=True)
        ]
        inside = [
            ir.Arith("<", place, self.extent(loop))
            for place, loop in zip(places, (self.across, self.along), strict=True)
        ]
        return Unit(dict(zip((self.across, self.along), places, strict=True)), body), g.both(inside)

    def _read(self, turned: list[Value], first: list[Any], row: Any, column: Any) -> list[ir.Var]:
        """Every turned operand's tile to shared memory, threads side by side where it lies so."""
        body = self.levels[1].body
        rooms = [ir.Var(self.fresh("turned")) for _ in turned]
        body += [
            g.Shared(r.name, v.dtype, TILE * PITCH) for r, v in zip(rooms, turned, strict=True)
        ]
        for r in range(0, TILE, ROWS):
            right = self.let(1, "right", ir.arith("+", row, ir.Int(r)))
            unit, inside = self._element(first, column, right)
            self.enter(unit)
            copies: list[Any] = []
            for v, room in zip(turned, rooms, strict=True):
                pointer, index = self.address(v.array, v.position)
                place = ir.Arith("+", ir.Arith("*", right, ir.Int(PITCH)), column)
                copies.append(ir.Put(room, place, ir.Get(pointer, index, v.dtype), v.dtype))
            self.leave()
            body.append(g.When(inside, tuple(copies)))
        body.append(g.Barrier())
        return rooms

    def _write(
        self, turned: list[Value], rooms: list[ir.Var], first: list[Any], row: Any, column: Any
    ) -> None:
        outside = self.levels[1].body
        for r in range(0, TILE, ROWS):
            down = self.let(1, "down", ir.arith("+", row, ir.Int(r)))
            unit, inside = self._element(first, down, column)
            unit.body = []
            for v, room in zip(turned, rooms, strict=True):
                place = ir.Arith("+", ir.Arith("*", column, ir.Int(PITCH)), down)
                self.enter(unit)
                unit.known[v] = self.let(2, "turned_", ir.Get(room, place, v.dtype))
                self.leave()
            self.store_trip(Trip([unit]), self.schedule.stores)
            outside.append(g.When(inside, tuple(unit.body)))
