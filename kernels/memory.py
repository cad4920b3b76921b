"""Memory that is used again: arrays for results, and the arenas programs compute in.

    array = empty((64, 10), np.dtype("float32"))    # like np.empty, 64-byte aligned, 0.4 us
    block = borrow(nbytes); ...; give_back(block)   # an arena, for the length of one call

Fresh pages cost more than most kernels that fill them, so blocks are kept. A block is free again
once no array over it is left: NumPy makes every view hold the array it was taken from, and that
array hold the block, so the block's reference count tells.
"""

import collections
import ctypes
import functools
import math
import mmap
import threading
from sys import getrefcount

import numpy as np
from numpy import ndarray

ALIGNMENT = 64
MAPPED_FROM = 1 << 20
PAGE = mmap.PAGESIZE
IDLE_LIMIT = 1 << 28
TRIES = 4
# A child made by fork gets a copy: what it computes must not appear in its parent's arrays. (And
# systems give huge pages to private memory alone, most of them.)
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
FREE = 2  # references to a block nobody uses: the variable that asks, and getrefcount's argument


class Block(ndarray):
    """Aligned bytes at `address`. A subclass, or NumPy would skip it and hold what lies below."""

    __slots__ = ("address",)
    address: int


class _Pool:
    """Blocks by size, those handed out last at the right end: warm caches, and often free."""

    def __init__(self) -> None:
        self.rings: dict[int, collections.deque[Block]] = {}
        self.lock = threading.Lock()
        self.held, self.limit = 0, IDLE_LIMIT

    def new(self, size: int, ring: collections.deque, used: int) -> Block:
        with self.lock:
            self.held += size
            if self.held > self.limit:
                self.sweep()
        block = new_block(size, used)
        ring.append(block)
        return block

    def sweep(self) -> None:
        """Let go of every free block; the next sweep is due when as much again is held."""
        for size, ring in self.rings.items():
            for _ in range(len(ring)):
                block = ring.popleft()
                if getrefcount(block) > FREE:
                    ring.append(block)
                else:
                    self.held -= size
        self.limit = max(IDLE_LIMIT, 2 * self.held)


_pool = _Pool()
_arenas: list[Block] = []


def new_block(size: int, used: int = 0) -> Block:
    """`size` fresh bytes, aligned; pages are touched when they are first written.

    Where only the first bytes are `used`, no huge page covers the rest: it would be touched too.
    """
    memory: mmap.mmap | bytearray
    if size >= MAPPED_FROM:
        memory = mapped = mmap.mmap(-1, size, **PRIVATE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            mapped.madvise(mmap.MADV_HUGEPAGE, 0, (used or size) // PAGE * PAGE)
    else:
        memory = bytearray(size + ALIGNMENT)
    start = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    offset = -start % ALIGNMENT
    block = Block(size, np.uint8, memory, offset)
    block.address = start + offset
    return block


def size_class(nbytes: int) -> int:
    """The size of the block that `nbytes` get: at most a quarter more."""
    step = max(ALIGNMENT, 1 << max(0, nbytes.bit_length() - 3))
    return max(1, -(-nbytes // step)) * step


@functools.lru_cache(maxsize=4096)
def _ring(nbytes: int) -> collections.deque[Block]:
    return _pool.rings.setdefault(size_class(nbytes), collections.deque())


def allocate(nbytes: int) -> Block:
    """A block of at least `nbytes` bytes, for as long as it, or an array over it, is held."""
    ring = _ring(nbytes)
    for _ in range(TRIES):
        try:
            block = ring.pop()
        except IndexError:
            break
        if getrefcount(block) == FREE:
            ring.append(block)
            return block
        ring.appendleft(block)
    return _pool.new(size_class(nbytes), ring, nbytes)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A C-contiguous, 64-byte aligned array of undefined content."""
    return ndarray(shape, dtype, allocate(math.prod(shape) * dtype.itemsize))


def borrow(nbytes: int) -> Block:
    """A block of at least `nbytes` until `give_back`. All programs share them, so that a program
    compiled for twenty batch sizes needs the memory of the largest, not of all."""
    try:
        block = _arenas.pop()
    except IndexError:
        return new_block(size_class(nbytes), nbytes)
    return block if block.nbytes >= nbytes else new_block(size_class(nbytes), nbytes)


def give_back(block: Block) -> None:
    """End the loan of a block from `borrow`."""
    _arenas.append(block)


def trim() -> None:
    """Return all memory that nobody uses to the system."""
    _arenas.clear()
    with _pool.lock:
        _pool.sweep()


def array_at(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A writable array over memory somebody else keeps alive."""
    nbytes = dtype.itemsize * math.prod(shape)
    return ndarray(shape, dtype, memoryview((ctypes.c_char * nbytes).from_address(address)))
