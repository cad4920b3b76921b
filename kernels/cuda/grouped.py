"""One launch over many tables of slots: what an optimizer does to every parameter, at once.

    grouped(kernel)             # a GridKernel of (table, tables)
    words_of(tables, grids)     # what lies at ``table``

In memory lie the number of each table's first block, then the slots of one table after the other.
A block finds its table by bisection and reads the slots from there; then it is the kernel's block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from .gridir import GridKernel

if TYPE_CHECKING:
    from .emit import CudaWriter

PARAMETERS = ("table", "tables")


def grouped(kernel: GridKernel) -> GridKernel:
    """The kernel over many tables of its slots."""
    return replace(kernel, name=f"{kernel.name}_grouped", grouped=True)


def words_of(tables: Sequence[Sequence[int]], grids: Sequence[int]) -> tuple[int, ...]:
    """The int64 words of tables, run by ``grids`` blocks each."""
    starts = accumulate(grids[:-1], initial=0)
    return (*starts, *(word for table in tables for word in table))


def prologue(writer: CudaWriter) -> list[str]:
    """Lines that find a block's table, and give the slots that the kernel uses their names."""
    kernel, index = writer.kernel, f"np.{writer.index_type}"
    lines = [
        "here = cuda.blockIdx.x",
        "low = np.int32(0)",
        "high = np.int32(tables)",
        "while high - low > 1:",
        "    middle = np.int32((low + high) >> 1)",
        "    if table[middle] <= here:",
        "        low = middle",
        "    else:",
        "        high = middle",
        "block = np.int32(here - table[low])",
        f"first = np.int32(tables + low * {len(kernel.kinds)})",
    ]
    for slot, kind in enumerate(kernel.parameters):
        word = f"first + {slot}"
        if kind == "ptr":
            text = f"{writer.name(f'pointer_{writer.element(slot)}')}(table, {word})"
        elif kind in ("f32", "f64"):
            text = f"np.{kind.replace('f', 'float')}({writer.name('real')}(table, {word}))"
        else:
            text = f"{index if kind == 'i32' else 'np.int64'}(table[{word}])"
        lines.append(f"{writer.parameter(slot)} = {text}")
    return ["    " + line for line in lines]
