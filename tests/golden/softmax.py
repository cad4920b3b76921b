"""max_sub_exp_sum_div_loop: an iteration is a row, walked 3 times."""

import numpy as np

from graphgrad.kernels.abi import f32
from graphgrad.kernels.vecmath import exp_f32, maximum_f32


def max_sub_exp_sum_div_loop(args, start, stop, chunk):
    x0 = f32(args, 1)
    s0 = f32(args, 3)
    s1 = s0 + chunk * args[4]
    x1 = f32(args, 5)
    for row in range(start, stop):
        acc0 = np.float32(-np.inf)
        at0 = row * args[0]
        x0_0 = x0 + at0
        for j0 in range(args[2]):
            load_0 = x0_0[j0]
            acc0 = maximum_f32(acc0, load_0)
        acc1 = np.float32(0.0)
        for j1 in range(args[2]):
            load_1 = x0_0[j1]
            sub_0 = load_1 - acc0
            exp_0 = exp_f32(sub_0)
            acc1 = acc1 + exp_0
            s1[j1] = exp_0
        x1_0 = x1 + at0
        for j2 in range(args[2]):
            exp_1 = s1[j2]
            div_0 = exp_1 / acc1
            x1_0[j2] = div_0
