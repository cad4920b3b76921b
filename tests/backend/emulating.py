"""Running grid calls on the emulator without a Program: every chunk, in any order."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from graphgrad.kernels.cache import compile_many
from graphgrad.kernels.cuda.call import GridCall
from graphgrad.kernels.cuda.emulate import emulated

from graphgrad.ir import Node

KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), *[ctypes.c_int64] * 3)
ALIGN = 64


def run_calls(
    calls: Sequence[GridCall], value: dict[Node, np.ndarray], backwards: bool = False
) -> None:
    """Run grid calls over arrays by node. Scratch holds NaNs before, and nothing beyond it may be
    written."""
    calls = [emulated(call) for call in calls]
    nbytes = max((call.scratch_bytes for call in calls), default=0)
    scratch = np.full(nbytes + 2 * ALIGN, 0xFF, np.uint8)
    base = -(-scratch.ctypes.data // ALIGN) * ALIGN

    def word(slot: tuple[Any, ...]) -> int:
        kind, what = slot[0], slot[1]
        if kind == "ptr":
            return value[what].ctypes.data + (slot[2] if len(slot) > 2 else 0)
        if kind == "table":
            return what.ctypes.data
        return base + what if kind == "scratch" else what

    kernels = compile_many([(call.name, call.source) for call in calls])
    for call, kernel in zip(calls, kernels, strict=True):
        args = (ctypes.c_int64 * len(call.slots))(*map(word, call.slots))
        step = call.grain or max(call.extent, 1)
        chunks = list(enumerate(range(0, call.extent, step)))
        for chunk, start in reversed(chunks) if backwards else chunks:
            KERNEL(kernel.address)(args, start, min(start + step, call.extent), chunk)
    assert (scratch[base - scratch.ctypes.data + nbytes :] == 0xFF).all()
