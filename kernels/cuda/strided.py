"""Copies within a device where elements do not lie one after the other on both sides.

copy_strided(target, source)        # of one shape and type; any strides
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from ..loopir import Get, Int, Let, Pointer, Put, Slot, Var
from .contract.index import Index, Names
from .driver import driver
from .flatten import ARGUMENTS
from .gridir import Block, GridKernel, Thread, When
from .memory import DeviceArray

BLOCK = 256
# A copy moves bits: elements of one size are one type.
BITS: dict[int, DType] = {
    1: dtypes.uint8,
    2: dtypes.int16,
    4: dtypes.int32,
    8: dtypes.int64,
}
Dims = tuple[tuple[int, int, int], ...]  # extent, and strides of the target and the source


def copy_strided(target: DeviceArray, source: DeviceArray) -> None:
    """Copy all elements. Both have one shape and type, and lie on one device."""
    item = target.itemsize
    dims = list(zip(target.shape, target.strides, source.strides, strict=True))
    if item not in BITS:  # complex128: two numbers
        item //= 2
        dims.append((2, item, item))
    plain = joined([(n, t // item, s // item) for n, t, s in dims])
    size = target.nbytes // item
    if not size:
        return
    reach = max(sum((n - 1) * abs(d[k]) for n, *d in plain) for k in (0, 1))
    kernel = copy_kernel(len(plain), item, max(size + BLOCK, reach) >= 1 << 31)
    words = [target.pointer, source.pointer, size, *(word for dim in plain for word in dim)]
    convert = [ARGUMENTS[kind] for kind in kernel.parameters]
    arguments = tuple(f(word) for f, word in zip(convert, words, strict=True))
    gpu, index = driver(), target.device.index or 0
    module = _module(kernel, gpu.arch(index))
    module.put(gpu, gpu.queue(index), index, -(-size // BLOCK), arguments)


def joined(dims: list[tuple[int, int, int]]) -> Dims:
    """Fewer dimensions: without those of one element, and neighbours that are one walk as one."""
    result: list[tuple[int, int, int]] = []
    for n, t, s in dims:
        if n == 1:
            continue
        if result and result[-1][1:] == (n * t, n * s):
            n *= result.pop()[0]
        result.append((n, t, s))
    return tuple(result)


@functools.cache
def copy_kernel(rank: int, item: int, wide: bool) -> GridKernel:
    """A thread an element: its position in row-major order, taken apart from the last axis on."""
    kind = BITS[item]
    names = Names()
    names.body += [Let("target", Pointer(0, kind)), Let("source", Pointer(1, kind))]
    at = names.let("at", Index(Block()) * BLOCK + Index(Thread()))
    inner = Names()
    to = of = Index(Int(0))
    for axis, (extent, onto, out_of) in enumerate(_slots(rank)):
        own = at if axis == rank - 1 else inner.let(f"i{axis}", at % extent)
        to = inner.let(f"to{axis}", to + own * onto)
        of = inner.let(f"of{axis}", of + own * out_of)
        if axis < rank - 1:
            at = inner.let(f"rest{axis}", at // extent)
    move: Any = Put(Var("target"), to.expr, Get(Var("source"), of.expr, kind), kind)
    inside = When((Index(Var("at")) < Index(Slot(2))).expr, (*inner.body, move))
    kinds = ("ptr", "ptr", *("int",) * (1 + 3 * rank))
    name = f"copy_{8 * item}_bits_{rank}d"
    return GridKernel(name, "a strided copy", (*names.body, inside), BLOCK, wide, kinds=kinds)


def _slots(rank: int) -> Iterator[tuple[Index, Index, Index]]:
    """Extent and strides of each dimension as arguments, the last dimension first."""
    for axis in reversed(range(rank)):
        first = 3 + 3 * axis
        yield Index(Slot(first)), Index(Slot(first + 1)), Index(Slot(first + 2))


@functools.cache
def _module(kernel: GridKernel, arch: str) -> Any:
    from .compiler import cubin_of
    from .modules import Module

    return Module(cubin_of(kernel, arch), kernel.block)
