"""Names of the engine's kernels: plain data, so a plan imports neither numba nor LLVM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelName:
    """One function of the engine: its role and the constants baked into it."""

    role: str  # macro | pack | reduce | copy | transpose | outer | scattered | dot
    dtype: str = ""
    lanes: int = 0
    rows: int = 0
    columns: int = 0
    packed: str = ""  # operands that lie in panels: '' | a | b | ab

    def __str__(self) -> str:
        tile = f"_{self.rows}x{self.columns}" if self.rows else ""
        packed = f"_{self.packed}" if self.packed else ""
        return f"contract_{self.role}" + (f"_{self.dtype}" if self.dtype else "") + tile + packed
