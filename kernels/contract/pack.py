"""Packers: copy a block of an operand, read through its offset tables, into panels.

A panel is what a tile streams: for each step of k one row of `row_bytes`, with the columns (or
rows) of one group side by side. Both packers take the same arguments and are called by address:

    pack(k_table, first, steps, source, starts, items, first_group, last_group,
         panels, row_bytes, group_bytes)

`copy_panels`       for an operand contiguous along the panel's rows, at least in stretches (a row
                    of an image, a kernel window): a stretch is one masked vector load and one
                    store, about 4 cycles with the panel going out to the second-level cache. The
                    planner cuts stretches where they would cross a vector of the panel.
`transpose_panels`  for an operand contiguous along k: a square of lanes x lanes numbers is loaded
                    along k, transposed in registers by log2(lanes) rounds of interleaving, and
                    stored along the panel's rows; about 6 cycles a vector.

Lanes past the last column are zero or copies of it, never left-over bytes: stale denormals would
slow the multiply-adds down on some processors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..front.instruction import machine_instruction
from .lanes import Lanes, int64, load_int64
from .machine import int64_at


@machine_instruction(literals=2)
def move_lanes(builder, dtype, lanes, source, target, width):
    """Copy `width` numbers and write zeros after them, a whole vector in all."""
    vector = Lanes(builder, dtype, lanes)
    vector.store_all(vector.load(source, vector.mask(width)), target)


@machine_instruction(literals=2)
def transpose_square(builder, dtype, lanes, source, offsets, width, target, row_bytes):
    """Load `width` numbers at source + offsets[i] for lane i; row j of target gets the j-th."""
    vector = Lanes(builder, dtype, lanes)
    mask = vector.mask(width)
    columns = [
        vector.load(builder.add(source, load_int64(builder, offsets, i)), mask)
        for i in range(vector.count)
    ]
    for j, row in enumerate(_transposed(vector, columns)):
        vector.store_all(row, builder.add(target, builder.mul(row_bytes, int64(j))))


def _transposed(vector: Lanes, rows: list[ir.Value]) -> list[ir.Value]:
    """The square transposed: its halves interleaved log2(lanes) times."""
    lanes, half = vector.count, vector.count // 2
    interleaved = [i // 2 + lanes * (i % 2) for i in range(2 * lanes)]
    for _ in range(lanes.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        parts = (interleaved[:lanes], interleaved[lanes:])
        rows = [vector.pick(x, y, part) for x, y in pairs for part in parts]
    return rows


def copy_function(dtype: str, lanes: int) -> Callable:
    """Packer for stretches: `items` holds (source offset, panel offset, length) of each.

    Every store writes a whole vector. What it writes past its stretch belongs to a later stretch or
    a later step of k, so going up in both leaves it right; the planner leaves room after a panel.
    """

    def copy_panels(k_table, first, steps, source, starts, items, first_group, last_group,
                    panels, row_bytes, group_bytes):  # fmt: skip
        first_item = items + 24 * int64_at(starts, first_group)
        last_item = items + 24 * int64_at(starts, last_group)
        row = panels - first_group * group_bytes
        for k in range(first, first + steps):
            line = source + int64_at(k_table, k)
            for item in range(first_item, last_item, 24):
                source_at, target_at = line + int64_at(item, 0), row + int64_at(item, 1)
                move_lanes(dtype, lanes, source_at, target_at, int64_at(item, 2))
            row += row_bytes

    return copy_panels


def transpose_function(dtype: str, lanes: int, vector_bytes: int) -> Callable:
    """Packer along k: `items` holds the offset of each column, `k_table` of every `lanes` steps.

    Up to lanes - 1 rows are written past the end of a panel: the next one is written later, and the
    planner leaves room after the last.
    """

    def transpose_panels(k_table, first, steps, source, starts, items, first_group, last_group,
                         panels, row_bytes, group_bytes):  # fmt: skip
        columns = items + first_group * (row_bytes // vector_bytes) * lanes * 8
        for group in range(first_group, last_group):
            panel = panels + (group - first_group) * group_bytes
            for vector in range(panel, panel + row_bytes, vector_bytes):
                for k in range(0, steps, lanes):
                    line = source + int64_at(k_table, (first + k) // lanes)
                    width, target = min(lanes, steps - k), vector + k * row_bytes
                    transpose_square(dtype, lanes, line, columns, width, target, row_bytes)
                columns += lanes * 8

    return transpose_panels
