"""The sum of a product's parts: what a product cut along k is finished with, and the empty sum."""

from __future__ import annotations

import functools
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from ...contract_build import Product
from ...loopir import Assign, Call, For, Get, Int, Let, Number, Pointer, Put, Slot, Var
from ..call import GridCall
from ..gridir import Block, GridKernel, Thread, When
from .index import Index, Names
from .maps import Maps

BLOCK = 256
ADDS_A_NS = 1.0  # of one core that emulates the kernel
POINTERS = "parts c c_batch c_rows c_columns".split()
NUMBERS = "rows columns results count".split()
SLOTS = POINTERS + NUMBERS
SLOT = {name: number for number, name in enumerate(SLOTS)}


def sum_parts(product: Product, maps: Maps, sums: DType, count: int) -> GridCall:
    """C = the sum of ``count`` results that lie one after the other in scratch; zeros for none."""
    sizes = maps.sizes
    results = sizes.results
    c_batch, c_rows, c_columns = maps.tables["C"]
    values: dict[str, tuple[Any, ...]] = {
        "parts": ("scratch", 0),
        "c": ("ptr", product.target, 0),
        "c_batch": ("table", c_batch),
        "c_rows": ("table", c_rows),
        "c_columns": ("table", c_columns),
        "rows": ("int", sizes.rows),
        "columns": ("int", sizes.columns),
        "results": ("int", results),
        "count": ("int", count),
    }
    slots = tuple(values[name] for name in SLOTS)
    kernel = parts_kernel(sums, product.dot.dtype)
    scratch = results * count * sums.itemsize
    return GridCall(
        kernel.name, kernel, slots, -(-results // BLOCK), scratch, results * count / ADDS_A_NS
    )


@functools.cache
def parts_kernel(sums: DType, result: DType) -> GridKernel:
    """A thread a number of the result."""
    names = Names()
    names.body += [
        Let(name, Pointer(SLOT[name], dtypes.int32)) for name in ("c_batch", "c_rows", "c_columns")
    ]
    names.body += [Let("parts", Pointer(0, sums)), Let("c", Pointer(1, result))]
    at = names.let("at", Index(Block()) * BLOCK + Index(Thread()))
    inner = Names()
    row = inner.let("row", at // slot("columns"))
    offset = _entry("c_batch", row // slot("rows"))
    offset = offset + _entry("c_rows", row % slot("rows"))
    offset = inner.let("offset", offset + _entry("c_columns", at % slot("columns")))
    part = Get(Var("parts"), (Index(Var("part")) * slot("results") + at).expr, sums)
    more = Assign("total", Call("add", sums, sums, (Var("total"), part)))
    total: Any = Var("total")
    if result is not sums:
        total = Call("cast", result, sums, (total,))
    body = (
        *inner.body,
        Let("total", Number(0.0, sums)),
        For("part", Int(0), slot("count").expr, (more,)),
        Put(Var("c"), offset.expr, total, result),
    )
    body = (*names.body, When((at < slot("results")).expr, body))
    name = "_".join(dict.fromkeys(("sum_parts", sums.name, result.name)))
    kinds = ("ptr",) * len(POINTERS) + ("int",) * len(NUMBERS)
    return GridKernel(name, "the sum of a product's parts", body, BLOCK, kinds=kinds)


def slot(name: str) -> Index:
    """An extent among the arguments."""
    return Index(Slot(SLOT[name]))


def _entry(table: str, index: Index) -> Index:
    return Index(Get(Var(table), index.expr, dtypes.int32))
