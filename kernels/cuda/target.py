"""Programs for devices: regions become kernels of threads in blocks.

The emulator runs the same grid kernels as the rows of an ordinary CPU program, an iteration being a
block. A region that no grid kernel computes is an error that names it: nothing falls back on the
host but what is defined there (factorisations, Fourier transforms, custom calls).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable
from typing import Any

from graphgrad.device import device as Device
from graphgrad.ir import Node
from graphgrad.regions import CONTRACT, Region

from ..target import Keeping, Target, compile_kernels
from .driver import driver
from .emulated import EmulatedProgram
from .memory import from_host


def cuda_target(device: Device) -> Target:
    """The target of programs on ``device``: a GPU, or the emulator."""
    if driver().emulated:
        return _emulated(device)
    return _gpu(device)


@functools.cache
def _gpu(device: Device) -> Target:
    from .modules import compile_modules, grouped_kernel, pack, unpack, versions
    from .program import DeviceProgram

    arch = driver().arch(device.index or 0)
    return Target(
        f"cuda-{arch}",
        lower_for_gpu,
        functools.partial(compile_modules, arch=arch),
        functools.partial(DeviceProgram, device),
        interprets=False,
        on_host=False,
        keeping=Keeping(pack, unpack, versions),
        group=functools.partial(grouped_kernel, arch=arch),
        placed=functools.partial(from_host, device=device),
    )


@functools.cache
def _emulated(device: Device) -> Target:
    return Target(
        "cuda-emulated",
        lower_emulated,
        compile_kernels,
        functools.partial(EmulatedProgram, device),
        interprets=False,
        placed=functools.partial(from_host, device=device),
    )


def listing_target(compile: Callable[[Iterable[Any]], Any]) -> Target:
    """For a list of launches: ``build`` then gives (Program, Making), and nothing is run."""
    return Target(
        "cuda-listing",
        lower_for_gpu,
        compile,
        lambda program, aliases, types, making: (program, making()),
        interprets=False,
        on_host=False,
        keeping=None,
    )


def lower(region: Region, inplace: dict[Node, Node], fixed: Container[Node] = ()) -> list[Any]:
    """GridCalls of a region; NotImplementedError names the operations and the line."""
    try:
        if region.kind == CONTRACT:
            from .contract import lower_contraction

            return list(lower_contraction(region, fixed))
        from .lower import lower_region

        return list(lower_region(region, inplace))
    except NotImplementedError as error:
        raise _uncovered(region, str(error)) from error


def lower_emulated(
    region: Region, inplace: dict[Node, Node], fixed: Container[Node] = ()
) -> Iterable[Any]:
    """The same calls, each as a kernel of the CPU whose iterations are blocks."""
    from .emulate import emulated

    return [emulated(call) for call in lower(region, inplace, fixed)]


def lower_for_gpu(
    region: Region, inplace: dict[Node, Node], fixed: Container[Node] = ()
) -> Iterable[Any]:
    """The same calls as rows of launches."""
    from .modules import device_call

    return [device_call(call) for call in lower(region, inplace, fixed)]


def _uncovered(region: Region, why: str) -> NotImplementedError:
    where = [str(x.origin) for x in region.nodes if x.origin.code]
    at = f" ({where[0]})" if where else ""
    return NotImplementedError(
        f"no CUDA kernel computes {region.name}{at}: {why}\n"
        "  hint: compute this part on the CPU: x.cpu(), and .cuda() after it"
    )
