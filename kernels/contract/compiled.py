"""Names of the engine's kernels and their machine code.

Plans hold a `KernelName`, plain data, so planning imports neither numba nor LLVM, and neither does
running a kernel that the cache folder has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

from ..cache import Kernel, load
from ..recipes import Recipe, from_template
from .host import ITEM_BYTES


@dataclass(frozen=True)
class KernelName:
    """One compiled function: its role and the constants baked into it."""

    role: str  # macro | reduce | copy | transpose | outer | scattered | dot
    dtype: str = ""
    lanes: int = 0
    rows: int = 0
    columns: int = 0

    def __str__(self) -> str:
        tile = f"_{self.rows}x{self.columns}" if self.rows else ""
        return f"contract_{self.role}" + (f"_{self.dtype}" if self.dtype else "") + tile

    @property
    def recipe(self) -> Recipe:
        """What the kernel is compiled from."""
        return from_template(f"{__name__}:contract", *astuple(self))


def contract(role: str, dtype: str, lanes: int, rows: int, columns: int) -> Callable:
    """The Python function of a kernel, with its C signature as attribute `signature`."""
    from . import macro, micro, pack

    vector = (dtype, lanes)
    if role == "macro":
        function, signature = macro.contract, macro.KERNEL_SIGNATURE
    elif role == "reduce":
        function, signature = macro.reduce_function(*vector), macro.KERNEL_SIGNATURE
    elif role == "copy":
        function, signature = pack.copy_function(*vector), pack.PACK_SIGNATURE
    elif role == "transpose":
        function = pack.transpose_function(*vector, lanes * ITEM_BYTES[dtype])
        signature = pack.PACK_SIGNATURE
    else:
        function = micro.tile_function(role, *vector, rows, columns)
        signature = micro.TILE_SIGNATURE
    function.signature = signature  # type: ignore[attr-defined]
    return function


def compiled(name: KernelName) -> Kernel:
    """A kernel of the engine; compiling one takes 0.05 s for a tile, 0.5 s for the macro-kernel."""
    return load(name.recipe)


def address(name: KernelName) -> int:
    """Machine address of a kernel."""
    return compiled(name).address
