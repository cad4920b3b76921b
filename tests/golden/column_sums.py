"""mul_sum_loop: an iteration is a block of columns."""

import numpy as np

from graphgrad.kernels.abi import f32


def mul_sum_loop(args, start, stop, chunk):
    s0 = f32(args, 2)
    s1 = s0 + chunk * args[3]
    x0 = f32(args, 5)
    x1 = f32(args, 7)
    for row in range(start, stop):
        first0 = row * args[0]
        count0 = min(args[0], args[1] - first0)
        for j0 in range(count0):
            s1[j0] = np.float32(0.0)
        x0_0 = x0 + first0
        for j1 in range(args[6]):
            at0 = j1 * args[4]
            x0_1 = x0_0 + at0
            for j2 in range(count0):
                load_0 = x0_1[j2]
                mul_0 = load_0 * load_0
                acc0 = s1[j2] + mul_0
                s1[j2] = acc0
        x1_0 = x1 + first0
        for j3 in range(count0):
            row0 = s1[j3]
            x1_0[j3] = row0
