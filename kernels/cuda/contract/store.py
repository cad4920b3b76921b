"""The end of a product's kernel: a thread's sums, through the epilogue, to memory."""

from __future__ import annotations

from typing import Any

from graphgrad import dtypes

from ...loopir import For, Get, Int, Let, Pointer, Put, Var
from ..gridir import Local, PutVector, When
from .index import Index, Names
from .place import SLOT, SLOTS, Form, Place, cast, entry, slot


def store(form: Form, place: Place) -> list[Any]:
    """Write the thread's numbers of the result, where there are such rows and columns."""
    tile, vector, numbers = form.tile, form.store, place.numbers
    names, inner = Names(), Names()
    base = entry("c_batches", place.batch) + place.part * slot("part")
    base = names.let("c_base", base)
    bases = _operand_bases(form, place, names)
    i, j = Index(Var("i")), Index(Var("j"))
    # All offsets first: the writes might change the tables, for all that the compiler knows.
    column = inner.let("c_column", place.column + numbers.column(j * vector))
    offset = (base + entry("c_columns", column // vector)).expr
    parts = tile.thread_columns // vector
    columns = (*inner.body, Put(Var("c_offsets"), j.expr, offset, dtypes.int32))
    row = Let("c_row", (place.row + numbers.row(i)).expr)
    start = Let("c_start", entry("c_rows", Index(Var("c_row"))).expr)
    at = Index(Var("c_start")) + entry("c_offsets", j)
    first = numbers.at(i, j * vector)
    sums = [cast_sum(form, (first + q).expr) for q in range(vector)]
    write = When((column < slot("columns")).expr, _writes(form, at, sums, bases, column))
    writes = For("j", Int(0), Int(parts), (*inner.body, write))
    rows = When((Index(Var("c_row")) < slot("rows")).expr, (start, *_operand_rows(bases), writes))
    return [
        *_pointers(form),
        *names.body,
        Local("c_offsets", dtypes.int32, parts),
        For("j", Int(0), Int(parts), columns),
        For("i", Int(0), Int(tile.thread_rows), (row, rows)),
    ]


def cast_sum(form: Form, at: Any) -> Any:
    """One of the thread's sums, in the product's own dtype."""
    dtype = form.epilogue.product if form.epilogue else form.result
    return cast(Get(Var("sums"), at, form.sums), form.sums, dtype)


def _pointers(form: Form) -> list[Any]:
    found: list[Any] = [
        Let("c_batches", Pointer(SLOT["c_batch"], dtypes.int32)),
        Let("c_rows", Pointer(SLOT["c_rows"], dtypes.int32)),
        Let("c_columns", Pointer(SLOT["c_columns"], dtypes.int32)),
    ]
    if form.epilogue is None:
        return [*found, Let("c_values", Pointer(SLOT["c"], form.result))]
    return found + form.epilogue.pointers(SLOT["c"], len(SLOTS))


def _operand_bases(form: Form, place: Place, names: Names) -> list[Index]:
    """Where the epilogue's operands begin for this block's product."""
    count = len(form.epilogue.operands) if form.epilogue else 0
    return [names.let(f"e{n}_base", entry(f"e{n}_batches", place.batch)) for n in range(count)]


def _operand_rows(bases: list[Index]) -> list[Any]:
    row = Index(Var("c_row"))
    return [
        Let(f"e{n}_row", (base + entry(f"e{n}_rows", row)).expr) for n, base in enumerate(bases)
    ]


def _writes(
    form: Form, at: Index, sums: list[Any], bases: list[Index], column: Index
) -> tuple[Any, ...]:
    """Compute and write neighbours of a row."""
    if form.epilogue is None:
        return (put("c_values", at, sums, form.result),)
    body: list[Any] = []
    results: list[list[Any]] = [[] for _ in form.epilogue.outputs]
    for q, total in enumerate(sums):
        offsets = [
            Index(Var(f"e{n}_row")) + entry(f"e{n}_columns", column + q) for n in range(len(bases))
        ]
        body += form.epilogue.statements(total, offsets, f"_{q}")
        for found, name in zip(results, form.epilogue.results(f"_{q}"), strict=True):
            found.append(name)
    for n, (numbers, dtype) in enumerate(zip(results, form.epilogue.outputs, strict=True)):
        body.append(put(f"c{n}_values", at, numbers, dtype))
    return tuple(body)


def put(pointer: str, at: Index, numbers: list[Any], dtype: Any) -> Any:
    """Write one number, or several in a row."""
    if len(numbers) == 1:
        return Put(Var(pointer), at.expr, numbers[0], dtype)
    return PutVector(Var(pointer), at.expr, tuple(numbers), dtype)
