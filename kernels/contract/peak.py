"""Measure the fused multiply-add peak of one core: the yardstick of the contraction engine.

`measure_fma_peak("float32")` runs a loop of independent multiply-adds on registers alone, so
nothing but the arithmetic units can bound it. Compare `2 * m * n * k / seconds` of a product with
it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import perf_counter

import numpy as np

from .. import cache
from ..front.instruction import machine_instruction
from .host import host
from .lanes import Lanes, int64
from .micro import Loop

CHAINS = 12  # two units times a latency of 4 cycles need 8; more than 14 would not fit 16 registers
STEPS = 50_000
REPEATS = 40


@machine_instruction(literals=2)
def multiply_add_chains(builder, dtype, lanes, steps, cell):
    """`steps` multiply-adds on each of `CHAINS` vectors made of the number at `cell`."""
    vector = Lanes(builder, dtype, lanes)
    number = vector.broadcast(cell)
    with Loop(builder, steps, [number] * CHAINS) as loop:
        loop.next = [vector.multiply_add(number, number, chain) for chain in loop.values]
    total, *rest = loop.values
    for chain in rest:
        total = builder.fadd(total, chain)
    vector.store(total, cell, vector.mask(int64(1)))


def chains_function(dtype: str, lanes: int) -> Callable:
    """The function that is timed."""

    def chains(steps, cell):
        multiply_add_chains(dtype, lanes, steps, cell)

    chains.words_only = True  # type: ignore[attr-defined]
    return chains


def measure_fma_peak(dtype: str) -> float:
    """Operations a second of one core, best of many; a multiply-add counts as two."""
    lanes = host().lanes(dtype)
    kernel = cache.load_template(f"{__name__}:chains_function", dtype, lanes)
    compiled = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel.address)
    cell = np.ones(1, dtype)
    fastest = float("inf")
    for _ in range(REPEATS):
        start = perf_counter()
        compiled(STEPS, cell.ctypes.data)
        fastest = min(fastest, perf_counter() - start)
    return 2 * STEPS * CHAINS * lanes / fastest
