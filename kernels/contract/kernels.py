"""The engine's functions as kernels of the cache: ``load(engine_recipe(name))``.

The factories below are what such recipes name; each says whether its function takes int64 words
alone or a table first, as kernels do. What they import is needed only to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..recipes import PACKAGE, Recipe, from_template
from .host import ITEM_BYTES
from .names import KernelName


def engine_recipe(name: KernelName) -> Recipe:
    """What the kernel called ``name`` is made from."""
    if name.role in _LOOPS:
        return from_template(f"{PACKAGE}.contract.macro:{_LOOPS[name.role]}")
    vector = (name.dtype, name.lanes)
    factory = _FACTORIES.get(name.role)
    if factory is None:
        size = (name.rows, name.columns, name.packed)
        return from_template(f"{__name__}:tile", name.role, *vector, *size)
    rows = (name.rows,) if name.rows else ()
    return from_template(f"{__name__}:{factory.__name__}", *vector, *rows)


def _machine_code(function: Any, words_only: bool) -> Callable:
    """A function that has no plain Python form."""
    function.words_only = words_only
    return function


def reduce_kernel(dtype: str, lanes: int) -> Callable:
    """Adds the partial products of a sum that was split."""
    from .macro import reduce_function

    return _machine_code(reduce_function(dtype, lanes), words_only=False)


def copy_packer(dtype: str, lanes: int) -> Callable:
    """Packs an operand that is contiguous along a panel's rows."""
    from .pack import copy_function

    return _machine_code(copy_function(dtype, lanes), words_only=True)


def transpose_packer(dtype: str, lanes: int, width: int) -> Callable:
    """Packs an operand that is contiguous along k, into slots of `width` numbers."""
    from .pack import transpose_function

    packer = transpose_function(dtype, lanes, width, ITEM_BYTES[dtype])
    return _machine_code(packer, words_only=True)


def tile(role: str, dtype: str, lanes: int, rows: int, columns: int, packed: str) -> Callable:
    """A micro-kernel."""
    from .micro import tile_function

    shape = (rows, columns, packed)
    return _machine_code(tile_function(role, dtype, lanes, *shape), words_only=True)


_LOOPS = {"macro": "contract", "pack": "pack_operand"}
_FACTORIES = {
    "reduce": reduce_kernel,
    "copy": copy_packer,
    "transpose": transpose_packer,
}
