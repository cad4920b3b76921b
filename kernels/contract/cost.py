"""Which form of a product is cheapest: a small model in processor cycles, and the choice it makes.

The model counts what the micro-kernels issue (two multiply-adds and two loads a cycle), the waste
of partial tiles, and packing. Its constants were measured on a 512-bit machine; only their ratios
matter. It is deterministic, so a plan depends on shapes, strides and the vector unit alone.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from itertools import product

from .host import host, most_chunks
from .layout import overlaps, project, run, size
from .problem import Choice, Form, Problem
from .ranking import ranked

# (rows, vectors of columns) and, for dot, (rows, columns), by number of vector registers
OUTER_TILES = {
    32: ((8, 3), (8, 2), (8, 1), (6, 4), (4, 6), (2, 6), (1, 8)),
    16: ((4, 2), (4, 1), (2, 4), (1, 8)),
}
DOT_TILES = {
    32: ((6, 4), (4, 4), (1, 8)),
    16: ((2, 4), (1, 8)),
}

BLOCK_STEPS = 600  # steps of k between two visits of a tile of C
DOT_BLOCK_STEPS = 96  # vectors of k: 10 rows of 6 KiB

TILE_CYCLES = 120  # call, addresses, filling and draining the pipeline
STORE_CYCLES = 1.5  # one vector of C
SCATTER_CYCLES = 3  # one number of C
DOT_STORE_CYCLES = 8  # adding up the lanes of one accumulator and storing it
STRETCH_CYCLES = 4  # one stretch of the copying packer
TRANSPOSE_CYCLES = 8  # one vector of the transposing packer
PACK_STEP_CYCLES = 10  # one step of k of the copying packer
SELDOM = 1 / 64  # of the cycles of packing once what many products read
UNALIGNED_LOADS = 1.6  # a vector load that may straddle two cache lines
FAR_CYCLES = 0.7  # a vector of B in place, read again from the second-level cache
IN_PLACE_CYCLES = 0.3  # tables and pointers of A in place
WINDOW_CYCLES = 0.5  # a vector of B in place where windows overlap: rows of an image are short
LINE_CYCLES = 4  # a cache line of A in place that is not the next one
LINE_VISITS = 4  # groups of columns that find it near again, where a row of A lies along few lines
FAR_LINE_CYCLES = 8  # a line read or written outside of the second-level cache

# What a form may cost more than the best one before LLVM is asked for another kernel: some 30 ms.
LITTLE_DEARER, LITTLE_CYCLES = 1.6, 150_000

LINE = 64  # bytes of a cache line
FAR_BYTES = 1 << 20  # of an operand that the second-level cache does not hold
NEAR_STRIDE = 256  # bytes from one step of k to the next that the first-level cache still likes
NEAR_STEPS = 64  # so few steps are near at any stride
LINE_STEPS = 128  # lines of one tile of A that surely stay in the first-level cache
FEWEST_ROWS = 128  # rows that must share a packed block of B
FEWEST_COLUMNS = 256  # columns that must share a packed block of A


@dataclass(frozen=True)
class _Facts:
    """Extents and runs of a Problem, worked out once for all its forms."""

    item: int
    lanes: int
    batch: int
    rows: int
    columns: int
    steps: int
    run_c: int  # along columns, in C
    run_b: int  # along columns, in B
    run_bc: int  # along columns, in both
    run_k: int  # along steps, in both A and B
    run_bk: int  # along steps, in B
    run_a: int  # along rows, in A
    run_ak: int  # along steps, in A
    overlap_a: bool  # A is read through windows: packed whole it would be far larger than it is
    overlap_b: bool
    a_stride: int  # of the innermost step, in A
    a_inner: int  # steps at that stride
    b_stride: int  # of the innermost step, in B

    @classmethod
    def of(cls, problem: Problem) -> _Facts:
        item = problem.item
        _, a_stride, b_stride = problem.steps[-1] if problem.steps else (1, 0, 0)
        walk_a = project(problem.steps, 0)
        return cls(
            item=item,
            lanes=problem.lanes,
            batch=size(problem.batch),
            rows=size(problem.rows),
            columns=size(problem.columns),
            steps=size(problem.steps),
            run_c=run(project(problem.columns, 1), item),
            run_b=run(project(problem.columns, 0), item),
            run_bc=run(problem.columns, item),
            run_k=run(problem.steps, item),
            run_bk=run(project(problem.steps, 1), item),
            run_a=run(project(problem.rows, 0), item),
            run_ak=run(walk_a, item),
            overlap_a=overlaps(project(problem.rows, 0) + walk_a, item),
            overlap_b=overlaps(project(problem.columns, 0) + project(problem.steps, 1), item),
            a_stride=abs(a_stride),
            a_inner=walk_a[-1][0] if walk_a else 1,
            b_stride=abs(b_stride),
        )

    def vectors(self, points: int, length: int) -> int:
        """Vectors needed for `points` in runs of `length`."""
        return points // length * -(-length // self.lanes)


def choose(
    problem: Problem,
    fixed: str = "",
    earlier: Choice | None = None,
    known: Collection[Hashable] = (),
) -> tuple[Problem, Choice]:
    """The cheaper orientation of the product and its cheapest form.

    Operands named in ``fixed`` are packed once for many products: whole, and almost for nothing.
    ``earlier`` is the choice at another size, ``known`` which kernels (`Form.kernels`) others
    chose: what exists is taken if it is hardly dearer.
    """
    orientations = (problem, problem.swapped())
    cycles = {
        Choice(bool(index), form): cycles
        for index, oriented in enumerate(orientations)
        for form, cycles in _forms(_Facts.of(oriented), oriented.sides(fixed))
    }
    best = min(cycles, key=cycles.__getitem__)
    if earlier is not None:
        limit = max(LITTLE_DEARER * cycles[best], cycles[best] + LITTLE_CYCLES)
        built = [c for c in cycles if c.form.kernels in known and cycles[c] <= limit]
        best = earlier if earlier in built else min(built, key=cycles.__getitem__, default=best)
    ranked(
        problem,
        lambda: ((f"{c.form}{', swapped' * c.swapped}", cost) for c, cost in cycles.items()),
        f"{best.form}{', swapped' * best.swapped}",
    )
    return orientations[best.swapped], best


def _forms(f: _Facts, fixed: str = "") -> Iterator[tuple[Form, float]]:
    registers = host().vector_registers
    contiguous = f.run_c > 1 or f.columns == 1
    tile = "outer" if contiguous else "scattered"
    for rows, vectors in OUTER_TILES[registers]:
        for pack_a, pack_b in product(_row_packers(f, rows), _packers(f)):
            shared = _shared(f, pack_a, pack_b, fixed)
            form = Form(tile, rows, vectors, pack_a, pack_b, shared)
            packing = _packing_cycles(f, form, fixed)
            yield form, f.batch * (_outer_cycles(f, form) + packing)
    if f.run_k > 1 or f.steps == 1:
        for rows, columns in DOT_TILES[registers]:
            if columns <= f.lanes:
                yield Form("dot", rows, columns), f.batch * _dot_cycles(f, rows, columns)


def _packers(f: _Facts) -> list[str]:
    """What can be done about B; '' first, so that it wins where all cost the same."""
    in_place = f.run_bc > 1 or f.columns == 1
    along_k = f.run_bk > 1 and (f.run_bk == f.steps or f.run_bk % f.lanes == 0)
    return [""] * in_place + ["copy"] + ["transpose"] * along_k


def _row_packers(f: _Facts, rows: int) -> list[str]:
    """What can be done about A, '' first; rows of a panel have to divide cache lines."""
    whole = rows <= f.lanes and rows & (rows - 1) == 0 and rows > 1
    along_k = f.run_ak > 1 and (f.run_ak == f.steps or f.run_ak % f.lanes == 0)
    return [""] + ["copy"] * whole + ["transpose"] * (whole and along_k)


def _shared(f: _Facts, pack_a: str, pack_b: str, fixed: str) -> str:
    """Which operands are packed whole, before: those that several macro-tiles would pack again,
    or several products. B is not, where columns alone are enough to share out."""
    again = f.rows > FEWEST_ROWS and f.columns < FEWEST_COLUMNS * most_chunks()
    share_a = pack_a and not f.overlap_a
    share_b = pack_b and not f.overlap_b and (again or "b" in fixed)
    return "a" * bool(share_a) + "b" * bool(share_b)


def _lines_of_a(f: _Facts, rows: int) -> float:
    """Cache lines that a step of a tile takes from A in place, where they do not follow each other.

    0 where A is read along lines, or its lines are so few that they stay near.
    """
    along = min(f.a_inner, max(1, LINE // max(f.a_stride, 1)))
    if f.steps <= LINE_STEPS or along * f.a_stride >= LINE > f.a_stride:
        return 0.0
    return (1 if f.run_a > 1 else rows) / along


def _slots(f: _Facts, form: Form) -> int:
    """Vectors of columns."""
    if form.tile == "scattered":
        return f.vectors(f.columns, f.columns)
    return f.vectors(f.columns, f.run_c if form.pack_b else f.run_bc)


def _outer_cycles(f: _Facts, form: Form) -> float:
    rows, vectors = form.rows, form.columns
    row_groups, column_groups = -(-f.rows // rows), -(-_slots(f, form) // vectors)
    loads = rows + 2 + vectors * (1 if form.pack_b else UNALIGNED_LOADS)
    step = max(rows * vectors / 2, loads / 2, 4)
    if f.steps > NEAR_STEPS and row_groups > 1 and not form.pack_b:
        jumps = f.b_stride > NEAR_STRIDE
        step += vectors * (FAR_CYCLES if jumps else WINDOW_CYCLES * f.overlap_b)
    if not form.pack_a:
        visits = min(column_groups, LINE_VISITS) if f.run_a == 1 else 1
        step += IN_PLACE_CYCLES + LINE_CYCLES * _lines_of_a(f, rows) / visits
    store = SCATTER_CYCLES * f.lanes if form.tile == "scattered" else STORE_CYCLES
    blocks = max(1, -(-f.steps // BLOCK_STEPS))
    tile = f.steps * step + blocks * (TILE_CYCLES + rows * vectors * store)
    return row_groups * column_groups * tile


def _packing_cycles(f: _Facts, form: Form, fixed: str) -> float:
    weights = {side: SELDOM if side in fixed and side in form.shared else 1 for side in "ab"}
    a, b = _row_packing_cycles(f, form), _column_packing_cycles(f, form)
    a += _far_cycles(f.rows * f.steps * f.item) * ("a" in form.shared)
    b += _far_cycles(f.steps * f.columns * f.item) * ("b" in form.shared)
    return weights["a"] * a + weights["b"] * b


def _far_cycles(nbytes: int) -> float:
    """What it costs that an operand packed whole is read, and its panels written, far away."""
    return 2 * FAR_LINE_CYCLES * nbytes / LINE if nbytes > FAR_BYTES else 0.0


def _row_packing_cycles(f: _Facts, form: Form) -> float:
    if form.pack_a == "copy":
        stretches = f.rows / min(f.run_a, form.rows)
        return f.steps * (stretches * STRETCH_CYCLES + PACK_STEP_CYCLES)
    if form.pack_a == "transpose":
        blocks = -(-f.rows // form.rows) * -(-f.steps // f.lanes)
        return blocks * (form.rows * TRANSPOSE_CYCLES + 20)
    return 0.0


def _column_packing_cycles(f: _Facts, form: Form) -> float:
    slots = _slots(f, form)
    if form.pack_b == "copy":
        stretches = max(slots, f.columns / f.run_b * -(-f.run_b // f.lanes))
        return f.steps * (stretches * STRETCH_CYCLES + PACK_STEP_CYCLES)
    if form.pack_b == "transpose":
        return slots * -(-f.steps // f.lanes) * (f.lanes * TRANSPOSE_CYCLES + 20)
    return 0.0


def _dot_cycles(f: _Facts, rows: int, columns: int) -> float:
    steps = f.vectors(f.steps, f.run_k)
    step = max(rows * columns / 2, (rows + columns) * UNALIGNED_LOADS / 2, 4) + 1
    visits = max(1, -(-steps // DOT_BLOCK_STEPS))
    tile = steps * step + visits * (TILE_CYCLES + rows * columns * DOT_STORE_CYCLES)
    return -(-f.rows // rows) * -(-f.columns // columns) * tile
