"""The argument tables of a plan: offsets of rows, columns and steps, and what packers copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .blocks import Blocks, column_walk, panel_row
from .layout import (
    offsets,
    padded,
    project,
    run,
    size,
    stretches,
    vector_offsets,
    vector_starts,
    vector_widths,
)
from .names import KernelName
from .problem import Form, Problem

ALIGNMENT = 64  # of scratch: a cache line
PART_BYTES = 128 << 10  # of panels: some 10 us

Values = dict[str, Any]  # slot name -> symbolic slot, table or number


def aligned(count: int) -> int:
    """`count` bytes rounded up to whole cache lines."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def operand_slots(
    problem: Problem, blocks: Blocks, partial_bytes: int, packings: Packings
) -> Values:
    """Where the operands and the result begin, for each problem of the batch."""
    starts: dict[str, tuple[str, Any]] = {}
    tables = [offsets(problem.batch, operand) for operand in range(3)]
    target: tuple[str, object] = ("ptr", "C")
    if blocks.splits > 1:
        results = size(problem.rows) * size(problem.columns) * problem.item
        tables[2] = np.arange(len(tables[0]), dtype=np.int64) * results
        target = ("scratch", 0)
    for index, (side, name) in enumerate(zip("ab", problem.names, strict=True)):
        packing, starts[side] = packings.get(side), ("ptr", name)
        if packing and packing.at is not None:
            starts[side] = packing.at
            tables[index] = np.arange(len(tables[index]), dtype=np.int64) * packing.batch_bytes
    return starts | {
        "c": target,
        "batches": np.stack(tables, axis=1),
        "splits": blocks.splits,
        "split_bytes": partial_bytes,
    }


def step_slots(problem: Problem, form: Form, blocks: Blocks) -> Values:
    """What a step along k adds to the addresses of both operands."""
    if form.tile == "dot":
        item, lanes = problem.item, problem.lanes
        sides = [vector_offsets(problem.steps, item, lanes, operand) for operand in range(2)]
        sides.append(vector_widths(run(problem.steps, item), size(problem.steps), lanes))
    else:
        none = np.zeros(1 if form.packed == "ab" else size(problem.steps), np.int64)
        sides = [
            none if side in form.packed else offsets(problem.steps, operand)
            for operand, side in enumerate("ab")
        ]
    return {
        "k_table": np.stack(sides, axis=1),
        "k_entry": 8 * len(sides),
        "steps": blocks.steps,
        "steps_split": blocks.split,
        "steps_block": blocks.block,
    }


def row_slots(problem: Problem, form: Form, blocks: Blocks) -> Values:
    """Where the rows of the first operand and of the result lie."""
    count, item = size(problem.rows), problem.item
    in_partial = np.arange(count, dtype=np.int64) * size(problem.columns) * item
    c_rows = in_partial if blocks.splits > 1 else offsets(project(problem.rows, 1))
    return {
        "rows": count,
        "tile_rows": form.rows,
        "row_groups": blocks.row_groups,
        "row_block": blocks.row_block,
        "a_rows": 0 if form.pack_a else padded(offsets(project(problem.rows, 0)), form.rows),
        "a_rows_entry": 0 if form.pack_a else 8 * form.rows,
        "c_rows": padded(c_rows, form.rows),
    }


def column_slots(problem: Problem, form: Form, blocks: Blocks) -> Values:
    """Where the columns of the second operand and of the result lie."""
    tables = _single_columns if form.tile == "dot" else _vector_columns
    b_columns, widths, c_columns, per_width = tables(problem, form, blocks.splits > 1)
    group = form.columns
    return {
        "column_groups": blocks.column_groups,
        "column_block": blocks.column_block,
        "b_columns": 0 if form.pack_b else padded(b_columns, group),
        "b_columns_entry": 0 if form.pack_b else 8 * group,
        "widths": padded(widths, group, 0),
        "widths_entry": 8 * group,
        "c_columns": padded(c_columns, group * per_width),
        "c_columns_entry": 8 * group * per_width,
    }


def _single_columns(problem: Problem, form: Form, partial: bool):
    count = size(problem.columns)
    in_partial = np.arange(count, dtype=np.int64) * problem.item
    c_columns = in_partial if partial else offsets(project(problem.columns, 1))
    return offsets(project(problem.columns, 0)), np.ones(count, np.int64), c_columns, 1


def _vector_columns(problem: Problem, form: Form, partial: bool):
    count, item, lanes = size(problem.columns), problem.item, problem.lanes
    b_columns = None if form.pack_b else vector_offsets(problem.columns, item, lanes, 0)
    if form.tile == "scattered":
        in_partial = np.arange(count, dtype=np.int64) * item
        c_columns = in_partial if partial else offsets(project(problem.columns, 1))
        return b_columns, vector_widths(count, count, lanes), c_columns, lanes
    walk = column_walk(problem, form)
    length = run(walk, item)
    in_c = vector_offsets(walk, item, lanes, len(walk[0]) - 2 if walk else 0)
    c_columns = vector_starts(length, count, lanes) * item if partial else in_c
    return b_columns, vector_widths(length, count, lanes), c_columns, 1


@dataclass(frozen=True)
class Packing:
    """How an operand is packed: its packer, that one's tables, and the panels.

    ``at``: the slot of where the whole operand is packed to, by a kernel of its own; None where
    the macro-kernel packs what it needs.
    """

    packer: KernelName
    steps: np.ndarray
    starts: object
    items: object
    row_bytes: int
    group_bytes: int
    groups: int
    blocks: int
    at: tuple[str, int] | None = None

    @property
    def block_bytes(self) -> int:
        """Bytes of all panels of a block of k."""
        return self.groups * self.group_bytes

    @property
    def batch_bytes(self) -> int:
        """Bytes of the panels of one problem of the batch."""
        return self.blocks * self.block_bytes


