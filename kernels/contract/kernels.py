"""The engine's functions as kernels of the cache: ``load(engine_recipe(name))``.

The factories below are what such recipes name; each gives its function the C signature it is called
with. They import numba, so they do it when they run: only to compile, which takes 0.05 s for a tile
and 0.5 s for the macro-kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..recipes import PACKAGE, Recipe, from_template
from .host import ITEM_BYTES
from .names import KernelName


def engine_recipe(name: KernelName) -> Recipe:
    """What the kernel called ``name`` is made from."""
    if name.role == "macro":
        return from_template(f"{PACKAGE}.contract.macro:contract")
    vector = (name.dtype, name.lanes)
    factory = _FACTORIES.get(name.role)
    if factory is None:
        return from_template(f"{__name__}:tile", name.role, *vector, name.rows, name.columns)
    return from_template(f"{__name__}:{factory.__name__}", *vector)


def _signed(function: Any, signature: object) -> Callable:
    function.signature = signature
    return function


def reduce_kernel(dtype: str, lanes: int) -> Callable:
    """Adds the partial products of a sum that was split."""
    from .macro import KERNEL_SIGNATURE, reduce_function

    return _signed(reduce_function(dtype, lanes), KERNEL_SIGNATURE)


def copy_packer(dtype: str, lanes: int) -> Callable:
    """Packs an operand that is contiguous along a panel's rows."""
    from .pack import PACK_SIGNATURE, copy_function

    return _signed(copy_function(dtype, lanes), PACK_SIGNATURE)


def transpose_packer(dtype: str, lanes: int) -> Callable:
    """Packs an operand that is contiguous along k."""
    from .pack import PACK_SIGNATURE, transpose_function

    return _signed(transpose_function(dtype, lanes, lanes * ITEM_BYTES[dtype]), PACK_SIGNATURE)


def tile(role: str, dtype: str, lanes: int, rows: int, columns: int) -> Callable:
    """A micro-kernel."""
    from .micro import TILE_SIGNATURE, tile_function

    return _signed(tile_function(role, dtype, lanes, rows, columns), TILE_SIGNATURE)


_FACTORIES = {
    "reduce": reduce_kernel,
    "copy": copy_packer,
    "transpose": transpose_packer,
}
