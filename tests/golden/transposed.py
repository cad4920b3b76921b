"""permute_loop: an iteration is a block of two loops, one contiguous for each operand."""

from graphgrad.kernels.abi import f32


def permute_loop(args, start, stop, chunk):
    x0 = f32(args, 6)
    x1 = f32(args, 8)
    for row in range(start, stop):
        block0 = row % args[1]
        first0 = block0 * args[2]
        count0 = min(args[2], args[0] - first0)
        outer0 = row // args[1]
        first1 = outer0 * args[3]
        count1 = min(args[3], args[4] - first1)
        at0 = first0 * args[5] + first1
        x0_0 = x0 + at0
        at1 = first0 + first1 * args[7]
        x1_0 = x1 + at1
        for j0 in range(count1):
            x0_1 = x0_0 + j0
            at2 = j0 * args[7]
            x1_1 = x1_0 + at2
            for j1 in range(count0):
                load_0 = x0_1[j1 * args[5]]
                x1_1[j1] = load_0
