"""From a region with a product to the calls that compute it: a tile, its tables, its parts.

calls = lower_contraction(region)
accepts(region)                     # whether there are such calls: asked before regions join
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.config import config
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.regions import Region

from ...contract.layout import Dim
from ...contract.plan import Operand
from ...contract_build import Product, product_of
from ..call import GridCall
from ..gridir import VECTOR_BYTES
from .epilogue import Fused, chain_of, fused_of
from .library import LibraryCall, library_call, scattered_call
from .maps import ALONG_OUTER, ALONG_STEPS, Access, Maps, Tables, access, maps_of, padded, vector_of
from .parts import sum_parts
from .place import SLOTS, Form
from .scattered import is_scattered
from .template import product_kernel
from .tiles import Choice, Tile, choose

SUMS = {  # dtype of the operands -> dtype of the sums
    "float16": dtypes.float32,
    "bfloat16": dtypes.float32,
    "float32": dtypes.float32,
    "float64": dtypes.float64,
}
FLOPS_A_NS = 5.0  # of one core that emulates the kernel
ALIGNMENT = 64  # of scratch

Slots = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Work:
    """A region's product: its operands, what follows it, its tables, the dtype of its sums."""

    product: Product
    fused: Fused | None
    maps: Maps
    sums: DType

    @property
    def item(self) -> int:
        """Bytes of the numbers that are multiplied: 2 on tensor cores."""
        dtype = self.product.dot.dtype
        on_tensor_cores = dtype.itemsize == 2 and config.cuda_tensor_cores
        return dtype.itemsize if on_tensor_cores else self.sums.itemsize

    @property
    def targets(self) -> tuple[Node, ...]:
        """The values that are written."""
        return self.fused.targets if self.fused else (self.product.target,)

    def fused_slots(self) -> Slots:
        """The slots of the epilogue: outputs but the first, then values and tables of operands."""
        if self.fused is None:
            return ()
        slots: list[tuple[Any, ...]] = [("ptr", y, 0) for y in self.targets[1:]]
        for n, read in enumerate(self.fused.reads):
            slots.append(("ptr", read.base, read.offset * read.base.dtype.itemsize))
            slots += [("table", table) for table in self.maps.tables[n]]
        return tuple(slots)


def lower_contraction(
    region: Region, fixed: Container[Node] = ()
) -> tuple[GridCall | LibraryCall, ...]:
    """Calls of a contraction; NotImplementedError for dtypes without kernels.

    ``fixed`` values stay the same while the region runs many times; nothing here is packed before,
    so they are read as all others are.
    """
    (dot,) = (x for x in region.nodes if x.op.name == "dot_general")
    if not dot.size:
        return ()
    if is_scattered(region):
        call = scattered_call(region)
        if call is None:
            raise NotImplementedError("a product whose windows are summed, without cuDNN")
        return (call,)
    work = _work(region, dot)
    library = library_call(work.product, work.maps, work.fused)
    return (library,) if library is not None else _tiled(work)


def accepts(region: Region) -> bool:
    """Whether one kernel computes a product and what follows it; where a library computes the
    product, whether it does the rest too."""
    (dot,) = (x for x in region.nodes if x.op.name == "dot_general")
    if not dot.size:
        return False
    if is_scattered(region):
        return scattered_call(region) is not None
    try:
        work = _work(region, dot)
    except NotImplementedError:
        return False
    with_rest = library_call(work.product, work.maps, work.fused)
    return with_rest is not None or library_call(work.product, work.maps) is None


def _work(region: Region, dot: Node) -> Work:
    sums = SUMS.get(dot.dtype.name)
    if sums is None:
        raise NotImplementedError(f"a product of {dot.dtype.name} on CUDA")
    product = product_of(region, chain_of(dot, region.nodes)[-1])
    fused = fused_of(region, dot)
    strides = [read.strides for read in fused.reads] if fused else []
    maps = maps_of(dot.dtype.name, zipped_dims(product.operands, strides), len(strides))
    return Work(product, fused, maps, sums)


def zipped_dims(
    operands: tuple[Operand, Operand, Operand], extras: list[tuple[int, ...]] | None = None
) -> list[list[Dim]]:
    """Batch, rows, columns and steps as (extent, stride in each operand that has them).

    ``extras``: strides by the product's axes of what an epilogue reads.
    """
    a, b, c = operands
    groups = [(a.batch, b.batch, c.batch), (a.rows, c.rows), (b.columns, c.columns)]
    found: list[list[Dim]] = []
    axis = 0
    for group in groups:
        dims = []
        for parts in zip(*group, strict=True):
            more = (strides[axis] for strides in extras or ())
            dims.append((parts[0][0], *(stride for _, stride in parts), *more))
            axis += 1
        found.append(dims)
    steps = [(n, s, t) for (n, s), (_, t) in zip(a.columns, b.rows, strict=True)]
    return [*found, steps]


