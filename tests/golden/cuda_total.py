"""abs_sum_parts_rows: 512 threads share a row, walked in a loop.

abs, sum
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    abs_f32,
    fold_add_f32_16,
    fold_add_f32_32,
    load4_f32,
    shared_f32_16,
)


def abs_sum_parts_rows(n0, n1, x0, p0):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    group0 = block
    start0 = np.int32(group0 * n1)
    stop0 = np.int32(min(start0 + n1, n0))
    first0 = np.int32(start0 + thread * 4)
    acc0 = np.float32(0.0)
    for k0 in range(first0, stop0, np.int32(2048)):
        load_0, load_1, load_2, load_3 = load4_f32(x0, k0)
        abs_0 = abs_f32(load_0)
        abs_1 = abs_f32(load_1)
        abs_2 = abs_f32(load_2)
        abs_3 = abs_f32(load_3)
        acc0 = acc0 + ((abs_0 + abs_1) + (abs_2 + abs_3))
    add_row0 = fold_add_f32_32(acc0)
    room_1 = shared_f32_16()
    if (thread & 31) == 0:
        room_1[thread >> 5] = add_row0
    cuda.syncthreads()
    add_row0 = fold_add_f32_16(room_1[(thread & 15)])
    if thread == 0:
        p0[group0] = add_row0


"""abs_sum_combine_rows: 16 threads share a row, held in registers; a block does 16.

the parts of: abs, sum
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    fold_add_f32_16,
    load4_f32,
    quotient,
    rest,
)


def abs_sum_combine_rows(n0, n1, p0, x0):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    lane0 = np.int32(rest(thread, np.int32(16)))
    g0 = np.int32(quotient(thread, np.int32(16)))
    group0 = np.int32(block * 16 + g0)
    at0 = np.int32(min(group0, n0 - 1))
    first0 = np.int32(lane0 * 4)
    load_0, load_1, load_2, load_3 = load4_f32(p0, first0)
    add_row0 = fold_add_f32_16((load_0 + load_1) + (load_2 + load_3))
    if (lane0 == 0) and (group0 < n0):
        x0[0] = add_row0
