"""Device memory that is used again: a caching allocator over a raw one.

    pool = Pool(raw)                  # raw(nbytes) -> (pointer, what keeps it), or MemoryError
    block = pool.take(nbytes, lane)   # Block: .pointer, .nbytes; given back when nobody holds it
    pool.allocated, pool.peak, pool.reserved

A free block serves the next request of its size class on its *lane* (a stream): there, work that
read it comes before work that writes it, so nothing has to wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

from ..memory import size_class

SMALLEST = 512


class Block:
    """Bytes of device memory at ``pointer``, until the last reference to it goes."""

    __slots__ = ("__weakref__", "_keep", "_lane", "_pool", "nbytes", "pointer", "size")

    def __init__(self, pool: Pool, pointer: int, size: int, keep: Any, lane: Hashable) -> None:
        self.pointer, self.size, self.nbytes = pointer, size, 0
        self._pool, self._keep, self._lane = pool, keep, lane

    def __del__(self) -> None:
        pool = self._pool
        if pool is not None:
            pool.give_back(self.pointer, self.size, self.nbytes, self._keep, self._lane)


class Pool:
    """Blocks of one device by size class and lane."""

    def __init__(self, raw: Callable[[int], tuple[int, Any]]) -> None:
        self._raw = raw
        self._free: dict[tuple[int, Hashable], list[tuple[int, Any]]] = {}
        # Blocks are given back by the garbage collector, perhaps while this thread is in here.
        self._lock = threading.RLock()
        self.allocated = self.reserved = self.peak = self.peak_reserved = 0

    def take(self, nbytes: int, lane: Hashable = None) -> Block:
        """A block of at least ``nbytes``; MemoryError after all free ones were let go in vain."""
        size = max(SMALLEST, size_class(nbytes))
        with self._lock:
            free = self._free.get((size, lane))
            pointer, keep = free.pop() if free else self._new(size)
            block = Block(self, pointer, size, keep, lane)
            block.nbytes = nbytes
            self.allocated += nbytes
            self.peak = max(self.peak, self.allocated)
        return block

    def _new(self, size: int) -> tuple[int, Any]:
        try:
            made = self._raw(size)
        except MemoryError:
            self.empty()
            made = self._raw(size)
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return made

    def give_back(self, pointer: int, size: int, nbytes: int, keep: Any, lane: Hashable) -> None:
        """What a Block does when it is no longer held."""
        with self._lock:
            self.allocated -= nbytes
            self._free.setdefault((size, lane), []).append((pointer, keep))

    def empty(self) -> None:
        """Let go of every free block."""
        with self._lock:
            for (size, _), free in self._free.items():
                self.reserved -= size * len(free)
            self._free.clear()

    def reset_peak(self) -> None:
        """Begin to look for the peak anew."""
        with self._lock:
            self.peak, self.peak_reserved = self.allocated, self.reserved
