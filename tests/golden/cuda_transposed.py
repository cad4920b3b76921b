"""permute_tiles: a block does 32 x 32 elements, turned in shared memory.

permute
"""

import numpy as np
from numba import cuda

from graphgrad.kernels.cuda.device import (
    quotient,
    rest,
    shared_f32_1056,
)


def permute_tiles(n0, n1, n2, n3, x1, n5, x2):
    thread = cuda.threadIdx.x
    block = cuda.blockIdx.x
    y0 = np.int32(quotient(thread, np.int32(32)))
    x0 = np.int32(rest(thread, np.int32(32)))
    tile0 = np.int32(rest(block, n0))
    rest0 = np.int32(quotient(block, n0))
    first0 = np.int32(rest0 * 32)
    first1 = np.int32(tile0 * 32)
    turned0 = shared_f32_1056()
    right0 = y0
    i0 = np.int32(first0 + x0)
    i1 = np.int32(first1 + right0)
    if (i0 < n1) and (i1 < n2):
        turned0[right0 * 33 + x0] = x1[i0 + i1 * n3]
    right1 = np.int32(y0 + 8)
    i2 = np.int32(first0 + x0)
    i3 = np.int32(first1 + right1)
    if (i2 < n1) and (i3 < n2):
        turned0[right1 * 33 + x0] = x1[i2 + i3 * n3]
    right2 = np.int32(y0 + 16)
    i4 = np.int32(first0 + x0)
    i5 = np.int32(first1 + right2)
    if (i4 < n1) and (i5 < n2):
        turned0[right2 * 33 + x0] = x1[i4 + i5 * n3]
    right3 = np.int32(y0 + 24)
    i6 = np.int32(first0 + x0)
    i7 = np.int32(first1 + right3)
    if (i6 < n1) and (i7 < n2):
        turned0[right3 * 33 + x0] = x1[i6 + i7 * n3]
    cuda.syncthreads()
    down0 = y0
    i8 = np.int32(first0 + down0)
    i9 = np.int32(first1 + x0)
    if (i8 < n1) and (i9 < n2):
        turned_0 = turned0[x0 * 33 + down0]
        x2[i8 * n5 + i9] = turned_0
    down1 = np.int32(y0 + 8)
    i10 = np.int32(first0 + down1)
    i11 = np.int32(first1 + x0)
    if (i10 < n1) and (i11 < n2):
        turned_1 = turned0[x0 * 33 + down1]
        x2[i10 * n5 + i11] = turned_1
    down2 = np.int32(y0 + 16)
    i12 = np.int32(first0 + down2)
    i13 = np.int32(first1 + x0)
    if (i12 < n1) and (i13 < n2):
        turned_2 = turned0[x0 * 33 + down2]
        x2[i12 * n5 + i13] = turned_2
    down3 = np.int32(y0 + 24)
    i14 = np.int32(first0 + down3)
    i15 = np.int32(first1 + x0)
    if (i14 < n1) and (i15 < n2):
        turned_3 = turned0[x0 * 33 + down3]
        x2[i14 * n5 + i15] = turned_3
