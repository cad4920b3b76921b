"""Which tile computes a product, and in how many parts of k: estimated in cycles from sizes alone.

    choice = choose(dtype, Sizes(batch, rows, columns, steps))   # the cheapest of candidates(...)

A block of threads computes ``rows x columns`` of the result, ``steps`` of k at a time, from shared
memory; a thread holds ``thread_rows x thread_columns`` sums in registers.

The model. An SM has F = 128 float32 lanes (132 SMs: the card of `CARD`); a block's k-tile takes

    compute   rows * columns * steps / (F * share)       share: FMAs of all instructions issued
    move      (rows + columns) * steps * bytes / 40      40 bytes a cycle an SM from level 2
    latency   700                                        a load from memory, hidden only by work

cycles; ``share`` = tm tn / (tm tn + (tm + tn) / lanes + 2): loads of ``lanes`` numbers from shared
memory, two instructions of loop. Blocks resident on an SM add up their compute and move; so one
round of an SM takes max(compute, move, latency) of its residents per k-tile, there are
ceil(blocks / SMs / resident) rounds, each has a start and an end of two latencies, and a sum in
parts writes and reads its partial results (12 bytes a cycle an SM) and launches a second kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...contract.ranking import ranked

L2_BYTES = 40.0  # a cycle an SM
MEMORY_BYTES = 12.0
LATENCY = 700.0
LAUNCH = 4000.0  # of the kernel that adds up the parts
LOOP_INSTRUCTIONS = 2
MAX_SPLITS = 64
SPLIT_STEPS = 128  # a part of k is at least this long
REGISTERS, SHARED_BYTES, MAX_THREADS = 65536, 96 << 10, 2048  # of an SM


@dataclass(frozen=True)
class Card:
    """What the model knows of a card: its SMs, and multiply-adds a cycle of each, of float32
    and of 16-bit floats by mma.sync."""

    sms: int = 132
    lanes: int = 128
    tensor_lanes: int = 1024


CARD = Card()  # the same for every card: what a number is the sum of must not depend on it


@dataclass(frozen=True)
class Tile:
    """Numbers of C a block and a thread compute, steps of k in shared memory, registers a thread.

    Of each warp, lanes are 4 groups of rows by 8 groups of columns, a group a vector of shared
    memory: its reads of A are 4 different vectors and of B 8, one wavefront each.
    """

    rows: int
    columns: int
    steps: int
    thread_rows: int
    thread_columns: int
    registers: int
    tensor: bool = False  # tensor cores sum it

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // self.thread_rows * (self.columns // self.thread_columns)

    @property
    def unrolled(self) -> int:
        """Steps of k written out in the inner loop: as many as registers hold (tried: ptxas)."""
        return 2 if self.thread_rows * self.thread_columns >= 64 else 4

    @property
    def name(self) -> str:
        """For names of kernels: ``128x128x8``."""
        return f"{self.rows}x{self.columns}x{self.steps}"

    def share(self, lanes: int) -> float:
        """Multiply-adds of all instructions that the inner loop issues."""
        work = self.thread_rows * self.thread_columns
        reads = (self.thread_rows + self.thread_columns) / lanes
        return work / (work + reads + LOOP_INSTRUCTIONS)

    def resident(self, item: int) -> int:
        """Blocks that an SM holds at once, by registers, shared memory and threads."""
        words = self.steps * item // 4
        shared = 8 * (self.rows + self.columns + 8) * words
        if self.tensor:
            shared = 8 * (self.rows + self.columns) * (self.steps // 2 + 4)
        by_registers = REGISTERS // (self.registers * self.threads)
        return max(1, min(by_registers, SHARED_BYTES // shared, MAX_THREADS // self.threads))


TILES = {
    4: (
        Tile(128, 128, 8, 8, 8, 128),
        Tile(128, 64, 8, 8, 8, 128),
        Tile(64, 64, 16, 8, 4, 128),
        Tile(128, 32, 16, 8, 4, 128),
        Tile(16, 128, 16, 4, 4, 128),
        Tile(32, 32, 32, 4, 4, 152),
    ),
    2: (
        Tile(128, 128, 32, 8, 8, 128, tensor=True),
        Tile(64, 64, 32, 4, 8, 128, tensor=True),
    ),
    8: (
        Tile(64, 64, 8, 4, 4, 128),
        Tile(32, 32, 16, 4, 2, 96),
    ),
}


@dataclass(frozen=True)
class Sizes:
    """Extents of a product."""

    batch: int
    rows: int
    columns: int
    steps: int

    def __str__(self) -> str:
        return f"{self.batch}x {self.rows}x{self.columns}x{self.steps}"

    @property
    def results(self) -> int:
        """Numbers of the result."""
        return self.batch * self.rows * self.columns


@dataclass(frozen=True)
class Choice:
    """A tile, the parts k is cut into, the steps of a part (whole k-tiles), and the estimate."""

    tile: Tile
    splits: int
    split: int
    cycles: float

    def __str__(self) -> str:
        return f"{self.tile.name}{f', k in {self.splits} parts' * (self.splits > 1)}"

    def grid(self, sizes: Sizes) -> tuple[int, int]:
        """Blocks along rows and along columns of one product."""
        return -(-sizes.rows // self.tile.rows), -(-sizes.columns // self.tile.columns)


def choose(item: int, sizes: Sizes, card: Card = CARD) -> Choice:
    """The cheapest candidate; the first of equals. ``item``: bytes of a number that is multiplied,
    2 where tensor cores do it."""
    found = list(candidates(item, sizes, card))
    best = min(found, key=lambda choice: choice.cycles)
    ranked(
        f"product of {sizes}, {item} bytes a number, on a GPU",
        lambda: ((str(choice), choice.cycles) for choice in found),
        str(best),
    )
    return best


def candidates(item: int, sizes: Sizes, card: Card = CARD) -> Iterator[Choice]:
    """Every tile with every sensible number of parts, and what the model says it costs."""
    for tile in TILES[item]:
        splits = 1
        while splits <= MAX_SPLITS and (splits == 1 or sizes.steps >= splits * SPLIT_STEPS):
            split = -(-sizes.steps // (splits * tile.steps)) * tile.steps
            parts = -(-sizes.steps // split) if split else 1
            if parts > 1 and parts * sizes.results >= 1 << 31:
                break
            yield Choice(tile, parts, split, _cycles(tile, item, sizes, parts, split, card))
            splits *= 2


def _cycles(tile: Tile, item: int, sizes: Sizes, parts: int, split: int, card: Card) -> float:
    tiles = -(-sizes.rows // tile.rows) * -(-sizes.columns // tile.columns)
    on_sm = -(-tiles * sizes.batch * parts // card.sms)
    resident = min(on_sm, tile.resident(item))
    lanes = card.lanes * 4 // item * tile.share(16 // item)  # float64 at half the rate
    if tile.tensor:
        lanes = card.tensor_lanes
    compute = tile.rows * tile.columns * tile.steps / lanes
    move = (tile.rows + tile.columns) * tile.steps * item / L2_BYTES
    step = max(resident * compute, resident * move, LATENCY)
    cycles = -(-on_sm // resident) * (split // tile.steps * step + 4 * LATENCY)
    if parts > 1:
        moved = (2 * parts + 1) * sizes.results * max(item, 4)
        cycles += moved / (card.sms * MEMORY_BYTES) + LAUNCH
    return cycles
