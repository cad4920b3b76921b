"""Running regions without a Program: every chunk of every kernel call, in any order."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from graphgrad.kernels.cache import load_kernel
from graphgrad.kernels.lower import lower_region

from graphgrad import interpret
from graphgrad.ir import Graph, Node
from graphgrad.passes.fuse import fuse
from graphgrad.regions import LOOP, Plan, Region


class Machine:
    """What lowers regions: the CPU, or what a test puts in its place."""

    lower = staticmethod(lower_region)


MACHINE = Machine()
KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), *[ctypes.c_int64] * 3)
ALIGN = 64
GUARD = 64  # elements on either side of an output


def _bits(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]


def _aligned(nbytes: int) -> tuple[np.ndarray, int]:
    buffer = np.full(nbytes + ALIGN, 0xA5, np.uint8)
    return buffer, -(-buffer.ctypes.data // ALIGN) * ALIGN


def run_region(
    region: Region,
    value: dict[Node, np.ndarray],
    aliases: Mapping[Node, Node] | None = None,
    backwards: bool = False,
) -> int:
    """Run a loop region on arrays by node, adding its outputs; returns the error code.

    Nothing may be written around the outputs.
    """
    calls = MACHINE.lower(region, aliases)
    around = {y: np.full(y.size + 2 * GUARD, 77, y.dtype.numpy) for y in region.outputs}
    for y in region.outputs:
        value[y] = around[y][GUARD : GUARD + y.size].reshape(y.shape)
    for new, old in (aliases or {}).items():
        value[new] = value[old]
    scratch, base = _aligned(max((c.scratch_bytes for c in calls), default=0))
    error = np.zeros(2, np.int64)

    def word(slot: tuple[Any, ...]) -> int:
        kind = slot[0]
        if kind == "ptr":
            return value[slot[1]].ctypes.data
        if kind == "scalar":
            number = interpret.RULES["scalar"](**slot[1].attrs).item()
            return _bits(number) if slot[1].dtype.is_floating_point else int(number)
        return {"int": lambda: slot[1], "error": lambda: error.ctypes.data}.get(
            kind, lambda: base + slot[1]
        )()

    for call in calls:
        function = KERNEL(load_kernel(call.name, call.source).address)
        table = (ctypes.c_int64 * (len(call.slots) + 1))(*map(word, call.slots))
        step = call.grain or max(call.extent, 1)
        chunks = list(enumerate(range(0, call.extent, step)))
        for chunk, start in reversed(chunks) if backwards else chunks:
            function(table, start, min(start + step, call.extent), chunk)
    for y, guarded in around.items():
        edges = np.delete(guarded, slice(GUARD, GUARD + y.size))
        np.testing.assert_array_equal(edges, np.full_like(edges, 77), str(y))
    del scratch
    return int(error[0])


def run_plan(plan: Plan, arrays: Sequence[np.ndarray], backwards: bool = False) -> list[np.ndarray]:
    """Run a plan: loop regions as kernels, everything else by the interpreter."""
    value: dict[Node, Any] = dict(zip(plan.graph.inputs, arrays, strict=True))
    for region in plan:
        for x in region.inputs:
            if x.op.name in ("constant", "scalar"):
                value[x] = np.asarray(interpret.evaluate(x, []))
        if region.kind == LOOP:
            assert run_region(region, value, backwards=backwards) == 0
        else:
            _interpret(region, value)
    return [value[y] for y in plan.graph.outputs]


def _interpret(region: Region, value: dict[Node, Any]) -> None:
    local = dict(value)
    for x in region.nodes:
        local[x] = interpret.evaluate(x, [local[i] for i in x.inputs])
    for y in region.outputs:
        value[y] = np.ascontiguousarray(local[y])


def check(graph: Graph, arrays: Sequence[np.ndarray], tolerance: float = 1e-5) -> Plan:
    """Compare a fused graph with the interpreter, chunks run forwards and backwards."""
    plan = fuse(graph)
    with np.errstate(all="ignore"):
        wanted = interpret.run(graph, arrays)
    got = run_plan(plan, arrays)
    for a, b in zip(got, run_plan(plan, arrays, backwards=True), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=str(graph))
    return plan
