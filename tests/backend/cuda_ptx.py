"""Kernels compiled in processes of their own: numba works on one function at a time.

for name, arch, report in reports(kernels, "sm_90"): ...
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from graphgrad.kernels.cuda import compiler
from graphgrad.kernels.cuda.gridir import GridKernel

PROCESSES = 2


def can_compile() -> bool:
    """Whether numba-cuda and the compiler below it are installed."""
    try:
        import _numba_cuda_redirector  # noqa: F401
    except ImportError:
        return False
    from numba.cuda.cudadrv import nvvm

    return nvvm.is_available()


@dataclass(frozen=True)
class Report:
    """What became of a kernel: what ptxas says of it (None: not installed), and its PTX."""

    name: str
    arch: str
    usage: compiler.Usage | None
    cubin_bytes: int
    ptx: str

    def count(self, instruction: str) -> int:
        return len(re.findall(instruction, self.ptx))


def report(kernel: GridKernel, arch: str) -> Report:
    ptx = compiler.ptx_of(kernel, arch)
    usage = compiler.assembled(ptx, arch) if compiler.ptxas() else None
    size = 0 if usage else len(compiler.link(ptx, arch))
    return Report(kernel.name, arch, usage, size, ptx)


def reports(kernels: Iterable[tuple[GridKernel, str]]) -> list[Report]:
    """A report for each (kernel, architecture), in their order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        futures = [pool.submit(report, kernel, arch) for kernel, arch in kernels]
        return [future.result() for future in futures]
