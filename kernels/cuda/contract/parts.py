"""The sum of a product's parts: what a product cut along k is finished with, and the empty sum."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from ...loopir import Assign, Call, For, Get, Int, Let, Number, Pointer, Put, Slot, Var
from ..call import GridCall
from ..gridir import Block, GridKernel, Thread, When
from .epilogue import Epilogue
from .index import Index, Names
from .place import cast, entry

if TYPE_CHECKING:
    from .plan import Work

BLOCK = 256
ADDS_A_NS = 1.0  # of one core that emulates the kernel
POINTERS = "parts c c_batches c_rows c_columns".split()
NUMBERS = "rows columns results count".split()
SLOTS = POINTERS + NUMBERS
SLOT = {name: number for number, name in enumerate(SLOTS)}


def sum_parts(work: Work, count: int) -> GridCall:
    """C = the sum of ``count`` results that lie one after the other in scratch; zeros for none."""
    sizes, sums = work.maps.sizes, work.sums
    c_batch, c_rows, c_columns = work.maps.tables["C"]
    values: dict[str, tuple[Any, ...]] = {
        "parts": ("scratch", 0),
        "c": ("ptr", work.targets[0], 0),
        "c_batches": ("table", c_batch),
        "c_rows": ("table", c_rows),
        "c_columns": ("table", c_columns),
        "rows": ("int", sizes.rows),
        "columns": ("int", sizes.columns),
        "results": ("int", sizes.results),
        "count": ("int", count),
    }
    slots = tuple(values[name] for name in SLOTS) + work.fused_slots()
    epilogue = work.fused.epilogue if work.fused else None
    kernel = parts_kernel(sums, work.product.dot.dtype, epilogue)
    scratch, ns = sizes.results * count * sums.itemsize, sizes.results * count / ADDS_A_NS
    return GridCall(kernel.name, kernel, slots, -(-sizes.results // BLOCK), scratch, ns)


@functools.cache
def parts_kernel(sums: DType, result: DType, epilogue: Epilogue | None = None) -> GridKernel:
    """A thread a number of the result."""
    names = Names()
    at = names.let("at", Index(Block()) * BLOCK + Index(Thread()))
    part = Get(Var("parts"), (Index(Var("part")) * slot("results") + at).expr, sums)
    more = Assign("total", Call("add", sums, sums, (Var("total"), part)))
    total = (
        Let("total", Number(0.0, sums)),
        For("part", Int(0), slot("count").expr, (more,)),
    )
    inside = When((at < slot("results")).expr, (*total, *_written(sums, result, epilogue, at)))
    body = (*_pointers(sums, result, epilogue), *names.body, inside)
    words = dict.fromkeys(("sum_parts", sums.name, result.name))
    name = "_".join([*words, *([epilogue.name] if epilogue else [])])
    kinds = ("ptr",) * len(POINTERS) + ("int",) * len(NUMBERS)
    kinds += epilogue.kinds if epilogue else ()
    return GridKernel(name, "the sum of a product's parts", body, BLOCK, kinds=kinds)


def _pointers(sums: DType, result: DType, epilogue: Epilogue | None) -> list[Any]:
    tables = ("c_batches", "c_rows", "c_columns")
    found: list[Any] = [Let(name, Pointer(SLOT[name], dtypes.int32)) for name in tables]
    found.append(Let("parts", Pointer(SLOT["parts"], sums)))
    if epilogue is None:
        return [*found, Let("c_values", Pointer(SLOT["c"], result))]
    return found + epilogue.pointers(SLOT["c"], len(SLOTS))


def _written(sums: DType, result: DType, epilogue: Epilogue | None, at: Index) -> list[Any]:
    """The total, or what the epilogue makes of it, to memory."""
    names = Names()
    row = names.let("row", at // slot("columns"))
    places = (row // slot("rows"), row % slot("rows"), at % slot("columns"))

    def offset(operand: str) -> Index:
        batch, row, column = places
        found = entry(f"{operand}_batches", batch) + entry(f"{operand}_rows", row)
        return found + entry(f"{operand}_columns", column)

    to = names.let("to", offset("c"))
    total = cast(Var("total"), sums, result)
    if epilogue is None:
        return [*names.body, Put(Var("c_values"), to.expr, total, result)]
    offsets = [offset(f"e{n}") for n in range(len(epilogue.operands))]
    computed = epilogue.statements(total, offsets, "")
    values = zip(epilogue.results(""), epilogue.outputs, strict=True)
    puts = [Put(Var(f"c{n}_values"), to.expr, x, dtype) for n, (x, dtype) in enumerate(values)]
    return [*names.body, *computed, *puts]


def slot(name: str) -> Index:
    """An extent among the arguments."""
    return Index(Slot(SLOT[name]))
