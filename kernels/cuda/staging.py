"""Run-time numbers on their way to a device: all of a call in one copy, and none if none changed.

    numbers = Numbers(index)
    numbers.stage([lr, step])      # 0-d arrays, floats or ints
    numbers.addresses              # where they are from then on

They are written into page-locked memory, of which there are several pages: one is used again only
when the copy from it is over, so the host may be some calls ahead of the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .driver import driver

CELL = 16
PAGES = 8


class Numbers:
    """The numbers of one program's calls."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._block: Any = None
        self._pages: list[np.ndarray] = []
        self._events: list[Any] = []
        self._turn = 0
        self._sent: list[bytes] = []
        self.addresses: list[int] = []

    def stage(self, values: Sequence[Any]) -> None:
        """Put these values on the device, always as many, if they are not there."""
        content = [x.tobytes() if x.__class__ is np.ndarray else _bytes(x) for x in values]
        if content != self._sent:
            self._send(content)

    def _open(self, count: int) -> None:
        gpu, nbytes = driver(), CELL * count
        self._block = gpu.allocate(nbytes, self.index)
        self._pages = [gpu.pinned(nbytes) for _ in range(PAGES)]
        self.addresses = [self._block.pointer + CELL * i for i in range(count)]
        self._events = [gpu.new_event(self.index, timing=False) for _ in range(PAGES)]

    def _send(self, content: list[bytes]) -> None:
        if self._block is None:
            self._open(len(content))
        gpu, turn = driver(), self._turn % PAGES
        page, event = self._pages[turn], self._events[turn]
        if self._turn >= PAGES:
            event.synchronize()
        page[:] = np.frombuffer(b"".join(x.ljust(CELL, b"\0") for x in content), np.uint8)
        gpu.copy_in(self._block.pointer, page, self.index, wait=False)
        event.record(gpu.current_stream(self.index))
        self._turn += 1
        self._sent = content


def _bytes(x: Any) -> bytes:
    return np.array(x).tobytes()
