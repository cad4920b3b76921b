"""Micro-kernels: one tile of C kept in vector registers over a whole block of k.

Two shapes of the same product:

`outer`  a tile of R rows by V vectors of columns. A step of k broadcasts R numbers of A and loads V
         vectors of B: R * V multiply-adds for R + V loads. The processor issues two of each a cycle
         and a multiply-add takes 4 cycles, so 8 accumulators keep both units busy, and R * V >
         R + V + 2 (two table entries) makes arithmetic the bound. With 32 registers 8 x 3 and 6 x 4
         hold 24 accumulators, leave room for V vectors of B and a few broadcasts, and issue 13 and
         12 loads where 24 are free. More rows would be better in theory; but in place each is a
         pointer, and 12 x 2 spills general registers: half the speed, measured. A packed operand is
         one pointer that moves on by a panel row a step (96% of the multiply-add peak, where
         pointers and tables for both reach 75%), one in place is read through its offset tables.
`dot`    R rows by V single columns, vectors along k: for operands that are both contiguous along k
         nothing has to be packed or transposed, and lanes are added up once at the end of the
         block. 6 x 4: 24 multiply-adds, 10 loads.

Every tile takes the same arguments, the fields of `Tile`, so the macro-kernel calls any of them by
address. Addresses and offsets are int64 byte counts: one macro-kernel serves every dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from llvmlite import ir

from ..front.instruction import machine_instruction
from .lanes import I64, Lanes, int64, load_int64

# Steps of k that panels are asked for ahead of their use, to be near when a tile begins a new one:
# 8 steps are 100 cycles, and a step of A is half a cache line. 1024³ with both packed: 4% less.
A_AHEAD, B_AHEAD = 16, 8


class Tile(NamedTuple):
    """The arguments of a tile; tables hold int64."""

    steps: ir.Value  # of k
    k_table: ir.Value  # for each step its offset in A and in B, and for dot its valid lanes
    a: ir.Value
    a_rows: ir.Value  # offset of each row
    b: ir.Value
    b_columns: ir.Value  # offset of each vector of columns; for dot of each column
    widths: ir.Value  # valid lanes of each vector; for dot 0 or 1 a column
    c: ir.Value
    c_rows: ir.Value
    c_columns: ir.Value
    rows: ir.Value  # valid rows; the tables repeat the last one beyond
    accumulate: ir.Value  # 1 adds to C, 0 overwrites it


class Loop:
    """A counted loop carrying SSA values: use `values` inside, set `next`, use `values` after."""

    def __init__(self, builder: ir.IRBuilder, steps: ir.Value, carried: list[ir.Value]):
        self.builder, self.steps, self.carried = builder, steps, carried

    def __enter__(self) -> Loop:
        builder, before = self.builder, self.builder.block
        self.head = builder.append_basic_block("steps")
        self.exit = builder.append_basic_block("done")
        body = builder.append_basic_block("step")
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.left = builder.phi(I64)
        self.left.add_incoming(self.steps, before)
        self.values = [builder.phi(value.type) for value in self.carried]
        for phi, value in zip(self.values, self.carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed(">", self.left, int64(0)), body, self.exit)
        builder.position_at_end(body)
        self.next: list[ir.Value] = []
        return self

    def __exit__(self, *exception: object) -> None:
        builder = self.builder
        self.left.add_incoming(builder.sub(self.left, int64(1)), builder.block)
        for phi, value in zip(self.values, self.next, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(self.head)
        builder.position_at_end(self.exit)


# ---- outer ---------------------------------------------------------------------------------------


def _emit_outer(lanes: Lanes, rows: int, vectors: int, packed: str, tile: Tile) -> None:
    """C has `c_columns` for each vector of columns."""
    masks = _masks(lanes, tile, vectors)
    # C is wanted only after the loop, on lines far apart
    for row in _addresses(lanes, tile.c, tile.c_rows, rows):
        for at in _addresses(lanes, row, tile.c_columns, vectors):
            lanes.prefetch(at)
    sums = _outer_sums(lanes, rows, vectors, packed, tile, masks)
    for i, row in _valid_rows(lanes, rows, tile):
        for v, mask in enumerate(masks):
            _store_vector(lanes, sums[i][v], row, v, mask, tile)


def _emit_scattered(lanes: Lanes, rows: int, vectors: int, packed: str, tile: Tile) -> None:
    """C has `c_columns` for every single column: it is contiguous along none of its axes.

    Sums go through memory to loops over their numbers: a branch for each of hundreds of lanes
    would take LLVM half a second.
    """
    sums = _outer_sums(lanes, rows, vectors, packed, tile, _masks(lanes, tile, vectors))
    builder, vector_bytes = lanes.builder, lanes.count * lanes.bytes
    with builder.goto_entry_block():
        block = builder.alloca(lanes.type, rows * vectors)
    numbers = builder.ptrtoint(block, I64)
    for i, vector in enumerate(x for row in sums for x in row):
        lanes.store_all(vector, builder.add(numbers, int64(i * vector_bytes)))
    few = builder.icmp_signed("<", tile.rows, int64(rows))
    with Loop(builder, builder.select(few, tile.rows, int64(rows)), [tile.c_rows, numbers]) as loop:
        row_at, number = loop.values
        row = builder.add(tile.c, load_int64(builder, row_at))
        for v in range(vectors):
            width = load_int64(builder, tile.widths, v)
            column_at = builder.add(tile.c_columns, int64(8 * lanes.count * v))
            with Loop(builder, width, [column_at, number]) as columns:
                column_at, at = columns.values
                place = builder.add(row, load_int64(builder, column_at))
                _put_number(lanes, lanes.load_number(at), place, tile)
                columns.next = [
                    builder.add(column_at, int64(8)),
                    builder.add(at, int64(lanes.bytes)),
                ]
            number = builder.add(number, int64(vector_bytes))
        loop.next = [builder.add(row_at, int64(8)), number]


def _outer_sums(lanes, rows, vectors, packed, tile, masks) -> list[list[ir.Value]]:
    builder = lanes.builder
    a_side = _Rows(lanes, rows, tile) if "a" not in packed else _RowPanel(lanes, rows, tile)
    b_side = _Columns(lanes, masks, tile) if "b" not in packed else _Panel(lanes, vectors, tile)
    in_place = len({"a", "b"} - set(packed))
    moving = [tile.k_table, a_side.start, b_side.start]
    with Loop(builder, tile.steps, moving + [lanes.zero] * (rows * vectors)) as loop:
        k_at, a_at, b_at, *sums = loop.values
        right = b_side.vectors(k_at, b_at)
        loop.next = [
            builder.add(k_at, int64(16)) if in_place else k_at,
            builder.add(a_at, int64(a_side.stride)),
            builder.add(b_at, int64(b_side.stride)),
        ]
        numbers = a_side.numbers(k_at, a_at)
        for left, row_sums in zip(numbers, _in_rows(sums, vectors), strict=True):
            loop.next += [
                lanes.multiply_add(left, x, total) for x, total in zip(right, row_sums, strict=True)
            ]
    return _in_rows(loop.values[3:], vectors)


class _Rows:
    """A in place: a pointer a row, and an offset from the table for every step of k."""

    stride = 0

    def __init__(self, lanes: Lanes, rows: int, tile: Tile):
        self.lanes, self.start = lanes, tile.a
        self.at = _addresses(lanes, tile.a, tile.a_rows, rows)

    def numbers(self, k_at: ir.Value, _: ir.Value) -> Iterator[ir.Value]:
        """The numbers of a step, each in all lanes; one at a time, for a few registers."""
        offset = load_int64(self.lanes.builder, k_at, 0)
        for at in self.at:
            yield self.lanes.broadcast(self.lanes.builder.add(at, offset))


class _RowPanel:
    """A packed: the numbers of a step lie side by side."""

    def __init__(self, lanes: Lanes, rows: int, tile: Tile):
        self.lanes, self.rows, self.start = lanes, rows, tile.a
        self.stride = rows * lanes.bytes

    def numbers(self, _: ir.Value, a_at: ir.Value) -> Iterator[ir.Value]:
        """The numbers of a step, each in all lanes."""
        self.lanes.prefetch(self.lanes.builder.add(a_at, int64(A_AHEAD * self.stride)), False)
        for i in range(self.rows):
            yield self.lanes.broadcast(self.lanes.builder.add(a_at, int64(i * self.lanes.bytes)))


class _Columns:
    """B in place: a pointer a vector, and an offset from the table for every step of k."""

    stride = 0

    def __init__(self, lanes: Lanes, masks: list[ir.Value], tile: Tile):
        self.lanes, self.masks, self.start = lanes, masks, tile.b
        self.at = _addresses(lanes, tile.b, tile.b_columns, len(masks))

    def vectors(self, k_at: ir.Value, _: ir.Value) -> list[ir.Value]:
        """The vectors of a step."""
        builder, offset = self.lanes.builder, load_int64(self.lanes.builder, k_at, 1)
        pairs = zip(self.at, self.masks, strict=True)
        return [self.lanes.load(builder.add(at, offset), mask) for at, mask in pairs]


class _Panel:
    """B packed: the vectors of a step lie side by side and are whole."""

    def __init__(self, lanes: Lanes, vectors: int, tile: Tile):
        self.lanes, self.count, self.start = lanes, vectors, tile.b
        self.stride = vectors * lanes.count * lanes.bytes

    def vectors(self, _: ir.Value, b_at: ir.Value) -> list[ir.Value]:
        """The vectors of a step."""
        builder, size = self.lanes.builder, self.lanes.count * self.lanes.bytes
        for v in range(self.count):
            self.lanes.prefetch(builder.add(b_at, int64(B_AHEAD * self.stride + v * size)), False)
        return [self.lanes.load_all(builder.add(b_at, int64(v * size))) for v in range(self.count)]


def _masks(lanes: Lanes, tile: Tile, vectors: int) -> list[ir.Value]:
    return [lanes.mask(load_int64(lanes.builder, tile.widths, v)) for v in range(vectors)]


# ---- dot -----------------------------------------------------------------------------------------


def _emit_dot(lanes: Lanes, rows: int, columns: int, _: str, tile: Tile) -> None:
    builder = lanes.builder
    a_at = _addresses(lanes, tile.a, tile.a_rows, rows)
    b_at = _addresses(lanes, tile.b, tile.b_columns, columns)
    with Loop(builder, tile.steps, [tile.k_table] + [lanes.zero] * (rows * columns)) as loop:
        k_at, *sums = loop.values
        in_a, in_b, width = (load_int64(builder, k_at, i) for i in range(3))
        mask = lanes.mask(width)
        right = [lanes.load(builder.add(at, in_b), mask) for at in b_at]
        loop.next = [builder.add(k_at, int64(24))]
        for at, row_sums in zip(a_at, _in_rows(sums, columns), strict=True):
            left = lanes.load(builder.add(at, in_a), mask)
            loop.next += [
                lanes.multiply_add(left, x, total) for x, total in zip(right, row_sums, strict=True)
            ]
    totals = [_add_lanes(lanes, row) for row in _in_rows(loop.values[1:], columns)]

    for i, row in _valid_rows(lanes, rows, tile):
        for j in range(columns):
            column = load_int64(builder, tile.c_columns, j)
            valid = builder.mul(load_int64(builder, tile.widths, j), int64(columns))
            _store_number(lanes, totals[i], j, row, column, valid, tile)


def _add_lanes(lanes: Lanes, vectors: list[ir.Value]) -> ir.Value:
    """One vector whose lane j is the sum of the lanes of vectors[j] (a power of two of them).

    Neighbouring lanes of two vectors are added into one vector, halving their number each time, so
    n vectors cost about 3 n shuffles and additions, not n reductions of log2(lanes) each.
    """
    columns, size = len(vectors), lanes.count
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_add_neighbours(lanes, x, y, 2 * size) for x, y in pairs]
    total = vectors[0]
    while size > columns:
        total = _add_neighbours(lanes, total, total, size)
        size //= 2
    return total


def _add_neighbours(lanes: Lanes, x: ir.Value, y: ir.Value, span: int) -> ir.Value:
    """Sums of lanes (0, 1), (2, 3), ... of the first `span` lanes of x followed by y."""
    even, odd = (lanes.pick(x, y, range(first, span, 2)) for first in (0, 1))
    return lanes.builder.fadd(even, odd)


# ---- shared --------------------------------------------------------------------------------------


def _addresses(lanes: Lanes, base: ir.Value, table: ir.Value, count: int) -> list[ir.Value]:
    builder = lanes.builder
    return [builder.add(base, load_int64(builder, table, i)) for i in range(count)]


def _in_rows(values: list[ir.Value], columns: int) -> list[list[ir.Value]]:
    return [values[i : i + columns] for i in range(0, len(values), columns)]


def _valid_rows(lanes: Lanes, rows: int, tile: Tile) -> Iterator[tuple[int, ir.Value]]:
    """Each row of the tile and its address in C; the code the caller emits runs for valid rows."""
    builder = lanes.builder
    for i in range(rows):
        with builder.if_then(builder.icmp_signed("<", int64(i), tile.rows)):
            yield i, builder.add(tile.c, load_int64(builder, tile.c_rows, i))


def _store_vector(lanes, value, row, v, mask, tile) -> None:
    builder = lanes.builder
    at = builder.add(row, load_int64(builder, tile.c_columns, v))
    # to overwrite, every lane is masked off: zero is added and C is never read
    adding = lanes.mask(builder.mul(tile.accumulate, int64(lanes.count)))
    before = lanes.load(at, builder.and_(mask, adding))
    lanes.store(builder.fadd(value, before), at, mask)


def _store_number(lanes, vector, lane, row, column, width, tile) -> None:
    """One lane of a vector goes to C if it is among the first `width`."""
    builder = lanes.builder
    with builder.if_then(builder.icmp_signed("<", int64(lane), width)):
        _put_number(lanes, lanes.number(vector, lane), builder.add(row, column), tile)


def _put_number(lanes: Lanes, number: ir.Value, at: ir.Value, tile: Tile) -> None:
    """Add a number to C, or overwrite it."""
    builder = lanes.builder
    with builder.if_else(builder.icmp_signed("!=", tile.accumulate, int64(0))) as (add, put):
        with add:
            lanes.store_number(builder.fadd(number, lanes.load_number(at)), at)
        with put:
            lanes.store_number(number, at)


_EMITTERS = {"outer": _emit_outer, "scattered": _emit_scattered, "dot": _emit_dot}


@machine_instruction(literals=6)
def emit_tile(builder, form, dtype, lanes, rows, columns, packed, arguments):
    """The code of one tile; all but `arguments`, the tuple of a `Tile`, are literals."""
    _EMITTERS[form](Lanes(builder, dtype, lanes), rows, columns, packed, Tile(*arguments))


def tile_function(
    form: str, dtype: str, lanes: int, rows: int, columns: int, packed: str
) -> Callable:
    """The Python function of one tile shape, over int64 words alone."""

    def tile(steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns, valid, adds):
        reads = (steps, k_table, a, a_rows, b, b_columns, widths)
        writes = (c, c_rows, c_columns, valid, adds)
        emit_tile(form, dtype, lanes, rows, columns, packed, (*reads, *writes))

    return tile
