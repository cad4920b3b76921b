"""abs_sum_parts: an iteration is a block of a row."""

import numpy as np

from graphgrad.kernels.abi import f32
from graphgrad.kernels.vecmath import abs_f32


def abs_sum_parts(args, start, stop, chunk):
    x0 = f32(args, 2)
    p0 = f32(args, 3)
    for row in range(start, stop):
        first0 = row * args[0]
        count0 = min(args[0], args[1] - first0)
        acc0 = np.float32(0.0)
        x0_0 = x0 + first0
        for j0 in range(count0):
            load_0 = x0_0[j0]
            abs_0 = abs_f32(load_0)
            acc0 = acc0 + abs_0
        p0_0 = p0 + row
        p0_0[0] = acc0


"""abs_sum_combine: an iteration is a row."""

import numpy as np

from graphgrad.kernels.abi import f32


def abs_sum_combine(args, start, stop, chunk):
    p0 = f32(args, 0)
    x0 = f32(args, 2)
    acc0 = np.float32(0.0)
    for j0 in range(args[1]):
        load_0 = p0[j0]
        acc0 = acc0 + load_0
    x0[0] = acc0