def _tiled(work: Work) -> tuple[GridCall, ...]:
    """The product by our own kernel, and the sum of its parts where k is cut."""
    sizes, sums = work.maps.sizes, work.sums
    if not sizes.steps:
        return (sum_parts(work, 0),)
    choice = choose(work.item, sizes)
    whole = choice.splits == 1
    form = _form(work, choice)
    tiles = choice.grid(sizes)
    nbytes = sizes.results * choice.splits * sums.itemsize
    call = GridCall(
        form.name,
        product_kernel(form),
        _slots(work, form, choice),
        tiles[0] * tiles[1] * sizes.batch * choice.splits,
        0 if whole else -(-nbytes // ALIGNMENT) * ALIGNMENT,
        2 * sizes.results * sizes.steps / FLOPS_A_NS,
    )
    return (call,) if whole else (call, sum_parts(work, choice.splits))


def _form(work: Work, choice: Choice) -> Form:
    """The accesses that the tables and offsets of the operands allow."""
    tile, product, whole = choice.tile, work.product, choice.splits == 1
    lanes = VECTOR_BYTES // work.item
    views = {"A": product.a, "B": product.b}
    names, extents = work.maps.problem.names, (tile.rows, tile.columns)
    walks = []
    for side, name, extent in zip("AB", names, extents, strict=True):
        view = views[name]
        most = lanes if _stays_aligned(view.base) else 1
        walk = access(work.maps.tables[side], view.offset, most)
        walks.append(walk.fitting(extent * tile.steps // tile.threads))
    a, b = walks
    lanes = 2 if tile.tensor else lanes  # of what a thread has in a row
    most = lanes if not whole or all(map(_stays_aligned, work.targets)) else 1
    store = vector_of(_result_tables(work.maps, choice), most)
    epilogue = work.fused.epilogue if work.fused and whole else None
    result = product.dot.dtype if whole else work.sums
    return Form(product.dot.dtype, work.sums, result, tile, a, b, store, epilogue)


def _stays_aligned(x: Node) -> bool:
    """Whether all of several such values in a row, as a loop writes them, begin with a vector."""
    return x.nbytes % VECTOR_BYTES == 0


def _result_tables(maps: Maps, choice: Choice) -> Tables:
    """Where rows and columns are written to: in C, or in a part, row after row."""
    if choice.splits == 1:
        return maps.tables["C"]
    sizes = maps.sizes
    rows, columns = np.arange(sizes.rows, dtype=np.int32), np.arange(sizes.columns, dtype=np.int32)
    batch = np.arange(sizes.batch, dtype=np.int32) * np.int32(sizes.rows * sizes.columns)
    return batch, rows * np.int32(sizes.columns), columns


def _slots(work: Work, form: Form, choice: Choice) -> Slots:
    product, sizes, tile = work.product, work.maps.sizes, form.tile
    tables, (first, second) = work.maps.tables, work.maps.problem.names
    item, whole = form.operands.itemsize, choice.splits == 1
    pointers = {
        "A": ("ptr", product.a.base, product.a.offset * item),
        "B": ("ptr", product.b.base, product.b.offset * item),
    }
    c_batch, c_rows, c_columns = _result_tables(work.maps, choice)
    row_tiles, column_tiles = choice.grid(sizes)
    own = _padded(tables["A"], form.a, tile.rows, tile)
    others = _padded(tables["B"], form.b, tile.columns, tile)
    values: dict[str, tuple[Any, ...]] = {
        "a": pointers[first],
        "b": pointers[second],
        "c": ("ptr", work.targets[0], 0) if whole else ("scratch", 0),
        "a_batch": ("table", own[0]),
        "b_batch": ("table", others[0]),
        "c_batch": ("table", c_batch),
        "a_rows": ("table", own[1]),
        "b_columns": ("table", others[1]),
        "a_steps": ("table", own[2]),
        "b_steps": ("table", others[2]),
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
    slots = tuple(values[name] for name in SLOTS)
    return slots + (work.fused_slots() if form.epilogue else ())


def _padded(tables: Tables, walk: Access, extent: int, tile: Tile) -> Tables:
    """An operand's tables as its kernel reads them: in whole tiles, an entry a vector; tensor cores
    have vectors of 32-bit words."""
    batch, outer, steps = tables
    unit = 2 if tile.tensor and walk.vector > 1 else 1
    outer = padded(outer, walk.lanes(ALONG_OUTER), extent)
    steps = padded(steps, walk.lanes(ALONG_STEPS), tile.steps)
    return batch // unit, outer // unit, steps // unit
