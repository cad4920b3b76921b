"""What the machine can do, measured: the two lines of its roofline."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import graphgrad

# Half a gigabyte: more than caches hold, and no hardship.
_NUMBERS = 1 << 27
_REPEATS = 5


@dataclass(frozen=True)
class Machine:
    """Operations and bytes a second of all ``threads`` together."""

    threads: int
    flops: float
    bandwidth: float

    def least_seconds(self, flops: float, nbytes: float) -> float:
        """No program does so much in less time, unless its data come from a cache."""
        return max(flops / self.flops, nbytes / self.bandwidth)

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:.0f} GFLOP/s of multiply-adds, "
            f"{self.bandwidth / 1e9:.1f} GB/s of memory, {self.threads} thread(s)"
        )


def core_flops() -> float:
    """What the multiply-add units of one core can do now, in operations a second.

    A shared machine's clock changes within seconds.
    """
    from graphgrad.kernels.contract.peak import measure_fma_peak

    return measure_fma_peak("float32")


@functools.cache
def measured(threads: int) -> Machine:
    """Measure the machine once; graphgrad's thread count must be ``threads``."""
    return Machine(threads, threads * core_flops(), _bandwidth())


def _bandwidth() -> float:
    """An array scaled in place: one stream read, the same one written."""
    x = graphgrad.ones(_NUMBERS)

    @graphgrad.compile
    def scale() -> None:
        x.mul_(0.5)

    scale()
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        scale()
        best = min(best, time.perf_counter() - start)
    return 2 * 4 * _NUMBERS / best
