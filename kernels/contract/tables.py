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

Values = dict[str, Any]  # slot name -> symbolic slot, table or number


def aligned(count: int) -> int:
    """`count` bytes rounded up to whole cache lines."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def operand_slots(problem: Problem, blocks: Blocks, partial_bytes: int) -> Values:
    """Where the operands and the result begin, for each problem of the batch."""
    first, second = problem.names
    tables = [offsets(problem.batch, operand) for operand in range(3)]
    target: tuple[str, object] = ("ptr", "C")
    if blocks.splits > 1:
        results = size(problem.rows) * size(problem.columns) * problem.item
        tables[2] = np.arange(len(tables[0]), dtype=np.int64) * results
        target = ("scratch", 0)
    return {
        "a": ("ptr", first),
        "b": ("ptr", second),
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
        in_block = np.arange(size(problem.steps), dtype=np.int64) % blocks.block
        rows = (form.rows * problem.item, panel_row(problem, form))
        packers = (form.pack_a, form.pack_b)
        sides = [
            in_block * row if packer else offsets(problem.steps, operand)
            for operand, (packer, row) in enumerate(zip(packers, rows, strict=True))
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
    packed = np.arange(form.rows, dtype=np.int64) * item
    in_place = padded(offsets(project(problem.rows, 0)), form.rows)
    in_partial = np.arange(count, dtype=np.int64) * size(problem.columns) * item
    c_rows = in_partial if blocks.splits > 1 else offsets(project(problem.rows, 1))
    return {
        "rows": count,
        "tile_rows": form.rows,
        "row_groups": blocks.row_groups,
        "row_block": blocks.row_block,
        "a_rows": packed if form.pack_a else in_place,
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
        "b_columns": padded(b_columns, group),
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
    if form.pack_b:
        b_columns = np.arange(form.columns, dtype=np.int64) * lanes * item
    else:
        b_columns = vector_offsets(problem.columns, item, lanes, 0)
    if form.tile == "scattered":
        in_partial = np.arange(count, dtype=np.int64) * item
        c_columns = in_partial if partial else offsets(project(problem.columns, 1))
        return b_columns, vector_widths(count, count, lanes), c_columns, lanes
    walk = column_walk(problem, form)
    length = run(walk, item)
    in_c = vector_offsets(walk, item, lanes, len(walk[0]) - 2 if walk else 0)
    c_columns = vector_starts(length, count, lanes) * item if partial else in_c
    return b_columns, vector_widths(length, count, lanes), c_columns, 1


def packer_slots(problem: Problem, form: Form, blocks: Blocks) -> Values:
    """Both packers' slots and the packing space of a chunk."""
    a, b = _row_panels(problem, form, blocks), _column_panels(problem, form, blocks)
    # the transposing packer writes whole squares: up to lanes - 1 rows past the last panel
    spill = problem.lanes * b.row_bytes
    a_bytes = aligned(blocks.row_block * a.group_bytes) if form.pack_a else 0
    b_bytes = aligned(blocks.column_block * b.group_bytes + spill) if form.pack_b else 0
    sizes = {"b_pack_at": a_bytes, "chunk_bytes": a_bytes + b_bytes}
    return _packer("a", form.pack_a, problem, a) | _packer("b", form.pack_b, problem, b) | sizes


@dataclass(frozen=True)
class _Panels:
    """Where an operand is packed to, and from: `starts` and `items` as its packer wants them."""

    row_bytes: int
    group_bytes: int
    starts: object = 0
    items: object = 0


def _panel_bytes(block: int, row_bytes: int, vector_bytes: int) -> int:
    """Distance of panels: room for a vector written past the end, and an odd number of cache lines,
    or the same row of all panels would share a cache set."""
    return (-(-(block * row_bytes + vector_bytes) // ALIGNMENT) | 1) * ALIGNMENT


def _packer(side: str, packer: str, problem: Problem, panels: _Panels) -> Values:
    apart = problem.lanes if packer == "transpose" else 1
    steps = offsets(project(problem.steps, "ab".index(side)))[::apart]
    function = ("function", KernelName(packer, problem.dtype, problem.lanes))
    slots = {
        f"pack_{side}": function,
        f"{side}_pack_k": steps,
        f"{side}_pack_starts": panels.starts,
        f"{side}_pack_items": panels.items,
        f"{side}_pack_row": panels.row_bytes,
        f"{side}_group_bytes": panels.group_bytes,
    }
    return slots if packer else dict.fromkeys(slots, 0)


def _row_panels(problem: Problem, form: Form, blocks: Blocks) -> _Panels:
    row = form.rows * problem.item
    group = _panel_bytes(blocks.block, row, problem.lanes * problem.item)
    if not form.pack_a:
        return _Panels(row, group)
    rows = project(problem.rows, 0)
    return _Panels(row, group, *stretches(rows, size(rows), form.rows, 1, group, problem.item))


def _column_panels(problem: Problem, form: Form, blocks: Blocks) -> _Panels:
    item, lanes, row = problem.item, problem.lanes, panel_row(problem, form)
    group = _panel_bytes(blocks.block, row, problem.lanes * problem.item)
    columns = project(problem.columns, 0)
    count = size(columns)
    length = count if form.tile == "scattered" else run(column_walk(problem, form), item)
    if form.pack_b == "copy":
        tables = stretches(columns, length, lanes, form.columns, group, item)
        return _Panels(row, group, *tables)
    if form.pack_b == "transpose":
        starts, widths = (
            vector_starts(length, count, lanes),
            vector_widths(length, count, lanes),
        )
        lane = np.minimum(np.arange(lanes, dtype=np.int64), widths[:, None] - 1)
        table = offsets(columns)[starts[:, None] + lane].ravel()
        return _Panels(row, group, 0, padded(table, form.columns * lanes))
    return _Panels(row, group)
