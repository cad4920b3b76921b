"""Device memory that is used again: a caching allocator over a raw one.

    pool = Pool(raw)                  # raw(nbytes) -> (pointer, what keeps it), or MemoryError
    block = pool.take(nbytes, lane)   # Block: .pointer, .nbytes; given back when nobody holds it
    pool.allocated, pool.peak, pool.reserved

A free block serves the next request of its size class on its *lane* (a stream): there, work that
read it comes before work that writes it, so nothing has to wait.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import Any

from ..memory import size_class
from .spares import let_go

SMALLEST = 512


@functools.lru_cache(maxsize=4096)
def _size(nbytes: int) -> int:
    return max(SMALLEST, size_class(nbytes))


class Block:
    """Bytes of device memory at ``pointer``, until the last reference to it goes."""

    __slots__ = ("__weakref__", "_lane", "_pool", "nbytes", "pointer", "size")

    def __init__(self, pool: Pool, pointer: int, size: int, nbytes: int, lane: Hashable) -> None:
        self.pointer, self.size, self.nbytes = pointer, size, nbytes
        self._pool, self._lane = pool, lane

    def __del__(self) -> None:
        self._pool.give_back(self)


class Pool:
    """Blocks of one device by size class and lane."""

    def __init__(self, raw: Callable[[int], tuple[int, Any]]) -> None:
        self._raw = raw
        self._free: dict[tuple[int, Hashable], list[int]] = {}
        # What keeps the memory at each pointer is held here alone: were a Block to hold it, both
        # could be one cycle's garbage, and the memory be finalised although the Block gave it back.
        self._keep: dict[int, Any] = {}
        # Blocks are given back by the garbage collector, perhaps while this thread is in here.
        self._lock = threading.RLock()
        self.allocated = self.reserved = self.peak = self.peak_reserved = 0

    def take(self, nbytes: int, lane: Hashable = None) -> Block:
        """A block of at least ``nbytes``; MemoryError after all free ones were let go in vain."""
        size = _size(nbytes)
        with self._lock:
            free = self._free.get((size, lane))
            pointer = free.pop() if free else self._new(size)
            block = Block(self, pointer, size, nbytes, lane)
            self.allocated += nbytes
            self.peak = max(self.peak, self.allocated)
        return block

    def _new(self, size: int) -> int:
        try:
            pointer, keep = self._raw(size)
        except MemoryError:
            self.empty()
            pointer, keep = self._raw(size)
        self._keep[pointer] = keep
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return pointer

    def give_back(self, block: Block) -> None:
        """What a Block does when it is no longer held."""
        with self._lock:
            self.allocated -= block.nbytes
            self._free.setdefault((block.size, block._lane), []).append(block.pointer)

    def empty(self) -> None:
        """Let go of every free block, and of results that programs keep to hand them out again."""
        let_go()
        with self._lock:
            for (size, _), free in self._free.items():
                self.reserved -= size * len(free)
                for pointer in free:
                    del self._keep[pointer]
            self._free.clear()

    def reset_peak(self) -> None:
        """Begin to look for the peak anew."""
        with self._lock:
            self.peak, self.peak_reserved = self.allocated, self.reserved
