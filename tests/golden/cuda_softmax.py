"""max_sub_exp_sum_div_rows: 64 threads share a row, held in registers; a block does 4.

max, reshape, sub, exp, sum, reshape, div
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    exp_f32,
    fold_add_f32_2,
    fold_add_f32_32,
    fold_maximum_f32_2,
    fold_maximum_f32_32,
    load4_f32,
    maximum_f32,
    quotient,
    rest,
    shared_f32_8,
    store4_f32,
)


def max_sub_exp_sum_div_rows(n0, n1, n2, x0, x1):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    lane0 = np.int32(rest(thread, np.int32(64)))
    g0 = np.int32(quotient(thread, np.int32(64)))
    group0 = np.int32(block * 4 + g0)
    at0 = np.int32(min(group0, n0 - 1))
    first0 = np.int32(lane0 * 4)
    at1 = np.int32(at0 * n2)
    load_0, load_1, load_2, load_3 = load4_f32(x0, np.int32(at1 + first0))
    maximum_row0 = fold_maximum_f32_32(maximum_f32(maximum_f32(load_0, load_1), maximum_f32(load_2, load_3)))
    room_1 = shared_f32_8()
    if (thread & 31) == 0:
        room_1[thread >> 5] = maximum_row0
    cuda.syncthreads()
    maximum_row0 = fold_maximum_f32_2(room_1[(thread >> 6) * 2 + (thread & 1)])
    sub_0 = load_0 - maximum_row0
    exp_0 = exp_f32(sub_0)
    sub_1 = load_1 - maximum_row0
    exp_1 = exp_f32(sub_1)
    sub_2 = load_2 - maximum_row0
    exp_2 = exp_f32(sub_2)
    sub_3 = load_3 - maximum_row0
    exp_3 = exp_f32(sub_3)
    add_row0 = fold_add_f32_32((exp_0 + exp_1) + (exp_2 + exp_3))
    room_2 = shared_f32_8()
    if (thread & 31) == 0:
        room_2[thread >> 5] = add_row0
    cuda.syncthreads()
    add_row0 = fold_add_f32_2(room_2[(thread >> 6) * 2 + (thread & 1)])
    div_0 = exp_0 / add_row0
    div_1 = exp_1 / add_row0
    div_2 = exp_2 / add_row0
    div_3 = exp_3 / add_row0
    if group0 < n0:
        store4_f32(x1, np.int32(at1 + first0), div_0, div_1, div_2, div_3)
