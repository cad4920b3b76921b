"""``graphgrad bench --profile``: a compiled step kernel by kernel, on the machine's roofline.

print(profile("LeNet-5, SGD", threads=1))            # a line a kernel, slowest first
print(profile("LeNet-5, SGD", threads=1).by_row())   # a line a row of the program, in order
"""

from __future__ import annotations

from typing import Any

import graphgrad
from graphgrad.bench.contestants import Compiler, available, cores
from graphgrad.bench.workload import Workload
from graphgrad.profiler.step import Profile, profile_step


def profile(workload: Workload, threads: int) -> Profile:
    """Build a workload, run it compiled until it is warm, and time its rows."""
    with cores(threads or available()):
        compiler = Compiler()
        step = workload.build(graphgrad, compiler)

        def program() -> Any:
            (found,) = compiler.programs()
            return found

        return profile_step(workload.name, step, program)
