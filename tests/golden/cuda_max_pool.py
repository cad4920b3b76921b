"""max_points: a thread does 4 elements.

window, max
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    maximum_f32,
    quotient,
    rest,
    store4_f32,
)


def max_points(n0, n1, x0, n3, n4, n5, x1, n7):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    i0 = np.int32((block * 256 + thread) * 4)
    if i0 < n7:
        i1 = np.int32(rest(i0, n0))
        outer0 = np.int32(quotient(i0, n0))
        at0 = np.int32(outer0 * n1)
        load_0 = x0[at0 + i1 * 2]
        at1 = np.int32(outer0 * n1 + n3)
        load_1 = x0[at1 + i1 * 2]
        maximum_0 = maximum_f32(load_0, load_1)
        at2 = np.int32(outer0 * n1 + n4)
        load_2 = x0[at2 + i1 * 2]
        at3 = np.int32(outer0 * n1 + n5)
        load_3 = x0[at3 + i1 * 2]
        maximum_1 = maximum_f32(load_2, load_3)
        maximum_2 = maximum_f32(maximum_0, maximum_1)
        load_4 = x0[at0 + (i1 + 1) * 2]
        load_5 = x0[at1 + (i1 + 1) * 2]
        maximum_3 = maximum_f32(load_4, load_5)
        load_6 = x0[at2 + (i1 + 1) * 2]
        load_7 = x0[at3 + (i1 + 1) * 2]
        maximum_4 = maximum_f32(load_6, load_7)
        maximum_5 = maximum_f32(maximum_3, maximum_4)
        load_8 = x0[at0 + (i1 + 2) * 2]
        load_9 = x0[at1 + (i1 + 2) * 2]
        maximum_6 = maximum_f32(load_8, load_9)
        load_10 = x0[at2 + (i1 + 2) * 2]
        load_11 = x0[at3 + (i1 + 2) * 2]
        maximum_7 = maximum_f32(load_10, load_11)
        maximum_8 = maximum_f32(maximum_6, maximum_7)
        load_12 = x0[at0 + (i1 + 3) * 2]
        load_13 = x0[at1 + (i1 + 3) * 2]
        maximum_9 = maximum_f32(load_12, load_13)
        load_14 = x0[at2 + (i1 + 3) * 2]
        load_15 = x0[at3 + (i1 + 3) * 2]
        maximum_10 = maximum_f32(load_14, load_15)
        maximum_11 = maximum_f32(maximum_9, maximum_10)
        store4_f32(x1, i0, maximum_2, maximum_5, maximum_8, maximum_11)
