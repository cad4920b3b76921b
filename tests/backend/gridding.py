"""Regions lowered for CUDA and run by the emulator, block after block."""

from __future__ import annotations

from collections.abc import Mapping

from graphgrad.kernels.cuda.emulate import emulated
from graphgrad.kernels.cuda.lower import lower_region
from graphgrad.kernels.lower import KernelCall

from graphgrad.ir import Node
from graphgrad.regions import Region


def emulated_region(region: Region, aliases: Mapping[Node, Node] | None = None) -> list[KernelCall]:
    """The kernel calls that emulate a region's grid calls."""
    return [emulated(call) for call in lower_region(region, aliases or {})]
