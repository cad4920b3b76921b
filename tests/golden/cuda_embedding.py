"""gather_points: a thread does 4 elements.

reshape, expand, gather
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    load4_f32,
    quotient,
    rest,
    store4_f32,
)


def gather_points(n0, x0, error2, n3, n4, x1, x2, n7):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    i0 = np.int32((block * 256 + thread) * 4)
    if i0 < n7:
        i1 = np.int32(rest(i0, n0))
        outer0 = np.int32(quotient(i0, n0))
        load_0 = x0[outer0]
        index0 = np.int64(load_0)
        if index0 < 0 or index0 >= n3:
            error2[0] = 1
            index0 = np.int64(0)
        at0 = np.int32(index0 * n4)
        load_1, load_2, load_3, load_4 = load4_f32(x1, np.int32(at0 + i1))
        store4_f32(x2, i0, load_1, load_2, load_3, load_4)
