"""add_mul_mul_erf_add_mul_loop: an iteration is a row."""

import numpy as np

from graphgrad.kernels.abi import f32, fscalar
from graphgrad.kernels.vecmath import erf_f32


def add_mul_mul_erf_add_mul_loop(args, start, stop, chunk):
    x0 = f32(args, 1)
    x1 = f32(args, 2)
    scalar_0 = np.float32(fscalar(args, 3))
    scalar_1 = np.float32(fscalar(args, 4))
    scalar_2 = np.float32(fscalar(args, 5))
    x2 = f32(args, 6)
    for row in range(start, stop):
        at0 = row * args[0]
        x0_0 = x0 + at0
        x2_0 = x2 + at0
        for j0 in range(args[7]):
            load_0 = x0_0[j0]
            load_1 = x1[j0]
            add_0 = load_0 + load_1
            mul_0 = add_0 * scalar_0
            mul_1 = add_0 * scalar_1
            erf_0 = erf_f32(mul_1)
            add_1 = erf_0 + scalar_2
            mul_2 = mul_0 * add_1
            x2_0[j0] = mul_2
