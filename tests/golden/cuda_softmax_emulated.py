"""max_sub_exp_sum_div_rows, emulated: 64 threads share a row, held in registers; a block does 4.

max, reshape, sub, exp, sum, reshape, div
"""

from graphgrad.kernels.abi import f32
from graphgrad.kernels.vecmath import exp_f32, maximum_f32


def max_sub_exp_sum_div_rows(args, start, stop, chunk):
    x0 = f32(args, 3)
    x1 = f32(args, 4)
    maximum_row0 = f32(args, 5) + chunk * 256
    add_row0 = f32(args, 6) + chunk * 256
    load_0 = f32(args, 7) + chunk * 256
    load_1 = f32(args, 8) + chunk * 256
    load_2 = f32(args, 9) + chunk * 256
    load_3 = f32(args, 10) + chunk * 256
    exp_0 = f32(args, 11) + chunk * 256
    exp_1 = f32(args, 12) + chunk * 256
    exp_2 = f32(args, 13) + chunk * 256
    exp_3 = f32(args, 14) + chunk * 256
    for block in range(start, stop):
        for thread in range(256):
            g0 = thread // 64
            group0 = block * 4 + g0
            at0 = min(group0, args[0] - 1)
            at1 = at0 * args[2]
            lane0 = thread % 64
            first0 = lane0 * 4
            load_0[thread] = x0[at1 + first0]
            load_1[thread] = x0[(at1 + first0) + 1]
            load_2[thread] = x0[(at1 + first0) + 2]
            load_3[thread] = x0[(at1 + first0) + 3]
        for thread in range(256):
            maximum_row0[thread] = maximum_f32(maximum_f32(load_0[thread], load_1[thread]), maximum_f32(load_2[thread], load_3[thread]))
        for group in range(0, 256, 32):
            for j in range(group, group + 16):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 16])
        for group in range(0, 256, 32):
            for j in range(group, group + 8):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 8])
        for group in range(0, 256, 32):
            for j in range(group, group + 4):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 4])
        for group in range(0, 256, 32):
            for j in range(group, group + 2):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 2])
        for group in range(0, 256, 32):
            for j in range(group, group + 1):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 1])
        for group in range(0, 256, 64):
            for j in range(group, group + 32, 32):
                maximum_row0[j] = maximum_f32(maximum_row0[j], maximum_row0[j + 32])
        for group in range(0, 256, 64):
            for j in range(group + 1, group + 64):
                maximum_row0[j] = maximum_row0[group]
        for thread in range(256):
            sub_0 = load_0[thread] - maximum_row0[thread]
            exp_0[thread] = exp_f32(sub_0)
            sub_1 = load_1[thread] - maximum_row0[thread]
            exp_1[thread] = exp_f32(sub_1)
            sub_2 = load_2[thread] - maximum_row0[thread]
            exp_2[thread] = exp_f32(sub_2)
            sub_3 = load_3[thread] - maximum_row0[thread]
            exp_3[thread] = exp_f32(sub_3)
        for thread in range(256):
            add_row0[thread] = (exp_0[thread] + exp_1[thread]) + (exp_2[thread] + exp_3[thread])
        for group in range(0, 256, 32):
            for j in range(group, group + 16):
                add_row0[j] = add_row0[j] + add_row0[j + 16]
        for group in range(0, 256, 32):
            for j in range(group, group + 8):
                add_row0[j] = add_row0[j] + add_row0[j + 8]
        for group in range(0, 256, 32):
            for j in range(group, group + 4):
                add_row0[j] = add_row0[j] + add_row0[j + 4]
        for group in range(0, 256, 32):
            for j in range(group, group + 2):
                add_row0[j] = add_row0[j] + add_row0[j + 2]
        for group in range(0, 256, 32):
            for j in range(group, group + 1):
                add_row0[j] = add_row0[j] + add_row0[j + 1]
        for group in range(0, 256, 64):
            for j in range(group, group + 32, 32):
                add_row0[j] = add_row0[j] + add_row0[j + 32]
        for group in range(0, 256, 64):
            for j in range(group + 1, group + 64):
                add_row0[j] = add_row0[group]
        for thread in range(256):
            g0 = thread // 64
            group0 = block * 4 + g0
            at0 = min(group0, args[0] - 1)
            at1 = at0 * args[2]
            lane0 = thread % 64
            first0 = lane0 * 4
            div_0 = exp_0[thread] / add_row0[thread]
            div_1 = exp_1[thread] / add_row0[thread]
            div_2 = exp_2[thread] / add_row0[thread]
            div_3 = exp_3[thread] / add_row0[thread]
            if group0 < args[0]:
                x1[at1 + first0] = div_0
                x1[(at1 + first0) + 1] = div_1
                x1[(at1 + first0) + 2] = div_2
                x1[(at1 + first0) + 3] = div_3
