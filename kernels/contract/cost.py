"""Which form of the product is cheapest: a small model in processor cycles, and the choice it makes.

The model counts what the micro-kernels issue (two multiply-adds and two loads a cycle), the waste of partial tiles, and
packing. Its constants were measured on a 512-bit machine; only their ratios matter. It is deterministic, so a plan
depends on shapes and strides alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .host import ITEM_BYTES, host
from .layout import Dim, merged, project, run, size

# rows x vectors of columns (rows x columns for dot) by number of vector registers; see micro.py for the arithmetic
OUTER_TILES = {
    32: ((8, 3), (8, 2), (8, 1), (6, 4), (4, 6), (2, 6), (1, 8)),
    16: ((4, 2), (4, 1), (2, 4), (1, 8)),
}
DOT_TILES = {32: ((6, 4), (4, 4), (1, 8)), 16: ((2, 4), (1, 8))}

BLOCK_STEPS = 384  # steps of k between two visits of a tile of C
DOT_BLOCK_STEPS = 96  # vectors of k: 10 rows of 6 KiB
TILE_CYCLES = 30  # call, addresses
STORE_CYCLES = 1.5  # one vector of C
SCATTER_CYCLES = 3  # one number of C
DOT_STORE_CYCLES = 8  # adding up the lanes of one accumulator and storing it
STRETCH_CYCLES = 4  # one stretch of the copying packer
TRANSPOSE_CYCLES = 6  # one vector of the transposing packer
UNALIGNED_LOADS = 1.6  # a vector load that may straddle two cache lines
FAR_CYCLES = 0.7  # a vector of B in place, re-read from the second-level cache
LINE_CYCLES = 1.5  # a number of A in place on a cache line of its own
NEAR_STRIDE = 256  # bytes from one step of k to the next that the first-level cache still likes
FIRST_LEVEL = 16 << 10  # bytes of one operand that surely stay in it


@dataclass(frozen=True)
class Problem:
    """One orientation of the product: merged walks with strides in bytes; `names` are the operands read as A and B."""

    dtype: str
    batch: list[Dim]  # extent, A, B, C
    rows: list[Dim]  # extent, A, C
    columns: list[Dim]  # extent, B, C
    steps: list[Dim]  # extent, A, B
    names: tuple[str, str] = ("A", "B")

    @property
    def item(self) -> int:
        return ITEM_BYTES[self.dtype]

    @property
    def lanes(self) -> int:
        return host().lanes(self.dtype)

    def swapped(self) -> Problem:
        """The transposed product: C' = B' A'."""
        batch = [(extent, b, a, c) for extent, a, b, c in self.batch]
        steps = [(extent, b, a) for extent, a, b in self.steps]
        names = (self.names[1], self.names[0])
        return Problem(self.dtype, batch, self.columns, self.rows, steps, names)


@dataclass(frozen=True)
class Form:
    """How one orientation is computed; packers are '' (read in place), 'copy' or 'transpose'."""

    tile: str  # outer | scattered | dot
    rows: int
    columns: int  # of a tile: vectors, or single columns for dot
    pack_a: str = ""
    pack_b: str = ""


@dataclass(frozen=True)
class _Facts:
    """Extents and runs of a Problem, worked out once for all its forms."""

    batch: int
    rows: int
    columns: int
    steps: int
    lanes: int
    item: int
    run_c: int  # along columns, in C
    run_b: int  # along columns, in B alone
    run_bc: int  # along columns, in both
    run_k: int  # along steps, in both A and B
    run_bk: int  # along steps, in B alone
    a_stride: int  # of the innermost step, in A
    b_stride: int  # of the innermost step, in B
    a_run: int  # along rows, in A

    @classmethod
    def of(cls, problem: Problem) -> _Facts:
        item, inner = problem.item, (problem.steps or [(1, 0, 0)])[-1]
        return cls(
            *(size(dims) for dims in (problem.batch, problem.rows, problem.columns, problem.steps)),
            problem.lanes,
            item,
            run(project(problem.columns, 1), item),
            run(project(problem.columns, 0), item),
            run(problem.columns, item),
            run(problem.steps, item),
            run(project(problem.steps, 1), item),
            abs(inner[1]),
            abs(inner[2]),
            run(project(problem.rows, 0), item),
        )  # fmt: skip

    def vectors(self, points: int, length: int) -> int:
        """Vectors needed for `points` in runs of `length`."""
        return points // length * -(-length // self.lanes)


def choose(problem: Problem) -> tuple[Problem, Form]:
    """The cheaper orientation of the product and its cheapest form."""
    candidates = [
        (cost, index, oriented, form)
        for index, oriented in enumerate((problem, problem.swapped()))
        for cost, form in _forms(_Facts.of(oriented))
    ]
    _, _, oriented, form = min(candidates, key=lambda candidate: candidate[:2])
    return oriented, form


