"""Packers: copy a block of an operand, read through its offset tables, into panels.

A panel is what a tile streams: for each step of k one row of `row_bytes`, with the columns (or
rows) of one group side by side. Both packers take the same arguments and are called by address:

    pack(k_table, first, steps, source, starts, items, first_group, last_group,
         panels, row_bytes, group_bytes)

`copy_panels`       for an operand contiguous along the panel's rows, at least in stretches (a row
                    of an image, a kernel window): a stretch is one masked vector load and one
                    store, about 4 cycles with the panel going out to the second-level cache. The
                    planner cuts stretches where they would cross a vector of the panel. A few steps
                    of k at a time: lines of the source are used up while they are near, and what
                    the table says of a stretch is read once for all of them.
`transpose_panels`  for an operand contiguous along k: a block of `width` vectors is loaded along k,
                    transposed in registers by log2(width) rounds of interleaving, and stored along
                    the panel's rows; about 6 cycles a vector. `width` is the lanes of a vector, or
                    fewer where a panel's row has only that many: those rows lie side by side.

Lanes past the last column are zero or copies of it, never left-over bytes: stale denormals would
slow the multiply-adds down on some processors. No store reaches into another panel, so panels may
be packed in any order.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..front.instruction import machine_instruction
from .lanes import Lanes, int64, load_int64
from .machine import int64_at
from .micro import Loop

NEAR_STEPS = 16  # of k, for each stretch of the copying packer


@machine_instruction(literals=2)
def move_stretch(builder, dtype, lanes, source, k_at, steps, target, row_bytes, width, room):
    """For `steps` of k: copy `width` numbers from source + offset of k, and zeros up to `room`."""
    vector = Lanes(builder, dtype, lanes)
    valid, stored = vector.mask(width), vector.mask(room)
    with Loop(builder, steps, [k_at, target]) as loop:
        at, row = loop.values
        line = builder.add(source, load_int64(builder, at))
        vector.store(vector.load(line, valid), row, stored)
        loop.next = [builder.add(at, int64(8)), builder.add(row, row_bytes)]


@machine_instruction(literals=3)
def transpose_block(builder, dtype, lanes, width, source, offsets, steps, target, row_bytes):
    """Load `steps` numbers at source + offsets[i] for lane i; row j of target gets the j-th.

    With `width` columns, fewer than there are lanes, a vector is several rows of the panel.
    """
    vector = Lanes(builder, dtype, lanes)
    mask = vector.mask(steps)
    columns = [
        vector.load(builder.add(source, load_int64(builder, offsets, i)), mask)
        for i in range(width)
    ]
    rows = int64(vector.count // width)
    for j, row in enumerate(_transposed(vector, columns)):
        down = builder.mul(builder.mul(row_bytes, rows), int64(j))
        vector.store_all(row, builder.add(target, down))


def _transposed(vector: Lanes, rows: list[ir.Value]) -> list[ir.Value]:
    """The block transposed: its halves interleaved log2(rows) times.

    The bits of an element's place, row before lane, rotate left by one each time.
    """
    lanes, half = vector.count, len(rows) // 2
    interleaved = [i // 2 + lanes * (i % 2) for i in range(2 * lanes)]
    for _ in range(len(rows).bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        parts = (interleaved[:lanes], interleaved[lanes:])
        rows = [vector.pick(x, y, part) for x, y in pairs for part in parts]
    return rows


def copy_function(dtype: str, lanes: int) -> Callable:
    """Packer for stretches: `items` holds (source offset, panel offset, length, room) of each.

    `room` is what is left of the stretch's slot in the panel: zeros are written after the stretch,
    which a later stretch of the same slot overwrites.
    """

    def copy_panels(k_table, first, steps, source, starts, items, first_group, last_group,
                    panels, row_bytes, group_bytes):  # fmt: skip
        first_item = items + 32 * int64_at(starts, first_group)
        last_item = items + 32 * int64_at(starts, last_group)
        rows = panels - first_group * group_bytes
        for k in range(0, steps, NEAR_STEPS):
            count, k_at = min(NEAR_STEPS, steps - k), k_table + 8 * (first + k)
            for item in range(first_item, last_item, 32):
                source_at, target = source + int64_at(item, 0), rows + int64_at(item, 1)
                width, room = int64_at(item, 2), int64_at(item, 3)
                move_stretch(dtype, lanes, source_at, k_at, count, target, row_bytes, width, room)
            rows += NEAR_STEPS * row_bytes

    return copy_panels


def transpose_function(dtype: str, lanes: int, width: int, item_bytes: int) -> Callable:
    """Packer along k: `items` holds the offset of each column, `k_table` of every `lanes` steps.

    `width` is a power of two up to `lanes`, and a whole panel row where it is less. Up to lanes - 1
    rows are written past the last step: the planner leaves room after every panel.
    """
    slot_bytes = width * item_bytes

    def transpose_panels(k_table, first, steps, source, starts, items, first_group, last_group,
                         panels, row_bytes, group_bytes):  # fmt: skip
        columns = items + first_group * (row_bytes // slot_bytes) * width * 8
        for group in range(first_group, last_group):
            panel = panels + (group - first_group) * group_bytes
            for slot in range(panel, panel + row_bytes, slot_bytes):
                for k in range(0, steps, lanes):
                    line = source + int64_at(k_table, (first + k) // lanes)
                    count, target = min(lanes, steps - k), slot + k * row_bytes
                    transpose_block(dtype, lanes, width, line, columns, count, target, row_bytes)
                columns += width * 8

    return transpose_panels
