"""scatter_add_points: a thread does 4 elements.

reshape, expand, scatter_add
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    load4_f32,
    store4_f32,
)


def scatter_add_points(x0, x1, n2):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    i0 = np.int32((block * 256 + thread) * 4)
    if i0 < n2:
        load_0, load_1, load_2, load_3 = load4_f32(x0, i0)
        store4_f32(x1, i0, load_0, load_1, load_2, load_3)


"""scatter_add_points: a thread does an element.

reshape, expand, scatter_add
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    add_f32,
    quotient,
    rest,
)


def scatter_add_points(n0, x0, x1, error3, n4, n5, x2, n7):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    i0 = np.int32(block * 256 + thread)
    if i0 < n7:
        i1 = np.int32(rest(i0, n0))
        outer0 = np.int32(quotient(i0, n0))
        load_0 = x0[i0]
        load_1 = x1[outer0]
        index0 = np.int64(load_1)
        if index0 < 0 or index0 >= n4:
            error3[0] = 1
            index0 = np.int64(0)
        at0 = np.int32(i1 + index0 * n5)
        add_f32(x2, at0, load_0)
