"""gather_points: a thread does 4 elements.

reshape, expand, gather
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    quotient,
    rest,
    store4_f32,
)


def gather_points(n0, x0, error2, n3, n4, x1, n6, x2, n8):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    i0 = np.int32((block * 256 + thread) * 4)
    if i0 < n8:
        i1 = np.int32(rest(i0, n0))
        outer0 = np.int32(quotient(i0, n0))
        load_0 = x0[outer0]
        index0 = load_0
        if index0 < 0 or index0 >= n3:
            error2[0] = 1
            index0 = np.int64(0)
        at0 = np.int32(index0 * n4)
        load_1 = x1[at0 + i1]
        load_2 = x1[at0 + (i1 + 1)]
        load_3 = x1[at0 + (i1 + 2)]
        load_4 = x1[at0 + (i1 + 3)]
        at1 = np.int32(outer0 * n6)
        store4_f32(x2, np.int32(at1 + i1), load_1, load_2, load_3, load_4)
