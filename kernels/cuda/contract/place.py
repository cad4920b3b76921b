"""Where threads are in a product: the arguments of its kernels, a block's tile, a thread's numbers.

Of a warp, lanes are 4 groups of rows by 8 of columns where numbers are summed one by one, and 8
rows by 4 pairs of columns where tensor cores do (the layout of ``mma.m16n8k16``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from ...loopir import Call, Get, Slot, Var
from ..gridir import Block, Thread
from .epilogue import Epilogue
from .index import Index, Names
from .maps import Access
from .tiles import Tile

POINTERS = "a b c a_batch b_batch c_batch a_rows b_columns a_steps b_steps c_rows c_columns".split()
NUMBERS = "rows columns steps split splits row_tiles column_tiles part".split()
SLOTS = POINTERS + NUMBERS
# a_batch … c_columns    tables of element offsets; one entry a vector where a side moves by vectors
# split, splits          steps of one part of k (whole k-tiles), and the parts
# part                   elements between two parts' results
SLOT = {name: number for number, name in enumerate(SLOTS)}

BAND = 8  # tiles of rows that share columns while both lie in level 2


@dataclass(frozen=True)
class Form:
    """What makes one kernel another: dtypes of operands, sums and result, tile, accesses."""

    operands: DType
    sums: DType
    result: DType
    tile: Tile
    a: Access
    b: Access
    store: int  # numbers of a row of the result written at once
    epilogue: Epilogue | None = None

    @property
    def name(self) -> str:
        """``product_float32_128x128x8_k4_m4_4``, and what the epilogue does."""
        types = dict.fromkeys((self.operands.name, self.sums.name, self.result.name))
        parts = (*types, self.tile.name, self.a.name, self.b.name, self.store)
        words = ("product", *parts, *([self.epilogue.name] if self.epilogue else []))
        return "_".join(map(str, words))

    @property
    def lanes(self) -> int:
        """Numbers in a vector of shared memory."""
        return 16 // self.sums.itemsize


def slot(name: str) -> Index:
    """An extent among the arguments."""
    return Index(Slot(SLOT[name]))


def entry(table: str, index: Index) -> Index:
    """An offset from a table."""
    return Index(Get(Var(table), index.expr, dtypes.int32))


def cast(number: Any, source: DType, dtype: DType) -> Any:
    """A number as another dtype."""
    return number if source is dtype else Call("cast", dtype, source, (number,))


class Place:
    """Where a block and a thread are: which product, part of k, rows and columns."""

    def __init__(self, form: Form) -> None:
        tile, names = form.tile, Names()
        self.thread = thread = Index(Thread())
        block = Index(Block())
        tiles = names.let("tiles", slot("row_tiles") * slot("column_tiles"))
        product = names.let("product", block // tiles)
        self.part = names.let("part", product % slot("splits"))
        self.batch = names.let("batch", product // slot("splits"))
        band = names.let("band", slot("column_tiles") * BAND)
        inside = names.let("inside", block % tiles)
        first = names.let("first", inside // band * BAND)
        height = names.let("height", (slot("row_tiles") - first).at_most(BAND))
        inside = names.let("within", inside % band)
        self.row = names.let("row", (first + inside % height) * tile.rows)
        self.column = names.let("column", inside // height * tile.columns)
        self.first_step = names.let("first_step", self.part * slot("split"))
        last = (self.first_step + slot("split")).at_most(slot("steps"))
        self.count = names.let("count", (last - self.first_step + (tile.steps - 1)) // tile.steps)
        self.lane, self.warp = names.let("lane", thread % 32), names.let("warp", thread // 32)
        self.numbers = (TensorNumbers if tile.tensor else Numbers)(form, self, names)
        self.body = names.body


class Numbers:
    """Which numbers of its block's tile a thread sums: vectors, spread evenly over the tile."""

    def __init__(self, form: Form, place: Place, names: Names) -> None:
        self.tile, self.lanes = form.tile, form.lanes
        across = self.tile.columns // self.tile.thread_columns // 8
        group = names.let("row_group", place.warp // across * 4 + place.lane // 8)
        self.thread_row = names.let("thread_row", group * self.lanes)
        group = names.let("column_group", place.warp % across * 8 + place.lane % 8)
        self.thread_column = names.let("thread_column", group * self.lanes)

    def row(self, i: Index) -> Index:
        """The row of the thread's ``i``-th row of numbers, in the tile."""
        return self.thread_row + self._spread(i, self.tile.rows, self.tile.thread_rows)

    def column(self, j: Index) -> Index:
        """The column of the thread's ``j``-th column of numbers."""
        return self.thread_column + self._spread(j, self.tile.columns, self.tile.thread_columns)

    def at(self, i: Index, j: Index) -> Index:
        """Where number (i, j) is among the thread's sums; neighbours in a vector follow."""
        return i * self.tile.thread_columns + j

    def _spread(self, i: Index, extent: int, own: int) -> Index:
        return i // self.lanes * (extent * self.lanes // own) + i % self.lanes


class TensorNumbers:
    """The same for tensor cores: of every 16 rows by 8 columns, two rows and two columns."""

    def __init__(self, form: Form, place: Place, names: Names) -> None:
        tile = self.tile = form.tile
        across = tile.columns // (tile.thread_columns * 4)
        self.warp_row = names.let("warp_row", place.warp // across * (tile.thread_rows * 8))
        self.warp_column = names.let("warp_column", place.warp % across * (tile.thread_columns * 4))
        self.thread_row = names.let("thread_row", self.warp_row + place.lane // 4)
        self.thread_column = names.let("thread_column", self.warp_column + place.lane % 4 * 2)

    def row(self, i: Index) -> Index:
        """The row of the thread's ``i``-th row of numbers, in the tile."""
        return self.thread_row + i // 2 * 16 + i % 2 * 8

    def column(self, j: Index) -> Index:
        """The column of the thread's ``j``-th column of numbers."""
        return self.thread_column + j // 2 * 8 + j % 2

    def at(self, i: Index, j: Index) -> Index:
        """Where number (i, j) is among the thread's sums; of pairs the second follows."""
        tiles = i // 2 * (self.tile.thread_columns // 2) + j // 2
        return tiles * 4 + i % 2 * 2 + j % 2
