"""Kernels of a GPU program: grid kernels compiled to cubins, loaded when they are first launched.

kernels = compile_modules(keys, "sm_90")      # {key: Kernel}; a row's number leads to its `keep`
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cache import Kernel, source_path
from ..recipes import Recipe, from_source
from . import compiler
from .contract import library
from .contract.library import LibraryCall
from .grouped import grouped

_numbers = itertools.count(1)


@dataclass(frozen=True)
class GridKey:
    """What names a kernel of threads: all that decides its code."""

    name: str
    source: str
    block: int
    resident: int
    parameters: tuple[str, ...]
    kernel: Any = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class DeviceCall:
    """A launch as a Program's row: extents are blocks, and a grain the threads of one."""

    key: Any
    slots: tuple[tuple[Any, ...], ...]
    extent: int
    grain: int
    scratch_bytes: int
    ns: float


def device_call(call: Any) -> DeviceCall:
    """The row of a GridCall, or of a LibraryCall."""
    if isinstance(call, LibraryCall):
        return DeviceCall(call.key, call.slots, 1, 1, call.scratch_bytes, call.ns)
    kernel = call.kernel
    decides = kernel.name, kernel.source, kernel.block, kernel.resident, kernel.parameters
    key = GridKey(*decides, kernel)
    return DeviceCall(key, call.slots, call.grid, kernel.block, call.scratch_bytes, call.ns)


class Module:
    """A cubin with one kernel, and how its slots are passed.

    ``grid`` is what it was compiled from, where it was compiled here. ``grouped``: slots come in
    tables (see `grouped`).
    """

    def __init__(self, cubin: Any, block: int, grouped: bool = False, grid: Any = None) -> None:
        self.code, self.entry, self.key = cubin.code, cubin.entry, cubin.key
        self.parameters: tuple[str, ...] = cubin.parameters
        self.block, self.grouped, self.grid = block, grouped, grid
        self.group: Kernel | None = None  # the same over tables
        self._handles: dict[int, Any] = {}

    def put(self, gpu: Any, queue: Any, index: int, grid: int, arguments: Sequence[Any]) -> None:
        """Launch ``grid`` blocks."""
        handle = self._handles.get(index)
        if handle is None:
            handle = self._handles[index] = gpu.load(self.code, self.entry, index)
        gpu.launch(handle, gpu.config(grid, self.block), arguments, queue)


class Library:
    """A product that a library of NVIDIA's computes, planned at the first call on a device."""

    grouped = False

    def __init__(self, key: Any) -> None:
        self.key, self.parameters = key, key.parameters
        self._launchers: dict[int, Any] = {}

    def put(self, gpu: Any, queue: Any, index: int, grid: int, arguments: Sequence[Any]) -> None:
        """Put the call into a queue, or into a graph that is being captured."""
        launcher = self._launchers.get(index)
        if launcher is None:
            launcher = self._launchers[index] = self.key.launcher()
        _, stream = queue.__cuda_stream__()
        launcher(stream, *arguments)


def compile_modules(keys: Iterable[Any], arch: str) -> dict[Any, Kernel]:
    """The kernel of each key for an architecture, from the cache folder or compiled now."""
    return {key: _kernel(key, arch) for key in keys}


def _kernel(key: Any, arch: str) -> Kernel:
    if not isinstance(key, GridKey):
        return _library_kernel(key)
    return _compiled(key.kernel, arch)


def _compiled(grid: Any, arch: str) -> Kernel:
    cubin = compiler.cubin_of(grid, arch)
    module = Module(cubin, grid.block, grid.grouped, grid)
    return _module_kernel(from_source(grid.name, grid.source), module)


def grouped_kernel(kernel: Kernel, arch: str) -> Kernel:
    """What runs a kernel over many tables in one launch; a library has no such thing."""
    module = kernel.keep
    if not isinstance(module, Module):
        return kernel
    if module.group is None:
        module.group = _compiled(grouped(module.grid), arch)
    return module.group


def _module_kernel(recipe: Recipe, module: Module) -> Kernel:
    return Kernel(next(_numbers), recipe.name, source_path(recipe), False, module, recipe)


def _library_kernel(key: Any) -> Kernel:
    return Kernel(next(_numbers), key.name, "", False, Library(key), Recipe(key.name, "", ""))


# ---- in the file of a program --------------------------------------------------------------------


def pack(kernel: Kernel) -> tuple[Any, ...]:
    """What `unpack` makes the kernel of: a library's key, or the name of a cubin."""
    keep = kernel.keep
    if isinstance(keep, Library):
        return (keep.key,)
    assert isinstance(keep, Module)
    return kernel.recipe, keep.key, keep.parameters, keep.block, keep.grouped


def unpack(packed: Iterable[tuple[Any, ...]]) -> list[Kernel] | None:
    """The kernels, from the cache folder; None where a cubin is not there any more."""
    kernels = []
    for first, *rest in packed:
        if not rest:
            kernels.append(_library_kernel(first))
            continue
        key, parameters, block, in_tables = rest
        cubin = compiler.kept_cubin(key, first.name, parameters)
        if cubin is None:
            return None
        kernels.append(_module_kernel(first, Module(cubin, block, in_tables)))
    return kernels


def versions() -> tuple[Any, ...]:
    """What decides the kernels of a program, beside its graph, our code and the settings."""
    return (*compiler.compilers(), *library.versions())
