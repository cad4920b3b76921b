"""Grid kernels under numba's CUDA simulator: a program, because numba asks for it once, at import.

python cuda_simulated.py mlp gpt        # prints {model: [kernels run, left out]}; raises if one
                                        # differs from the interpreter
"""

from __future__ import annotations

import os

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import contextlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
with contextlib.suppress(ImportError):
    import _numba_cuda_redirector  # noqa: F401

from typing import Any

import cuda_zoo
import numpy as np
import pytest
from cuda_models import Loop
from graphgrad.kernels import loopir as ir
from graphgrad.kernels.cuda import compiler, emit
from graphgrad.kernels.cuda.call import GridCall
from graphgrad.kernels.cuda.gridir import walk
from graphgrad.kernels.cuda.lower import lower_region
from graphgrad.kernels.cuda.source import NUMBA
from graphgrad.kernels.host import interpret_region, literal
from numba import cuda
from numeric import sample

THREADS = 2600  # a thread takes about a millisecond
MOST = 7  # kernels of a model


def run(call: GridCall, value: dict[Any, np.ndarray], scratch: np.ndarray) -> None:
    """One call, thread by thread."""
    source = emit.emit(call.kernel, shuffles=False)
    function = compiler.function_of(call.kernel, source)
    # The simulator copies what it is given and writes all of it back: pieces may not overlap.
    starts = sorted({s[1] for s in call.slots if s[0] == "scratch"})
    ends = dict(zip(starts, [*starts, len(scratch)][1:], strict=True))
    memory = {x.slot: x.dtype for x in walk(call.kernel.body) if isinstance(x, ir.Pointer)}

    def argument(k: int, slot: tuple[Any, ...]) -> Any:
        kind = slot[0]
        if kind == "scalar":
            return literal(slot[1]).item()
        if kind == "error":
            return np.zeros(2, np.int64)
        if kind == "ptr":
            flat = value[slot[1]].reshape(-1)
        elif kind == "scratch":
            flat = scratch[slot[1] : ends[slot[1]]]
        else:
            return slot[1]
        name = NUMBA.get(memory[k].name, memory[k].name)
        return flat.view(name)

    arguments = [argument(k, slot) for k, slot in enumerate(call.slots)]
    cuda.jit(function)[call.grid, call.block](*arguments)


def simulate(loop: Loop, seen: set[str]) -> bool:
    """Whether a region of new kernels, small enough, was run; and agrees."""
    region, inplace = loop
    calls = lower_region(region, inplace)
    new = {call.source for call in calls} - seen
    if not new or sum(call.grid * call.block for call in calls) > THREADS:
        return False
    seen |= new
    rng = np.random.default_rng(0)
    value = {x: sample(x, rng) for x in region.inputs}
    with np.errstate(all="ignore"):
        wanted = interpret_region(region, [value[x] for x in region.inputs])
    for y in region.outputs:
        value[y] = value[inplace[y]] if y in inplace else np.zeros(y.shape, y.dtype.numpy)
    scratch = np.zeros(max(call.scratch_bytes for call in calls), np.uint8)
    for call in calls:
        run(call, value, scratch)
    for y, right in zip(region.outputs, wanted, strict=True):
        scale = max(1.0, float(np.abs(right[np.isfinite(right)]).max(initial=0)))
        np.testing.assert_allclose(value[y], right, 1e-4, 2e-5 * scale, err_msg=calls[0].source)
    return True


def main(names: list[str]) -> None:
    seen: set[str] = set()
    report = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            loops, ran = cuda_zoo.planned(name, patch), 0
            for loop in loops:
                ran += ran < MOST and simulate(loop, seen)
            report[name] = [ran, len(loops) - ran]
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
