"""Micro-kernels: one tile of C kept in vector registers over a whole block of k.

Two shapes of the same product, both reading their operands through offset tables (bytes):

`outer`  a tile of R rows by V vectors of columns. A step of k broadcasts R numbers of A and loads V vectors of B: R * V
         multiply-adds for R + V loads. The processor issues two of each a cycle and a multiply-add takes 4 cycles, so
         at least 8 accumulators are needed to keep both units busy and R * V > R + V to be bound by arithmetic; 8 x 3
         and 12 x 2 use 24 accumulators of 32 registers, leave room for V vectors of B and a few broadcasts, and need
         11 and 14 loads where 24 are free.
`dot`    R rows by V single columns, vectors along k: for operands that are both contiguous along k nothing has to be
         packed or transposed; lanes are added up once at the end of the block. 6 x 4: 24 multiply-adds, 10 loads.

Every tile takes the same arguments, so the macro-kernel calls any of them by address:

    tile(steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns, rows, accumulate)

    k_table    for each step of k: offset in A, offset in B, and for `dot` the number of valid lanes
    widths     for each vector of columns, its valid lanes; for `dot` 0 or 1 a column
    rows       valid rows of the tile; the tables repeat the last valid row beyond it
    accumulate 1 to add to C, 0 to overwrite it

Addresses and offsets are int64 byte counts: one macro-kernel serves every dtype.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .lanes import I64, Lanes, int64, load_int64

TILE_ARGUMENTS = 12
TILE_SIGNATURE = types.void(*[types.int64] * TILE_ARGUMENTS)


class Loop:
    """A counted loop that carries SSA values: `with` it, set `.next`, read `.result` after."""

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


def _addresses(
    builder: ir.IRBuilder, base: ir.Value, table: ir.Value, count: int
) -> list[ir.Value]:
    return [builder.add(base, load_int64(builder, table, i)) for i in range(count)]


@intrinsic(prefer_literal=True)
def emit_tile(typingctx, form, dtype, lanes, rows, columns, arguments):
    """The code of one tile; every parameter but `arguments` (the tuple of the twelve) is a literal."""
    literals = (form, dtype, lanes, rows, columns)
    form_name, *shape = [literal.literal_value for literal in literals]

    def generate(context, builder, signature, values):
        vector = Lanes(builder, *shape[:2])
        _EMITTERS[form_name](vector, *shape[2:], *cgutils.unpack_tuple(builder, values[-1]))
        return context.get_dummy_value()

    return types.none(*literals, arguments), generate


def _store_vectors(lanes, value, row, c_columns, v, widths, mask, accumulate):
    builder = lanes.builder
    at = builder.add(row, load_int64(builder, c_columns, v))
    # with accumulate = 0 every lane is masked off: zero is added and C is never read
    adding = lanes.mask(builder.mul(accumulate, int64(lanes.count)))
    before = lanes.load(at, builder.and_(mask, adding))
    lanes.store(builder.fadd(value, before), at, mask)


def _store_scattered(lanes, value, row, c_columns, v, widths, mask, accumulate):
    width = load_int64(lanes.builder, widths, v)
    for lane in range(lanes.count):
        offset = load_int64(lanes.builder, c_columns, v * lanes.count + lane)
        _store_one(lanes, value, lane, row, offset, width, accumulate)


def _store_one(lanes, vector, lane, row, offset, width, accumulate):
    builder = lanes.builder
    with builder.if_then(builder.icmp_signed("<", int64(lane), width)):
        at = builder.add(row, offset)
        number = lanes.number(vector, lane)
        with builder.if_else(builder.icmp_signed("!=", accumulate, int64(0))) as (add, put):
            with add:
                lanes.store_number(builder.fadd(number, lanes.load_number(at)), at)
            with put:
                lanes.store_number(number, at)


def _emit_outer(lanes, rows, vectors, steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns,
                valid_rows, accumulate, store=_store_vectors):  # fmt: skip
    builder = lanes.builder
    a_at = _addresses(builder, a, a_rows, rows)
    b_at = _addresses(builder, b, b_columns, vectors)
    masks = [lanes.mask(load_int64(builder, widths, v)) for v in range(vectors)]
    # the tile of C is wanted in a few microseconds, on lines far apart
    for row in _addresses(builder, c, c_rows, rows):
        for at in _addresses(builder, row, c_columns, vectors):
            lanes.prefetch(at)

    carried = [k_table] + [lanes.zero] * (rows * vectors)
    with Loop(builder, steps, carried) as loop:
        k_at, *sums = loop.values
        in_a, in_b = load_int64(builder, k_at, 0), load_int64(builder, k_at, 1)
        columns = [
            lanes.load(builder.add(at, in_b), mask) for at, mask in zip(b_at, masks, strict=True)
        ]
        loop.next = [builder.add(k_at, int64(16))]
        for i, at in enumerate(a_at):
            number = lanes.broadcast(builder.add(at, in_a))
            loop.next += [
                lanes.multiply_add(number, columns[v], sums[i * vectors + v])
                for v in range(vectors)
            ]
    sums = loop.values[1:]

    for i in range(rows):
        with builder.if_then(builder.icmp_signed("<", int64(i), valid_rows)):
            row = builder.add(c, load_int64(builder, c_rows, i))
            for v in range(vectors):
                store(lanes, sums[i * vectors + v], row, c_columns, v, widths, masks[v], accumulate)


def _emit_dot(lanes, rows, columns, steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns,
              valid_rows, accumulate):  # fmt: skip
    builder = lanes.builder
    a_at = _addresses(builder, a, a_rows, rows)
    b_at = _addresses(builder, b, b_columns, columns)

    carried = [k_table] + [lanes.zero] * (rows * columns)
    with Loop(builder, steps, carried) as loop:
        k_at, *sums = loop.values
        in_a, in_b, width = (load_int64(builder, k_at, i) for i in range(3))
        mask = lanes.mask(width)
        right = [lanes.load(builder.add(at, in_b), mask) for at in b_at]
        loop.next = [builder.add(k_at, int64(24))]
        for i, at in enumerate(a_at):
            left = lanes.load(builder.add(at, in_a), mask)
            loop.next += [
                lanes.multiply_add(left, right[j], sums[i * columns + j]) for j in range(columns)
            ]
    sums = loop.values[1:]

    for i in range(rows):
        totals = _add_lanes(lanes, sums[i * columns : (i + 1) * columns])
        with builder.if_then(builder.icmp_signed("<", int64(i), valid_rows)):
            row = builder.add(c, load_int64(builder, c_rows, i))
            for j in range(columns):
                offset, width = load_int64(builder, c_columns, j), load_int64(builder, widths, j)
                valid = builder.mul(width, int64(columns))
                _store_one(lanes, totals, j, row, offset, valid, accumulate)


def _add_lanes(lanes: Lanes, vectors: list[ir.Value]) -> ir.Value:
    """One vector whose lane j is the sum of the lanes of vectors[j] (a power of two of them).

    Neighbouring lanes of two vectors are added into one vector, halving their number each time, so n vectors cost about
    3 n shuffles and adds instead of n reductions of log2(lanes) each.
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


def _emit_scattered(*arguments) -> None:
    """The outer tile for a C without a contiguous axis: `c_columns` has an offset for every single column."""
    _emit_outer(*arguments, store=_store_scattered)


_EMITTERS = {"outer": _emit_outer, "scattered": _emit_scattered, "dot": _emit_dot}


def tile_function(form: str, dtype: str, lanes: int, rows: int, columns: int) -> Callable:
    """The Python function of one tile shape, for `numba.cfunc(TILE_SIGNATURE)`."""

    def tile(steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns, valid, accumulate):  # fmt: skip
        arguments = (steps, k_table, a, a_rows, b, b_columns, widths, c, c_rows, c_columns, valid, accumulate)  # fmt: skip
        emit_tile(form, dtype, lanes, rows, columns, arguments)

    return tile
