"""gather_loop: an iteration is a row."""

from graphgrad.kernels.abi import f32, i64


def gather_loop(args, start, stop, chunk):
    x0 = i64(args, 0)
    x1 = f32(args, 4)
    x2 = f32(args, 6)
    for row in range(start, stop):
        x0_0 = x0 + row
        load_0 = x0_0[0]
        index0 = load_0
        if index0 < 0 or index0 >= args[2]:
            i64(args, 1)[0] = 1
            index0 = 0
        at0 = index0 * args[3]
        x1_0 = x1 + at0
        at1 = row * args[5]
        x2_0 = x2 + at1
        for j0 in range(args[7]):
            load_1 = x1_0[j0]
            x2_0[j0] = load_1
