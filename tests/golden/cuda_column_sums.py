"""mul_sum_columns: 8 threads share a column, walked in a loop; a block does 32.

mul, sum
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    quotient,
    rest,
    shared_f32_256,
)


def mul_sum_columns(n0, n1, n2, x0, x1):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    lane0 = np.int32(quotient(thread, np.int32(32)))
    g0 = np.int32(rest(thread, np.int32(32)))
    group0 = np.int32(block * 32 + g0)
    at0 = np.int32(min(group0, n0 - 1))
    first0 = lane0
    acc0 = np.float32(0.0)
    for k0 in range(first0, n1, np.int32(8)):
        load_0 = x0[at0 + k0 * n2]
        mul_0 = load_0 * load_0
        acc0 = acc0 + mul_0
    room_1 = shared_f32_256()
    room_1[thread] = acc0
    cuda.syncthreads()
    if (thread >> 5) < 4:
        room_1[thread] = room_1[thread] + room_1[thread + 128]
    cuda.syncthreads()
    if (thread >> 5) < 2:
        room_1[thread] = room_1[thread] + room_1[thread + 64]
    cuda.syncthreads()
    if (thread >> 5) < 1:
        room_1[thread] = room_1[thread] + room_1[thread + 32]
    cuda.syncthreads()
    add_row0 = room_1[thread & 31]
    if (lane0 == 0) and (group0 < n0):
        x1[at0] = add_row0
