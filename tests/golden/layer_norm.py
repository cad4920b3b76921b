"""sum_mul_sub_mul_sum_mul_loop: an iteration is a row, walked 3 times."""

import numpy as np

from graphgrad.kernels.abi import f32, fscalar
from graphgrad.kernels.vecmath import rsqrt_f32


def sum_mul_sub_mul_sum_mul_loop(args, start, stop, chunk):
    x0 = f32(args, 1)
    scalar_0 = np.float32(fscalar(args, 3))
    scalar_1 = np.float32(fscalar(args, 4))
    x1 = f32(args, 5)
    x2 = f32(args, 6)
    x3 = f32(args, 7)
    for row in range(start, stop):
        acc0 = np.float32(0.0)
        at0 = row * args[0]
        x0_0 = x0 + at0
        for j0 in range(args[2]):
            load_0 = x0_0[j0]
            acc0 = acc0 + load_0
        acc1 = np.float32(0.0)
        mul_0 = acc0 * scalar_0
        for j1 in range(args[2]):
            load_1 = x0_0[j1]
            sub_0 = load_1 - mul_0
            mul_1 = sub_0 * sub_0
            acc1 = acc1 + mul_1
        mul_2 = acc1 * scalar_0
        add_0 = mul_2 + scalar_1
        rsqrt_0 = rsqrt_f32(add_0)
        x3_0 = x3 + at0
        for j2 in range(args[2]):
            load_2 = x0_0[j2]
            sub_1 = load_2 - mul_0
            mul_3 = sub_1 * rsqrt_0
            load_3 = x1[j2]
            mul_4 = mul_3 * load_3
            load_4 = x2[j2]
            add_1 = mul_4 + load_4
            x3_0[j2] = add_1
