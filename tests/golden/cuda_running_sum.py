"""cumsum_scan_rows: 256 threads share a row, walked in a loop.

cumsum
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    fold_add_f32_32,
    fold_add_f32_8,
    scan_add_f32_32,
    shared_f32_8,
)


def cumsum_scan_rows(n0, n1, x0, x1):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    group0 = block
    first0 = thread
    acc0 = np.float32(0.0)
    for tile0 in range(np.int32(0), n0, np.int32(256)):
        k0 = np.int32(tile0 + thread)
        on0 = k0 < n0
        k1 = np.int32(min(k0, n0 - 1))
        at0 = np.int32(group0 * n1)
        load_0 = x0[at0 + k1]
        mine0 = load_0 if on0 else np.float32(0.0)
        prefix0 = scan_add_f32_32(mine0)
        room_1 = shared_f32_8()
        if (thread & 31) == 31:
            room_1[thread >> 5] = prefix0
        cuda.syncthreads()
        for warp in range(thread >> 5):
            prefix0 = room_1[warp] + prefix0
        cuda.syncthreads()
        so_far0 = acc0 + prefix0
        whole0 = fold_add_f32_32(mine0)
        room_2 = shared_f32_8()
        if (thread & 31) == 0:
            room_2[thread >> 5] = whole0
        cuda.syncthreads()
        whole0 = fold_add_f32_8(room_2[(thread & 7)])
        cuda.syncthreads()
        acc0 = acc0 + whole0
        if on0:
            x1[at0 + k1] = so_far0
