"""max_loop: an iteration is a row."""

from graphgrad.kernels.abi import f32
from graphgrad.kernels.vecmath import maximum_f32


def max_loop(args, start, stop, chunk):
    x0 = f32(args, 1)
    x0_1 = x0 + args[2]
    x1 = f32(args, 4)
    for row in range(start, stop):
        at0 = row * args[0]
        x0_0 = x0 + at0
        x0_2 = x0_1 + at0
        at1 = row * args[3]
        x1_0 = x1 + at1
        for j0 in range(args[5]):
            load_0 = x0_0[j0 * 2]
            load_1 = x0_0[j0 * 2 + 1]
            maximum_0 = maximum_f32(load_0, load_1)
            load_2 = x0_2[j0 * 2]
            load_3 = x0_2[j0 * 2 + 1]
            maximum_1 = maximum_f32(load_2, load_3)
            maximum_2 = maximum_f32(maximum_0, maximum_1)
            x1_0[j0] = maximum_2