Packings = dict[str, Packing]


def packings_of(problem: Problem, form: Form, blocks: Blocks) -> Packings:
    """How the operands that are packed are packed; a Packing's place is not decided yet."""
    found = {}
    if form.pack_a:
        found["a"] = _row_panels(problem, form, blocks)
    if form.pack_b:
        found["b"] = _column_panels(problem, form, blocks)
    return found


def packer_slots(problem: Problem, blocks: Blocks, packings: Packings) -> Values:
    """The macro-kernel's slots of both packers, and the packing space of a chunk."""
    slots: Values = {}
    space = {"a": 0, "b": 0}
    for side, most in (("a", blocks.row_block), ("b", blocks.column_block)):
        packing = packings.get(side)
        names = ("pack_@ @_pack_k @_pack_starts @_pack_items @_pack_row @_group_bytes "
                 "@_block_bytes").replace("@", side).split()  # fmt: skip
        slots |= dict.fromkeys(names, 0)
        if packing is None:
            continue
        slots[f"{side}_group_bytes"] = packing.group_bytes
        if packing.at is not None:
            slots[f"{side}_block_bytes"] = packing.block_bytes
            continue
        values = (packing.packer, packing.steps, packing.starts, packing.items, packing.row_bytes)
        slots |= dict(zip(names, (("function", values[0]), *values[1:]), strict=False))
        space[side] = aligned(min(most, packing.groups) * packing.group_bytes)
    return slots | {"b_pack_at": space["a"], "chunk_bytes": sum(space.values())}


def pack_slots(problem: Problem, blocks: Blocks, side: str, packing: Packing) -> Values:
    """The slots of the kernel that packs a whole operand.

    A part of it is ``PART_BYTES`` of panels, and a stretch of its source: whole rows of k where
    they are copied, columns over a whole block of k where they are transposed.
    """
    operand = "ab".index(side)
    group_part, step_part = packing.groups, blocks.block
    if packing.packer.role == "copy":
        fit = PART_BYTES // (packing.groups * packing.row_bytes)
        step_part = min(step_part, max(problem.lanes, fit))
    else:
        group_part = min(group_part, max(1, PART_BYTES // packing.group_bytes))
    return {
        "packer": ("function", packing.packer),
        "source": ("ptr", problem.names[operand]),
        "panels": packing.at,
        "batches": offsets(problem.batch, operand),
        "steps": blocks.steps,
        "steps_block": blocks.block,
        "blocks": packing.blocks,
        "groups": packing.groups,
        "group_part": group_part,
        "group_parts": -(-packing.groups // group_part),
        "step_part": step_part,
        "step_parts": -(-blocks.block // step_part),
        "k_table": packing.steps,
        "starts": packing.starts,
        "items": packing.items,
        "row_bytes": packing.row_bytes,
        "group_bytes": packing.group_bytes,
        "block_bytes": packing.block_bytes,
        "batch_bytes": packing.batch_bytes,
    }


def _panel_bytes(problem: Problem, blocks: Blocks, row_bytes: int) -> int:
    """Distance of panels: room for whole vectors of k, as the transposing packer writes them, and
    for a vector past the end; and an odd number of cache lines, or the same row of all panels
    would share a cache set."""
    steps = -(-blocks.block // problem.lanes) * problem.lanes
    size = steps * row_bytes + problem.lanes * problem.item
    return (-(-size // ALIGNMENT) | 1) * ALIGNMENT


def _row_panels(problem: Problem, form: Form, blocks: Blocks) -> Packing:
    row = form.rows * problem.item
    return _panels(problem, blocks, 0, form.pack_a, row, size(problem.rows), form.rows, 1)


def _column_panels(problem: Problem, form: Form, blocks: Blocks) -> Packing:
    count = size(problem.columns)
    walk = column_walk(problem, form)
    length = count if form.tile == "scattered" else run(walk, problem.item)
    slots = (problem.lanes, form.columns)
    return _panels(problem, blocks, 1, form.pack_b, panel_row(problem, form), length, *slots)


def _panels(
    problem: Problem, blocks: Blocks, operand: int, packer: str, row: int, length: int,
    width: int, slots: int,
) -> Packing:  # fmt: skip
    """The Packing of an operand whose walk begins a new slot, of ``width`` numbers, after every
    ``length`` of them; ``slots`` of those are a panel."""
    dims = project((problem.rows, problem.columns)[operand], 0)
    count, item, lanes = size(dims), problem.item, problem.lanes
    group = _panel_bytes(problem, blocks, row)
    steps = offsets(project(problem.steps, operand))
    starts: object
    items: object
    if packer == "copy":
        name = KernelName("copy", problem.dtype, lanes)
        starts, items = stretches(dims, length, width, slots, group, item)
        groups = len(starts) - 1
    else:
        name = KernelName("transpose", problem.dtype, lanes, width)
        steps = steps[::lanes]
        first, widths = vector_starts(length, count, width), vector_widths(length, count, width)
        lane = np.minimum(np.arange(width, dtype=np.int64), widths[:, None] - 1)
        starts, items = 0, padded(offsets(dims)[first[:, None] + lane].ravel(), slots * width)
        groups = len(items) // (slots * width)
    blocks_of_k = max(1, -(-blocks.steps // blocks.block))
    return Packing(name, steps, starts, items, row, group, groups, blocks_of_k)
