"""From a region with a product to the calls that compute it: a tile, its tables, its parts.

calls = lower_contraction(region)
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.regions import Region

from ...contract.layout import Dim
from ...contract.plan import Operand
from ...contract_build import Product, product_of
from ..call import GridCall
from ..gridir import VECTOR_BYTES
from .library import LibraryCall, library_call
from .maps import Maps, access, maps_of, padded, vector_of
from .parts import sum_parts
from .template import SLOTS, Form, product_kernel
from .tiles import Choice, choose

SUMS = {  # dtype of the operands -> dtype of the sums
    "float16": dtypes.float32,
    "bfloat16": dtypes.float32,
    "float32": dtypes.float32,
    "float64": dtypes.float64,
}
FLOPS_A_NS = 5.0  # of one core that emulates the kernel
ALIGNMENT = 64  # of scratch

Slots = tuple[tuple[Any, ...], ...]


def lower_contraction(
    region: Region, fixed: Container[Node] = ()
) -> tuple[GridCall | LibraryCall, ...]:
    """Calls of a contraction; NotImplementedError for dtypes without kernels.

    ``fixed`` values stay the same while the region runs many times; nothing here is packed before,
    so they are read as all others are.
    """
    product = product_of(region)
    dot = product.dot
    sums = SUMS.get(dot.dtype.name)
    if sums is None:
        raise NotImplementedError(f"a product of {dot.dtype.name} on CUDA")
    if not dot.size:
        return ()
    maps = maps_of(dot.dtype.name, *zipped_dims(product.operands))
    library = library_call(product, maps)
    return (library,) if library is not None else _tiled(product, maps, sums)


def zipped_dims(operands: tuple[Operand, Operand, Operand]) -> list[list[Dim]]:
    """Batch, rows, columns and steps as (extent, stride in each operand that has them)."""
    a, b, c = operands
    groups = [
        (a.batch, b.batch, c.batch),
        (a.rows, c.rows),
        (b.columns, c.columns),
        (a.columns, b.rows),
    ]
    return [
        [(dims[0][0], *(stride for _, stride in dims)) for dims in zip(*group, strict=True)]
        for group in groups
    ]


def _tiled(product: Product, maps: Maps, sums: DType) -> tuple[GridCall, ...]:
    """The product by our own kernel, and the sum of its parts where k is cut."""
    sizes, dtype = maps.sizes, product.dot.dtype
    results = sizes.results
    if not sizes.steps:
        return (sum_parts(product, maps, sums, 0),)
    choice = choose(sums.itemsize, sizes)
    whole = choice.splits == 1
    form = _form(product, maps, sums, dtype if whole else sums, choice)
    slots = _slots(product, maps, form, choice)
    tiles = choice.grid(sizes)
    call = GridCall(
        form.name,
        product_kernel(form),
        slots,
        tiles[0] * tiles[1] * sizes.batch * choice.splits,
        0 if whole else -(-results * choice.splits * sums.itemsize // ALIGNMENT) * ALIGNMENT,
        2 * results * sizes.steps / FLOPS_A_NS,
    )
    return (call,) if whole else (call, sum_parts(product, maps, sums, choice.splits))


def _form(product: Product, maps: Maps, sums: DType, result: DType, choice: Choice) -> Form:
    """The accesses that the tables and offsets of the operands allow."""
    tile, lanes = choice.tile, 16 // sums.itemsize
    views = {"A": product.a, "B": product.b}
    walks = []
    for side, name, extent in zip("AB", maps.problem.names, (tile.rows, tile.columns), strict=True):
        view = views[name]
        most = lanes if _stays_aligned(view.base) else 1
        walk = access(maps.tables[side], view.offset, most)
        walks.append(walk.fitting(extent * tile.steps // tile.threads))
    most = lanes if choice.splits > 1 or _stays_aligned(product.target) else 1
    a, b = walks
    store = vector_of(_result_tables(maps, choice), most)
    return Form(product.dot.dtype, sums, result, tile, a, b, store)


def _stays_aligned(x: Node) -> bool:
    """Whether all of several such values in a row, as a loop writes them, begin with a vector."""
    return x.nbytes % VECTOR_BYTES == 0


def _result_tables(maps: Maps, choice: Choice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where rows and columns are written to: in C, or in a part, row after row."""
    if choice.splits == 1:
        return maps.tables["C"]
    sizes = maps.sizes
    rows, columns = np.arange(sizes.rows, dtype=np.int32), np.arange(sizes.columns, dtype=np.int32)
    batch = np.arange(sizes.batch, dtype=np.int32) * np.int32(sizes.rows * sizes.columns)
    return batch, rows * np.int32(sizes.columns), columns


def _slots(product: Product, maps: Maps, form: Form, choice: Choice) -> Slots:
    sizes, tile, tables = maps.sizes, form.tile, maps.tables
    pointers = {
        "A": ("ptr", product.a.base, product.a.offset * form.operands.itemsize),
        "B": ("ptr", product.b.base, product.b.offset * form.operands.itemsize),
    }
    whole = choice.splits == 1
    c_batch, c_rows, c_columns = _result_tables(maps, choice)
    row_tiles, column_tiles = choice.grid(sizes)
    a, b = form.a, form.b
    first, second = maps.problem.names
    values: dict[str, tuple[Any, ...]] = {
        "a": pointers[first],
        "b": pointers[second],
        "c": ("ptr", product.target, 0) if whole else ("scratch", 0),
        "a_batch": ("table", tables["A"][0]),
        "b_batch": ("table", tables["B"][0]),
        "c_batch": ("table", c_batch),
        "a_rows": ("table", padded(tables["A"][1], a.lanes("m"), tile.rows)),
        "b_columns": ("table", padded(tables["B"][1], b.lanes("m"), tile.columns)),
        "a_steps": ("table", padded(tables["A"][2], a.lanes("k"), tile.steps)),
        "b_steps": ("table", padded(tables["B"][2], b.lanes("k"), tile.steps)),
        "c_rows": ("table", padded(c_rows, 1, tile.rows)),
        "c_columns": ("table", padded(c_columns, form.store, tile.columns)),
        "rows": ("int", sizes.rows),
        "columns": ("int", sizes.columns),
        "steps": ("int", sizes.steps),
        "split": ("int", choice.split),
        "splits": ("int", choice.splits),
        "row_tiles": ("int", row_tiles),
        "column_tiles": ("int", column_tiles),
        "part": ("int", sizes.results),
    }
    return tuple(values[name] for name in SLOTS)
