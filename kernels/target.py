"""What a program is made for: how its regions become kernel calls, and those code.

    target = target_of(device("cpu"))
    calls = target.lower(region, inplace, fixed)     # NotImplementedError: no kernel does
    target.begin(keys)                               # have them compiled meanwhile
    kernels = target.compile(keys)                   # one for each key of the calls
    compiled = target.finish(program, aliases, types, making)

All else of a program (passes, places, rows) is the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.config import config
from graphgrad.device import device as Device
from graphgrad.ir import Graph, Node
from graphgrad.regions import CONTRACT, Region

Lower = Callable[[Region, dict[Node, Node], Container[Node]], Iterable[Any]]


def _nothing(keys: Iterable[Any]) -> None:
    """Compile when a program is whole."""


def _itself(kernel: Any) -> Any:
    """An executor that walks tables needs no other kernel for it."""
    return kernel


@dataclass(frozen=True)
class Keeping:
    """How kernels outlive the process, in the file of a program that calls them.

    ``pack(kernel)`` can be pickled, ``unpack`` makes kernels of a list of such, or None where one
    is gone. ``versions()``: what decides their code, beside settings and the toolchain of the CPU.
    """

    pack: Callable[[Any], Any]
    unpack: Callable[[Sequence[Any]], Sequence[Any] | None]
    versions: Callable[[], tuple[Any, ...]] = tuple


def _pack(kernel: Any) -> Any:
    from .recipes import portable

    return portable(kernel.recipe)


def _unpack(recipes: Sequence[Any]) -> Sequence[Any]:
    from .cache import compile_many
    from .recipes import at_home

    return compile_many(map(at_home, recipes))


RECIPES = Keeping(_pack, _unpack)


@dataclass(frozen=True)
class Target:
    """One way to compute regions.

    ``interprets``: NumPy computes those that no kernel does. ``on_host``: the CPU's executor runs
    its programs. ``keeping``: None where programs are not kept in files.
    """

    name: str
    lower: Lower
    compile: Callable[[Iterable[Any]], Mapping[Any, Any]]
    finish: Callable[..., Any]
    interprets: bool
    on_host: bool = True
    keeping: Keeping | None = RECIPES
    begin: Callable[[Iterable[Any]], None] = _nothing
    # The kernel that runs another one over many tables of slots in one launch.
    group: Callable[[Any], Any] = _itself
    # What the target's programs take in place of a NumPy array.
    placed: Callable[[Any], Any] = np.ascontiguousarray

    @property
    def settings(self) -> tuple[Any, ...]:
        """What decides, beside a graph, which kernels a program is made of."""
        return config.of_kernels(self.name)

    def prepare(self, graph: Graph) -> None:
        """Begin to compile what every program needs, on a machine that runs its first one."""
        if self.on_host:
            from .entry import prepare

            products = (x.dtype.name for x in graph if x.op.name == "dot_general")
            prepare(tuple(sorted(set(products))))


def target_of(device: Device) -> Target:
    """The target of programs on a device; RuntimeError where the device cannot be used."""
    if device.type == "cpu":
        return CPU
    from .cuda.target import cuda_target

    return cuda_target(device)


def _lower(region: Region, inplace: dict[Node, Node], fixed: Container[Node]) -> Iterable[Any]:
    if region.kind == CONTRACT:
        from .contract_build import lower_contraction

        return lower_contraction(region, fixed)
    from .lower import lower_region

    return lower_region(region, inplace)


def compile_kernels(keys: Iterable[Any]) -> dict[Any, Any]:
    """Every kernel of a program, those that are new compiled together."""
    from .cache import compile_many

    keys = list(keys)
    return dict(zip(keys, compile_many(map(_recipe, keys)), strict=True))


def begin_kernels(keys: Iterable[Any]) -> None:
    """Have kernels compiled by other threads, while the rest of a program is planned."""
    from .cache import begin

    begin(map(_recipe, keys))


def _recipe(key: Any) -> Any:
    from .contract.kernels import engine_recipe
    from .contract.names import KernelName
    from .recipes import from_source

    return engine_recipe(key) if isinstance(key, KernelName) else from_source(*key)


def _finish(*parts: Any) -> Any:
    from .compiled import Compiled

    return Compiled(*parts)


CPU = Target("cpu", _lower, compile_kernels, _finish, interprets=True, begin=begin_kernels)
