"""sum_mul_sub_mul_sum_mul_rows: 64 threads share a row, held in registers; a block does 4.

sum, mul, reshape, sub, mul, sum, mul, add, rsqrt, reshape, mul, mul, add
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    fold_add_f32_2,
    fold_add_f32_32,
    load4_f32,
    quotient,
    rest,
    rsqrt_f32,
    shared_f32_8,
    store4_f32,
)


def sum_mul_sub_mul_sum_mul_rows(n0, n1, n2, x0, c4, c5, x1, x2, x3):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    scalar_0 = np.float32(c4)
    scalar_1 = np.float32(c5)
    lane0 = np.int32(rest(thread, np.int32(64)))
    g0 = np.int32(quotient(thread, np.int32(64)))
    group0 = np.int32(block * 4 + g0)
    at0 = np.int32(min(group0, n0 - 1))
    first0 = np.int32(lane0 * 4)
    at1 = np.int32(at0 * n2)
    load_0, load_1, load_2, load_3 = load4_f32(x0, np.int32(at1 + first0))
    add_row0 = fold_add_f32_32((load_0 + load_1) + (load_2 + load_3))
    room_1 = shared_f32_8()
    if (thread & 31) == 0:
        room_1[thread >> 5] = add_row0
    cuda.syncthreads()
    add_row0 = fold_add_f32_2(room_1[(thread >> 6) * 2 + (thread & 1)])
    mul_0 = add_row0 * scalar_0
    sub_0 = load_0 - mul_0
    mul_1 = sub_0 * sub_0
    sub_1 = load_1 - mul_0
    mul_2 = sub_1 * sub_1
    sub_2 = load_2 - mul_0
    mul_3 = sub_2 * sub_2
    sub_3 = load_3 - mul_0
    mul_4 = sub_3 * sub_3
    add_row1 = fold_add_f32_32((mul_1 + mul_2) + (mul_3 + mul_4))
    room_2 = shared_f32_8()
    if (thread & 31) == 0:
        room_2[thread >> 5] = add_row1
    cuda.syncthreads()
    add_row1 = fold_add_f32_2(room_2[(thread >> 6) * 2 + (thread & 1)])
    mul_5 = add_row1 * scalar_0
    add_0 = mul_5 + scalar_1
    rsqrt_0 = rsqrt_f32(add_0)
    mul_6 = sub_0 * rsqrt_0
    load_4, load_5, load_6, load_7 = load4_f32(x1, first0)
    mul_7 = mul_6 * load_4
    load_8, load_9, load_10, load_11 = load4_f32(x2, first0)
    add_1 = mul_7 + load_8
    mul_8 = sub_1 * rsqrt_0
    mul_9 = mul_8 * load_5
    add_2 = mul_9 + load_9
    mul_10 = sub_2 * rsqrt_0
    mul_11 = mul_10 * load_6
    add_3 = mul_11 + load_10
    mul_12 = sub_3 * rsqrt_0
    mul_13 = mul_12 * load_7
    add_4 = mul_13 + load_11
    if group0 < n0:
        store4_f32(x3, np.int32(at1 + first0), add_1, add_2, add_3, add_4)
