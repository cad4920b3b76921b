"""Regions lowered for CUDA and run by the emulator, block after block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from graphgrad.kernels.cuda.emulate import emulated
from graphgrad.kernels.cuda.lower import lower_region
from graphgrad.kernels.lower import KernelCall

from graphgrad.ir import Node
from graphgrad.regions import Region


def emulated_region(region: Region, aliases: Mapping[Node, Node] | None = None) -> list[KernelCall]:
    """The kernel calls that emulate a region's grid calls."""
    return [emulated(call) for call in lower_region(region, aliases or {})]


def emulated_backwards(
    region: Region, aliases: Mapping[Node, Node] | None = None
) -> list[KernelCall]:
    """The same, the last thread of a block first: what waits for no one may run in any order."""
    return [
        replace(call, source=_reversed(call.source)) for call in emulated_region(region, aliases)
    ]


def _reversed(source: str) -> str:
    loop = re.compile(r"^( *)for thread in range\((\d+)\):$", re.MULTILINE)

    def turned(found: re.Match) -> str:
        pad, count = found.groups()
        return f"{pad}for left in range({count}):\n{pad}    thread = {int(count) - 1} - left"

    return loop.sub(turned, source)
