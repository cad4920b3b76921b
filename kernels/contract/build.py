"""From a chosen form to a ContractionPlan: kernel calls, their slots and the layout of scratch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .blocks import Blocks, blocks_of
from .layout import offsets, project, run, size, vector_offsets, vector_starts, vector_widths
from .names import KernelName
from .problem import Choice, Form, Problem
from .slots import MACRO, PACK, REDUCE
from .tables import (
    Packing,
    Values,
    aligned,
    column_slots,
    operand_slots,
    pack_slots,
    packer_slots,
    packings_of,
    row_slots,
    step_slots,
)


@dataclass(frozen=True)
class KernelCall:
    """One row of a Program: `slots` are the arguments, symbolically.

    ("ptr", "A" | "B" | "C")    address of an operand's element with all indices 0
    ("table", ndarray)          address of constant int64 data
    ("scratch", offset)         address inside the plan's scratch
    ("kept", offset)            address inside what the plan keeps from one product to the next
    ("function", KernelName)    machine address of a kernel
    ("int", value)
    """

    kernel: KernelName
    slots: tuple[tuple[str, Any], ...]
    extent: int
    grain: int
    once: bool = False  # not for every product, if there are several with the same operand


@dataclass(frozen=True)
class ContractionPlan:
    """Kernel calls to run in order, their shared scratch (64-byte aligned), and the useful work.

    ``kept_bytes``: memory, aligned as scratch is, that calls marked ``once`` fill.
    """

    kernels: tuple[KernelCall, ...]
    scratch_bytes: int
    flops: int
    kept_bytes: int = 0
    choice: Choice | None = field(default=None, compare=False)


def build(
    problem: Problem, form: Form, results: int, reduced: int, fixed: str = ""
) -> ContractionPlan:
    """The plan of `results` sums of `reduced` products each."""
    flops = 2 * results * reduced
    blocks = blocks_of(problem, form, reduced, flops)
    partial_bytes = aligned(results * problem.item) if blocks.splits > 1 else 0
    panels_at, kept_bytes = partial_bytes * blocks.splits, 0
    packings = packings_of(problem, form, blocks)
    for side in form.shared:
        panel_bytes = aligned(size(problem.batch) * packings[side].batch_bytes)
        if side in problem.sides(fixed):
            packings[side] = replace(packings[side], at=("kept", kept_bytes))
            kept_bytes += panel_bytes
        else:
            packings[side] = replace(packings[side], at=("scratch", panels_at))
            panels_at += panel_bytes
    vector = (problem.dtype, problem.lanes)
    values = (
        operand_slots(problem, blocks, partial_bytes, packings)
        | step_slots(problem, form, blocks)
        | row_slots(problem, form, blocks)
        | column_slots(problem, form, blocks)
        | packer_slots(problem, blocks, packings)
        | {"tile": ("function", KernelName(form.tile, *vector, *form.size))}
        | {"scratch": ("scratch", panels_at)}
    )
    extent = size(problem.batch) * blocks.splits * blocks.tiles
    grain = -(-extent // blocks.chunks)
    calls = [_packing(problem, blocks, side, packings[side]) for side in form.shared]
    calls.append(_call(KernelName("macro"), MACRO, values, extent, grain))
    if blocks.splits > 1:
        calls.append(_reduction(problem, blocks, partial_bytes))
    panel_bytes = -(-extent // grain) * values["chunk_bytes"]
    return ContractionPlan(tuple(calls), panels_at + panel_bytes, flops, kept_bytes)


def _packing(problem: Problem, blocks: Blocks, side: str, packing: Packing) -> KernelCall:
    """All of an operand into panels, in parts that are worth a chunk each."""
    values = pack_slots(problem, blocks, side, packing)
    parts = values["group_parts"] * values["step_parts"]
    extent = size(problem.batch) * packing.blocks * parts
    call = _call(KernelName("pack"), PACK, values, extent, 1)
    return replace(call, once=values["panels"][0] == "kept")


def _reduction(problem: Problem, blocks: Blocks, partial_bytes: int) -> KernelCall:
    """C = the sum of the partial products, which are dense."""
    item, lanes = problem.item, problem.lanes
    count, rows = size(problem.columns), size(problem.rows)
    walk = project(problem.columns, 1)
    length = run(walk, item)
    vectors = (
        vector_starts(length, count, lanes) * item,
        vector_offsets(walk, item, lanes),
        vector_widths(length, count, lanes),
    )
    values = {
        "partial": ("scratch", 0),
        "c": ("ptr", "C"),
        "splits": blocks.splits,
        "split_bytes": partial_bytes,
        "rows": rows,
        "partial_row_bytes": count * item,
        "batches": offsets(problem.batch, 2),
        "c_rows": offsets(project(problem.rows, 1)),
        "columns": np.stack(vectors, axis=1),
        "column_count": len(vectors[0]),
    }
    extent = size(problem.batch) * rows
    kernel = KernelName("reduce", problem.dtype, lanes)
    return _call(kernel, REDUCE, values, extent, -(-extent // blocks.chunks))


def _call(kernel: KernelName, layout: Any, values: Values, extent: int, grain: int) -> KernelCall:
    slots = tuple(_slot(values[name]) for name in layout._fields)
    return KernelCall(kernel, slots, extent, grain)


def _slot(value: Any) -> tuple[str, Any]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, np.ndarray):
        return ("table", np.ascontiguousarray(value))
    return ("int", int(value))
