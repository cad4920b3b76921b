"""Small kernels and what runs them, for tests of the runtime."""

from graphgrad.kernels import cache, recipes

SOURCE = """
import numpy as np

from graphgrad.kernels.abi import f32, fscalar, i64, u8


def axpy(args, start, stop, chunk):
    x = f32(args, 0)
    y = f32(args, 1)
    a = np.float32(fscalar(args, 2))
    for i in range(start, stop):
        y[i] = y[i] + a * x[i]


def mix(args, start, stop, chunk):
    total = i64(args, 0)
    total[0] = (total[0] * 31 + args[1] + stop) % 1000003


def spread(args, start, stop, chunk):
    out = i64(args, 0)
    parts = i64(args, 1)
    for i in range(start, stop):
        out[i] = (out[i] * 7 + args[2] + i) % 10007
    parts[chunk] = parts[chunk] + (stop - start) * (chunk + 1)


def tick(args, start, stop, chunk):
    count = i64(args, 0)
    flag = u8(args, 1)
    count[0] = count[0] + 1
    flag[0] = count[0] % args[2] != 0


def fail(args, start, stop, chunk):
    error = i64(args, 0)
    total = i64(args, 1)
    if total[0] == args[2]:
        error[0] = 7
    total[0] = total[0] + 1


def nothing(args, start, stop, chunk):
    pass
"""


def kernel(name: str) -> cache.Kernel:
    return cache.load_kernel(name, SOURCE)


def python(name: str):
    return recipes.from_source(name, SOURCE).function(kernel(name).path)


def wide_source(operands: int) -> str:
    loads = "".join(f"    x{k} = f32(args, {k})\n" for k in range(operands))
    total = " + ".join(f"x{k}[i]" for k in range(operands))
    return (
        "from graphgrad.kernels.abi import f32\n\n\ndef wide(args, start, stop, chunk):\n"
        f"{loads}    for i in range(start, stop):\n        x0[i] = {total}\n"
    )
