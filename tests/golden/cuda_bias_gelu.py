"""add_mul_mul_erf_add_mul_points: a thread does 4 elements.

add, mul, mul, erf, add, mul
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    erf_f32,
    load4_f32,
    quotient,
    rest,
    store4_f32,
)


def add_mul_mul_erf_add_mul_points(n0, x0, x1, c3, c4, c5, x2, n7):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    scalar_0 = np.float32(c3)
    scalar_1 = np.float32(c4)
    scalar_2 = np.float32(c5)
    i0 = np.int32((block * 256 + thread) * 4)
    if i0 < n7:
        i1 = np.int32(rest(i0, n0))
        outer0 = np.int32(quotient(i0, n0))
        load_0, load_1, load_2, load_3 = load4_f32(x0, i0)
        load_4, load_5, load_6, load_7 = load4_f32(x1, i1)
        add_0 = load_0 + load_4
        mul_0 = add_0 * scalar_0
        mul_1 = add_0 * scalar_1
        erf_0 = erf_f32(mul_1)
        add_1 = erf_0 + scalar_2
        mul_2 = mul_0 * add_1
        add_2 = load_1 + load_5
        mul_3 = add_2 * scalar_0
        mul_4 = add_2 * scalar_1
        erf_1 = erf_f32(mul_4)
        add_3 = erf_1 + scalar_2
        mul_5 = mul_3 * add_3
        add_4 = load_2 + load_6
        mul_6 = add_4 * scalar_0
        mul_7 = add_4 * scalar_1
        erf_2 = erf_f32(mul_7)
        add_5 = erf_2 + scalar_2
        mul_8 = mul_6 * add_5
        add_6 = load_3 + load_7
        mul_9 = add_6 * scalar_0
        mul_10 = add_6 * scalar_1
        erf_3 = erf_f32(mul_10)
        add_7 = erf_3 + scalar_2
        mul_11 = mul_9 * add_7
        store4_f32(x2, i0, mul_2, mul_5, mul_8, mul_11)
