"""The one door to devices: memory, copies, streams, events, launches, graphs.

    driver()          # the process's Driver; RuntimeError says what is missing
    available()       # whether there is one

A real GPU if one is found; the emulator, devices made of host memory whose programs run on the CPU,
when ``config.cuda = "emulate"`` (or GRAPHGRAD_CUDA=emulate) asks for it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from graphgrad.config import config

from .pool import Block


class OutOfMemoryError(RuntimeError):
    """A device has not enough free memory; what nobody uses was given back before."""


@dataclass(frozen=True)
class Properties:
    """What a device is: PyTorch's names of the fields."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int = 32
    max_threads_per_multi_processor: int = 2048
    shared_memory_per_block: int = 49152
    L2_cache_size: int = 0


class Driver(Protocol):
    """What the rest of the library asks of devices. Pointers and sizes are ints, in bytes."""

    emulated: bool

    # Of real GPUs alone: what runs programs there.
    arch: Any
    load: Any
    config: Any
    launch: Any
    queue: Any
    capture: Any
    recapture: Any

    def count(self) -> int: ...
    def properties(self, index: int) -> Properties: ...
    def memory_info(self, index: int) -> tuple[int, int]:
        """(free, total) bytes."""

    # ---- memory
    def allocate(self, nbytes: int, index: int) -> Block:
        """Memory until the Block is let go, ordered after earlier work of the current stream."""

    def statistics(self, index: int) -> Any: ...
    def empty_cache(self) -> None: ...
    def pinned(self, nbytes: int) -> np.ndarray:
        """Page-locked host memory, as bytes."""

    # ---- copies, in the order of the current stream
    def copy_in(self, target: int, source: np.ndarray, index: int, wait: bool = True) -> None: ...
    def copy_out(self, target: np.ndarray, source: int, index: int) -> None: ...
    def copy(self, target: int, source: int, nbytes: int, index: int) -> None: ...

    # ---- order
    def synchronize(self, index: int) -> None: ...
    def default_stream(self, index: int) -> Any: ...
    def current_stream(self, index: int) -> Any: ...
    def set_stream(self, stream: Any, index: int) -> None: ...
    def new_stream(self, index: int, priority: int = 0) -> Any: ...
    def new_event(self, index: int, timing: bool, blocking: bool = False) -> Any: ...


def driver() -> Driver:
    """The process's Driver. RuntimeError: the driver, package or device that is missing."""
    if config.cuda == "emulate":
        return _emulator()
    return _real()


def available() -> bool:
    """Whether tensors can live on a device; never raises."""
    if config.cuda == "emulate":
        return True
    return not isinstance(_found(), str)


def is_open() -> bool:
    """Whether a driver was used."""
    if config.cuda == "emulate":
        return _emulator.cache_info().currsize > 0
    return _found.cache_info().currsize > 0 and not isinstance(_found(), str)


@functools.cache
def _emulator() -> Driver:
    from .emulator import EmulatedDriver

    return EmulatedDriver()


@functools.cache
def _found() -> Driver | str:
    """The Driver of this machine's GPUs, or what is missing."""
    from .gpu import open_driver

    try:
        return open_driver()
    except RuntimeError as error:
        return str(error)


def _real() -> Driver:
    found = _found()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found
