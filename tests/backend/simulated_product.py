"""A product in numba's simulator (NUMBA_ENABLE_CUDASIM=1, read when numba is imported)."""

from __future__ import annotations

import numpy as np
from graphgrad.kernels.cuda.compiler import function_of
from graphgrad.kernels.cuda.contract import lower_contraction
from graphgrad.kernels.cuda.emit import emit
from numba import cuda

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, node
from graphgrad.passes.fuse import fuse


def main() -> None:
    a, b = (ir.input(shape, dtypes.float32) for shape in ((9, 34, 5), (34, 40)))
    last = node("slice", a, start=(0, 0, 2), stop=(9, 34, 3), step=(1, 1, 1))
    left = node("reshape", last, shape=(9, 34))
    dot = node("dot_general", left, b, contract=((1,), (0,)), batch=((), ()))
    (region,) = fuse(Graph([a, b], [dot]))
    (call,) = lower_contraction(region)
    rng = np.random.default_rng(0)
    memory = {x: rng.standard_normal(x.shape).astype("f4") for x in (a, b)}
    memory[dot] = np.full(dot.shape, np.nan, "f4")

    def argument(slot):
        if slot[0] == "ptr":
            return memory[slot[1]].ravel()[(slot[2] if len(slot) > 2 else 0) // 4 :]
        return slot[1] if slot[0] == "table" else np.int32(slot[1])

    kernel = cuda.jit(function_of(call.kernel, emit(call.kernel, shuffles=False)))
    kernel[call.grid, call.block](*map(argument, call.slots))
    wanted = memory[a][:, :, 2].astype(float) @ memory[b].astype(float)
    np.testing.assert_allclose(memory[dot], wanted, rtol=0, atol=1e-4)


if __name__ == "__main__":
    main()
