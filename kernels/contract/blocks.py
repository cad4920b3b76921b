"""How a product is cut up: blocks of k, macro-tiles, splits and chunks, from sizes alone.

What a number is the sum of, and in which order, never depends on how many cores there are: only
the number of macro-tiles does. Where there are too few of them to share out, a long sum is split
along k into partial products, which a second kernel adds up in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .cost import BLOCK_STEPS, DOT_BLOCK_STEPS, FEWEST_COLUMNS, FEWEST_ROWS
from .host import most_chunks
from .layout import project, run, size
from .problem import Form, Problem

CHUNK_FLOPS = 1 << 20  # 4 us of one core: a parallel launch is a third of that
MOST_CHUNKS = 32  # of macro-tiles, where there are more than cores need
SPLIT_CHUNKS = 8  # so many a sum is split for, on any machine

# Of a second-level cache of 1 MiB, half and a little is for the block of B that all rows of A meet;
# of A only the rows of one tile have to stay near, in the first level. 1024³ float32, one core:
# 9% less time than with a block of A in the second level and panels of B in turn.
A_BYTES = 512 << 10  # block of A of a macro-tile that packs it: 256 rows of 512 float32 steps
B_BYTES = 640 << 10  # block of B of a macro-tile: 256 columns of 600 float32 steps
FEWEST_GROUPS = 4  # groups of rows that must share a panel of B, where it is packed before
SPLIT_STEPS = 1024  # fewer numbers of k are not worth a split


@dataclass(frozen=True)
class Blocks:
    """What the macro-kernel loops over: rows and columns in groups of a tile, steps of the tile."""

    steps: int
    block: int  # steps between two visits of a tile
    split: int  # steps of one partial product
    splits: int
    row_groups: int
    row_block: int
    column_groups: int
    column_block: int
    chunks: int

    @property
    def tiles(self) -> int:
        """Macro-tiles of one batch and split."""
        return -(-self.row_groups // self.row_block) * -(-self.column_groups // self.column_block)


def blocks_of(problem: Problem, form: Form, reduced: int, flops: int) -> Blocks:
    """The block sizes of `flops` operations over `reduced` numbers of k."""
    rows, item = size(problem.rows), problem.item
    steps, target = _step_count(problem, form, reduced)
    block = _even(steps, target, problem.lanes)
    row_groups = -(-rows // form.rows)
    column_groups = -(-_column_count(problem, form) // form.columns)
    # as the square root of the work: every further chunk packs something again
    chunks = min(1 << (flops // CHUNK_FLOPS).bit_length() // 2, MOST_CHUNKS)
    wanted = -(-min(chunks, SPLIT_CHUNKS) // size(problem.batch))
    tiles = -(-rows // FEWEST_ROWS) * -(-size(problem.columns) // FEWEST_COLUMNS)
    splits = max(1, min(-(-wanted // tiles), reduced // SPLIT_STEPS))
    split = -(-max(steps, 1) // (splits * block)) * block
    splits = max(1, -(-steps // split))

    row_block = row_groups
    if form.packs("a"):
        row_block = _even(row_groups, max(1, A_BYTES // (block * form.rows * item)))
    most = B_BYTES // (block * panel_row(problem, form))
    column_block = _even(column_groups, max(1, most))
    sizes = Blocks(
        steps, block, split, splits, row_groups, row_block, column_groups, column_block, chunks
    )
    wanted = -(-min(chunks, most_chunks()) // size(problem.batch))
    return _shrunk(sizes, problem, form, -(-wanted // splits))


def _shrunk(sizes: Blocks, problem: Problem, form: Form, wanted: int) -> Blocks:
    """Halve the macro-tile until there are `wanted` of them.

    Narrow ones read A again, which costs nothing while it stays in the second-level cache; low ones
    pack B again, or move it again into that cache.
    """
    width = form.columns * (1 if form.tile == "dot" else problem.lanes)
    packs_a, packs_b = form.packs("a"), form.packs("b")
    fewest_rows = FEWEST_GROUPS if "b" in form.shared else 1
    if packs_b:
        fewest_rows = -(-FEWEST_ROWS // form.rows)
    fewest_columns = -(-FEWEST_COLUMNS // width) if packs_a else 1
    small = size(problem.rows) * size(problem.steps) * problem.item <= A_BYTES
    while sizes.tiles < wanted:
        rows, columns = sizes.row_block, sizes.column_block
        low, narrow = rows <= fewest_rows, columns <= fewest_columns
        if low and narrow:
            break
        wide = columns * width >= (2 * FEWEST_COLUMNS if packs_b else rows * form.rows)
        if low or ((small or wide) and not narrow):
            sizes = replace(sizes, column_block=max(fewest_columns, -(-columns // 2)))
        else:
            sizes = replace(sizes, row_block=max(fewest_rows, -(-rows // 2)))
    return sizes


def _even(count: int, most: int, multiple: int = 1) -> int:
    """The size, a multiple of `multiple`, that cuts `count` into equal parts of about `most`."""
    parts = max(1, -(-count // most))
    return max(1, -(-count // (parts * multiple))) * multiple


def _step_count(problem: Problem, form: Form, reduced: int) -> tuple[int, int]:
    """Steps of the tile and how many of them make a block."""
    if form.tile != "dot":
        return reduced, BLOCK_STEPS
    length = run(problem.steps, problem.item)
    return reduced // length * -(-length // problem.lanes), DOT_BLOCK_STEPS


def column_walk(problem: Problem, form: Form):
    """The walk whose runs become vectors of columns: in C for packed B, else in B and C both."""
    return project(problem.columns, 1) if form.pack_b else problem.columns


def _column_count(problem: Problem, form: Form) -> int:
    """Columns of the tiles: single ones for dot, else vectors."""
    count = size(problem.columns)
    if form.tile == "dot":
        return count
    length = count if form.tile == "scattered" else run(column_walk(problem, form), problem.item)
    return count // length * -(-length // problem.lanes)


def panel_row(problem: Problem, form: Form) -> int:
    """Bytes of the columns of one group at one step of k."""
    return form.columns * problem.lanes * problem.item
