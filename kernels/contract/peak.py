"""Measure the fused multiply-add peak of one core: the yardstick of the contraction engine.

`measure_fma_peak("float32")` runs a loop of independent multiply-adds on registers alone, so
nothing but the arithmetic units can bound it. Compare `2 * m * n * k / seconds` of a product with
it.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from .host import host
from .lanes import Lanes, int64
from .micro import Loop

CHAINS = 12  # two units times a latency of 4 cycles need 8; more than 14 would not fit 16 registers
STEPS = 50_000
REPEATS = 40


@intrinsic(prefer_literal=True)
def multiply_add_chains(typingctx, dtype, lanes, steps, cell):
    """`steps` multiply-adds on each of `CHAINS` vectors made of the number at `cell`."""

    def generate(context, builder, signature, values):
        vector = Lanes(builder, dtype.literal_value, lanes.literal_value)
        steps, cell = values[2:]
        number = vector.broadcast(cell)
        with Loop(builder, steps, [number] * CHAINS) as loop:
            loop.next = [vector.multiply_add(number, number, chain) for chain in loop.values]
        total, *rest = loop.values
        for chain in rest:
            total = builder.fadd(total, chain)
        vector.store(total, cell, vector.mask(int64(1)))
        return context.get_dummy_value()

    return types.none(dtype, lanes, types.int64, types.int64), generate


def measure_fma_peak(dtype: str) -> float:
    """Operations a second of one core, best of many; a multiply-add counts as two."""
    lanes = host().lanes(dtype)

    def chains(steps, cell):
        multiply_add_chains(dtype, lanes, steps, cell)

    compiled = njit("void(int64, int64)")(chains)
    cell = np.ones(1, dtype)
    fastest = float("inf")
    for _ in range(REPEATS):
        start = perf_counter()
        compiled(STEPS, cell.ctypes.data)
        fastest = min(fastest, perf_counter() - start)
    return 2 * STEPS * CHAINS * lanes / fastest
