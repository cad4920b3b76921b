"""A call of a grid kernel: what lowering for CUDA hands to the program builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .gridir import GridKernel


@dataclass(frozen=True, eq=False, slots=True)
class GridCall:
    """A kernel, the arguments of one call, and how many blocks it takes.

    ``slots`` mean what a KernelCall's do: ("ptr", node[, byte offset]), ("int", value),
    ("scalar", node), ("float", value), ("error",), ("scratch", byte offset). ``ns`` is about how
    long the work takes on one core of a CPU. ``serial``: blocks add to the same memory, so an
    emulator may not run two at once.
    """

    name: str
    kernel: GridKernel
    slots: tuple[tuple[Any, ...], ...]
    grid: int
    scratch_bytes: int = 0
    ns: float = 0.0
    serial: bool = False

    @property
    def block(self) -> int:
        """Threads of a block."""
        return self.kernel.block

    @property
    def source(self) -> str:
        """The kernel's numba-cuda source."""
        return self.kernel.source
