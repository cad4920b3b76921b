"""The macro-kernel: the loops around the micro-kernel, for every dtype, shape and memory layout.

An outer iteration is one macro-tile of C: batch, split of k, block of column groups, block of row
groups. Within it

    for each block of k:           C is visited once a block
        pack A, pack B             where the plan says so, into the second-level cache
        for each row group:        its panel of A, or its rows, move into the first level
            for each column group: B streams past it from the second
                tile(...)          registers

The plan decides all sizes and hands over offset tables, so the loops know neither convolution nor
transposition. Operands read in place and packed ones differ only in table entries: `a_group_bytes`
is 0 for A in place, and so on. Consecutive macro-tiles of a chunk share a packed block they both
need; an operand that many macro-tiles need is packed whole, once, by `pack_operand` before.
"""

from __future__ import annotations

from collections.abc import Callable

from ..front.instruction import machine_instruction
from .lanes import Lanes
from .machine import call_address, int64_at
from .micro import Loop
from .slots import MACRO, PACK, REDUCE


def _pack(args, side, first, steps, source, groups, panels):
    """Pack one block of an operand; `side` is its first slot, `MACRO.pack_a` or `MACRO.pack_b`."""
    k_table, starts, items = args[side + 1], args[side + 2], args[side + 3]
    row_bytes, group_bytes = args[side + 4], args[side + 5]
    block = (k_table, first, steps, source, starts, items, groups[0], groups[1])
    call_address(args[side], (*block, panels, row_bytes, group_bytes))


def _tiles(args, a, b, c, first, steps, rows, columns):
    """All tiles of a macro-tile over a block of k; `rows`, `columns` are (first, last) groups."""
    s = MACRO
    k_table = args[s.k_table] + first * args[s.k_entry]
    tile_rows = args[s.tile_rows]
    accumulate = min(first % args[s.steps_split], 1)
    for row in range(rows[0], rows[1]):
        a_rows = args[s.a_rows] + row * args[s.a_rows_entry]
        c_rows = args[s.c_rows] + row * tile_rows * 8
        valid = args[s.rows] - row * tile_rows
        b_panel = b
        for column in range(columns[0], columns[1]):
            b_columns = args[s.b_columns] + column * args[s.b_columns_entry]
            widths = args[s.widths] + column * args[s.widths_entry]
            c_columns = args[s.c_columns] + column * args[s.c_columns_entry]
            reads = (steps, k_table, a, a_rows, b_panel, b_columns, widths)
            call_address(args[s.tile], (*reads, c, c_rows, c_columns, valid, accumulate))
            b_panel += args[s.b_group_bytes]
        a += args[s.a_group_bytes]


def contract(args, start, stop, chunk):
    """Macro-tiles [start, stop) of C = A B; the layout of `args` is `slots.MACRO`."""
    s = MACRO
    row_blocks = -(-args[s.row_groups] // args[s.row_block])
    column_blocks = -(-args[s.column_groups] // args[s.column_block])
    a_panels = args[s.scratch] + chunk * args[s.chunk_bytes]
    b_panels = a_panels + args[s.b_pack_at]
    in_a_panels = in_b_panels = (-1, -1, -1)
    for tile in range(start, stop):
        rest, row = tile // row_blocks, tile % row_blocks * args[s.row_block]
        rest, column = rest // column_blocks, rest % column_blocks * args[s.column_block]
        batch, split = rest // args[s.splits], rest % args[s.splits]
        rows = (row, min(row + args[s.row_block], args[s.row_groups]))
        columns = (column, min(column + args[s.column_block], args[s.column_groups]))
        a = args[s.a] + int64_at(args[s.batches], 3 * batch)
        b = args[s.b] + int64_at(args[s.batches], 3 * batch + 1)
        c = args[s.c] + int64_at(args[s.batches], 3 * batch + 2) + split * args[s.split_bytes]
        first = split * args[s.steps_split]
        last = min(first + args[s.steps_split], args[s.steps])
        unfinished = True  # a product over no k at all still writes its zeros
        while unfinished:
            steps = min(args[s.steps_block], last - first)
            if args[s.pack_a] != 0 and in_a_panels != (batch, first, row):
                in_a_panels = (batch, first, row)
                _pack(args, s.pack_a, first, steps, a, rows, a_panels)
            if args[s.pack_b] != 0 and in_b_panels != (batch, first, column):
                in_b_panels = (batch, first, column)
                _pack(args, s.pack_b, first, steps, b, columns, b_panels)
            block = first // args[s.steps_block]
            a_block = a + block * args[s.a_block_bytes] + row * args[s.a_group_bytes]
            b_block = b + block * args[s.b_block_bytes] + column * args[s.b_group_bytes]
            a_block = a_block if args[s.pack_a] == 0 else a_panels
            b_block = b_block if args[s.pack_b] == 0 else b_panels
            _tiles(args, a_block, b_block, c, first, steps, rows, columns)
            first += steps
            unfinished = first < last


def pack_operand(args, start, stop, chunk):
    """Parts [start, stop) of a whole operand into panels; the layout of `args` is `slots.PACK`."""
    s = PACK
    for index in range(start, stop):
        rest, part = index // args[s.group_parts], index % args[s.group_parts]
        rest, step = rest // args[s.step_parts], rest % args[s.step_parts] * args[s.step_part]
        batch, block = rest // args[s.blocks], rest % args[s.blocks]
        source = args[s.source] + int64_at(args[s.batches], batch)
        first, group = block * args[s.steps_block] + step, part * args[s.group_part]
        left = min(args[s.steps_block] - step, args[s.steps] - first)
        steps = max(0, min(args[s.step_part], left))
        groups = (group, min(group + args[s.group_part], args[s.groups]))
        panels = args[s.panels] + batch * args[s.batch_bytes] + block * args[s.block_bytes]
        panels += group * args[s.group_bytes] + step * args[s.row_bytes]
        where = (source, args[s.starts], args[s.items], *groups, panels)
        reads = (args[s.k_table], first, steps, *where)
        call_address(args[s.packer], (*reads, args[s.row_bytes], args[s.group_bytes]))


@machine_instruction(literals=2)
def sum_vectors(builder, dtype, lanes, source, distance, count, target, width):
    """`width` numbers at target = the sum of `count` vectors, `distance` bytes apart, in order."""
    vector = Lanes(builder, dtype, lanes)
    mask = vector.mask(width)
    with Loop(builder, count, [source, vector.zero]) as loop:
        at, total = loop.values
        total = builder.fadd(total, vector.load(at, mask))
        loop.next = [builder.add(at, distance), total]
    vector.store(loop.values[1], target, mask)


def reduce_function(dtype: str, lanes: int) -> Callable:
    """The kernel that adds up the partial products; an outer iteration is one row of C."""

    def reduce_splits(args, start, stop, chunk):
        s = REDUCE
        for index in range(start, stop):
            source = args[s.partial] + index * args[s.partial_row_bytes]
            batch, row = index // args[s.rows], index % args[s.rows]
            target = args[s.c] + int64_at(args[s.batches], batch) + int64_at(args[s.c_rows], row)
            column = args[s.columns]
            for _ in range(args[s.column_count]):
                read, write = source + int64_at(column, 0), target + int64_at(column, 1)
                width = int64_at(column, 2)
                sum_vectors(dtype, lanes, read, args[s.split_bytes], args[s.splits], write, width)
                column += 24

    return reduce_splits
