"""The contraction engine's functions as kernels of the cache: ``load(engine_recipe(name))``.

The functions below are the factories such recipes name; each gives its function the C signature it
is called with. They import numba, so they do it when they run: only to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .contract.compiled import KernelName
from .contract.host import ITEM_BYTES
from .recipes import PACKAGE, Recipe, from_template


def engine_recipe(name: KernelName) -> Recipe:
    """What the kernel called ``name`` is made from."""
    if name.role == "macro":
        return from_template(f"{PACKAGE}.contract.macro:contract")
    factory = _FACTORIES.get(name.role)
    if factory is None:
        return from_template(f"{__name__}:tile", *_tile_arguments(name))
    return from_template(f"{__name__}:{factory.__name__}", name.dtype, name.lanes)


def _tile_arguments(name: KernelName) -> tuple[str | int, ...]:
    return (name.role, name.dtype, name.lanes, name.rows, name.columns)


def _signed(function: Any, signature: object) -> Callable:
    function.signature = signature
    return function


def reduce_kernel(dtype: str, lanes: int) -> Callable:
    """Adds the partial products of a sum that was split."""
    from .contract import macro

    return _signed(macro.reduce_function(dtype, lanes), macro.KERNEL_SIGNATURE)


def copy_packer(dtype: str, lanes: int) -> Callable:
    """Packs an operand that is contiguous along a panel's rows."""
    from .contract import pack

    return _signed(pack.copy_function(dtype, lanes), pack.PACK_SIGNATURE)


def transpose_packer(dtype: str, lanes: int) -> Callable:
    """Packs an operand that is contiguous along k."""
    from .contract import pack

    function = pack.transpose_function(dtype, lanes, lanes * ITEM_BYTES[dtype])
    return _signed(function, pack.PACK_SIGNATURE)


def tile(role: str, dtype: str, lanes: int, rows: int, columns: int) -> Callable:
    """A micro-kernel."""
    from .contract import micro

    return _signed(micro.tile_function(role, dtype, lanes, rows, columns), micro.TILE_SIGNATURE)


_FACTORIES = {
    "reduce": reduce_kernel,
    "copy": copy_packer,
    "transpose": transpose_packer,
}