def _forms(f: _Facts) -> Iterator[tuple[float, Form]]:
    registers = host().vector_registers
    packers = ["copy"]
    if f.run_bc > 1 or f.columns == 1:
        packers.append("")
    if f.run_bk > 1 and (f.run_bk == f.steps or f.run_bk % f.lanes == 0):
        packers.append("transpose")
    contiguous = f.run_c > 1 or f.columns == 1
    for rows, vectors in OUTER_TILES[registers]:
        for pack_b in packers if contiguous else [p for p in packers if p]:
            form = Form("outer" if contiguous else "scattered", rows, vectors, pack_b=pack_b)
            yield _outer_cycles(f, form)
    if f.run_k > 1 or f.steps == 1:
        for rows, columns in DOT_TILES[registers]:
            if columns <= f.lanes:
                yield _dot_cycles(f, rows, columns), Form("dot", rows, columns)


def _outer_cycles(f: _Facts, form: Form) -> tuple[float, Form]:
    rows, vectors = form.rows, form.columns
    length = f.columns if form.tile == "scattered" else f.run_c if form.pack_b else f.run_bc
    slots = f.vectors(f.columns, length)
    row_groups, column_groups = -(-f.rows // rows), -(-slots // vectors)

    loads = rows + 2 + vectors * (1 if form.pack_b else UNALIGNED_LOADS)
    step = max(rows * vectors / 2, loads / 2, 4)
    if not form.pack_b and row_groups > 1 and f.b_stride > NEAR_STRIDE and f.steps > 64:
        step += vectors * FAR_CYCLES
    # A whose steps are lines apart is packed when its lines would not stay in the first-level cache
    lines = f.a_stride >= 64 and f.steps * 64 > FIRST_LEVEL // 2
    whole = rows <= f.lanes and rows & (rows - 1) == 0  # panel rows that divide cache lines
    pack_a = lines and whole and f.columns >= 4 * vectors * f.lanes
    if lines and not pack_a:
        step += LINE_CYCLES * (1 if f.a_run > 1 else rows)

    store = (
        rows * vectors * (SCATTER_CYCLES * f.lanes if form.tile == "scattered" else STORE_CYCLES)
    )
    blocks = max(1, -(-f.steps // BLOCK_STEPS))
    tile = f.steps * step + blocks * (TILE_CYCLES + store)
    cycles = row_groups * column_groups * tile + _packing_cycles(f, form.pack_b, length, slots)
    if pack_a:
        form = replace(form, pack_a="copy")
        pieces = f.rows / min(f.a_run, rows)
        cycles += pieces * f.steps * STRETCH_CYCLES * max(1, f.columns // 1024)
    return f.batch * cycles, form


def _packing_cycles(f: _Facts, packer: str, length: int, slots: int) -> float:
    if packer == "copy":
        piece = min(f.run_b, f.lanes)
        pieces = max(slots, f.columns / f.run_b * -(-f.run_b // piece))
        return f.steps * (pieces * STRETCH_CYCLES + 10)
    if packer == "transpose":
        return slots * -(-f.steps // f.lanes) * (f.lanes * TRANSPOSE_CYCLES + 20)
    return 0.0


def _dot_cycles(f: _Facts, rows: int, columns: int) -> float:
    steps = f.vectors(f.steps, f.run_k)
    step = max(rows * columns / 2, (rows + columns) * UNALIGNED_LOADS / 2, 4) + 1
    blocks = max(1, -(-steps // DOT_BLOCK_STEPS))
    tile = steps * step + blocks * (TILE_CYCLES + rows * columns * DOT_STORE_CYCLES)
    return f.batch * -(-f.rows // rows) * -(-f.columns // columns) * tile


def oriented_problem(dtype: str, batch, rows, columns, steps) -> Problem:
    """Normal form of a product: dimensions of the batch that one operand ignores become rows or columns of the other,
    so what is shared is packed once; each walk goes from large strides to small ones, and is merged."""
    shared_a = [(extent, b, c) for extent, a, b, c in batch if a == 0]
    shared_b = [(extent, a, c) for extent, a, b, c in batch if b == 0 and a != 0]
    batch = [dim for dim in batch if dim[1] and dim[2]]
    return Problem(
        dtype,
        merged(batch),
        _sorted(shared_b + list(rows), lambda dim: abs(dim[2])),
        _sorted(shared_a + list(columns), lambda dim: abs(dim[2])),
        _sorted(list(steps), lambda dim: abs(dim[1]) + abs(dim[2])),
    )


def _sorted(dims: list[Dim], stride) -> list[Dim]:
    return merged(sorted(merged(dims), key=stride, reverse=True))
