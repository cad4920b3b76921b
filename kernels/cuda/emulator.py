"""Devices made of host memory: what runs without a GPU, and what tests run on.

Programs for such a device run on the CPU, block after block of the same grid kernels. Copies are
copies; streams and events are in order because everything is done at once.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from graphgrad.config import config

from ..memory import array_at, new_block
from .driver import Properties
from .pool import Block, Pool

TOTAL_MEMORY = 1 << 34


class EmulatedStream:
    """A queue whose work is done when it is put there."""

    def __init__(self, index: int, priority: int = 0) -> None:
        self.index, self.priority = index, priority
        self.handle = 0

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        return True

    def wait(self, other: Any) -> None:
        """Nothing to wait for."""

    wait_for_handle = awaited_by_handle = wait


class EmulatedEvent:
    """A moment: when it was recorded, everything before was done."""

    def __init__(self, timing: bool) -> None:
        self.timing, self.at = timing, 0.0

    def record(self, stream: Any) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        return True

    def milliseconds_until(self, end: EmulatedEvent) -> float:
        return 1e3 * (end.at - self.at)


class EmulatedDriver:
    """The Driver protocol over host memory; ``config.cuda_devices`` devices of one kind."""

    emulated = True

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}
        self._streams: dict[int, EmulatedStream] = {}
        self._defaults: dict[int, EmulatedStream] = {}

    def count(self) -> int:
        return config.cuda_devices

    def properties(self, index: int) -> Properties:
        return Properties("graphgrad CUDA emulator (host memory)", 9, 0, TOTAL_MEMORY, 8)

    def memory_info(self, index: int) -> tuple[int, int]:
        return TOTAL_MEMORY - self._pool(index).reserved, TOTAL_MEMORY

    # ---- memory

    def _pool(self, index: int) -> Pool:
        return self._pools.setdefault(index, Pool(_raw))

    def allocate(self, nbytes: int, index: int) -> Block:
        return self._pool(index).take(nbytes)

    def statistics(self, index: int) -> Pool:
        return self._pool(index)

    def empty_cache(self) -> None:
        for pool in self._pools.values():
            pool.empty()

    def pinned(self, nbytes: int) -> np.ndarray:
        return np.zeros(nbytes, np.uint8)

    # ---- copies

    def copy_in(self, target: int, source: np.ndarray, index: int, wait: bool = True) -> None:
        array_at(target, source.shape, source.dtype)[...] = source

    def copy_out(self, target: np.ndarray, source: int, index: int) -> None:
        target[...] = array_at(source, target.shape, target.dtype)

    def copy(self, target: int, source: int, nbytes: int, index: int) -> None:
        bytes_ = np.dtype(np.uint8)
        array_at(target, (nbytes,), bytes_)[:] = array_at(source, (nbytes,), bytes_)

    # ---- order

    def synchronize(self, index: int) -> None:
        """Everything was done at once."""

    def default_stream(self, index: int) -> EmulatedStream:
        return self._defaults.setdefault(index, EmulatedStream(index))

    def current_stream(self, index: int) -> EmulatedStream:
        return self._streams.get(index) or self.default_stream(index)

    def set_stream(self, stream: EmulatedStream, index: int) -> None:
        self._streams[index] = stream

    def new_stream(self, index: int, priority: int = 0) -> EmulatedStream:
        return EmulatedStream(index, priority)

    def new_event(self, index: int, timing: bool, blocking: bool = False) -> EmulatedEvent:
        return EmulatedEvent(timing)


def _raw(nbytes: int) -> tuple[int, Any]:
    block = new_block(nbytes)
    return block.address, block
