"""What the product templates become: PTX, registers, and numbers in numba's simulator."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from graphgrad.kernels.cuda import compiler
from graphgrad.kernels.cuda.contract.maps import Access
from graphgrad.kernels.cuda.contract.parts import parts_kernel
from graphgrad.kernels.cuda.contract.template import Form, product_kernel
from graphgrad.kernels.cuda.contract.tiles import TILES

from graphgrad import dtypes

pytest.importorskip("numba_cuda")

TYPES = {4: dtypes.float32, 8: dtypes.float64}
VECTORS = {4: Access("k", 4), 8: Access("k", 2)}, {4: Access("m", 4), 8: Access("m", 2)}
NUMBERS = {4: Access("m", 1), 8: Access("m", 1)}, {4: Access("k", 1), 8: Access("k", 1)}


def form(item, tile, walks) -> Form:
    dtype = TYPES[item]
    a, b = (walk[item] for walk in walks)
    a = a.fitting(tile.rows * tile.steps // tile.threads)
    b = b.fitting(tile.columns * tile.steps // tile.threads)
    return Form(dtype, dtype, dtype, tile, a, b, 16 // item if walks is VECTORS else 1)


FORMS = [form(item, tile, VECTORS) for item in TYPES for tile in TILES[item]]
FORMS += [form(4, TILES[4][i], NUMBERS) for i in (0, 4, 5)]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_code(form):
    kernel = product_kernel(form)
    ptx = compiler.ptx_of(kernel, "sm_80")

    def count(pattern: str) -> int:
        return len(re.findall(pattern, ptx))

    tile, wide = form.tile, form.sums is dtypes.float64
    assert not re.search(r"\.local|__local_depot", ptx)  # sums live in registers
    assert wide or ".f64" not in ptx
    assert not re.search(r"\b(ld|st)\.[a-z]*\d", ptx)  # every access knows its kind of memory
    name = "f64" if wide else "f32"
    assert count(rf"fma\.rn\.{name}") % (tile.thread_rows * tile.thread_columns) == 0
    vector = "v2" if wide else "v4"
    step = (tile.thread_rows + tile.thread_columns) // form.lanes
    inner = tile.unrolled * step
    assert count(rf"ld\.shared\.{vector}\.{name}") % inner == 0 and count(r"ld\.shared\.\w+\.f") > 0
    assert not count(r"ld\.shared\.f")
    if form.a.vector > 1:
        assert count(rf"ld\.global\.v{form.a.vector}") and count(rf"ld\.global\.{vector}")
        assert count(rf"st\.global\.{vector}")
    if compiler.ptxas():
        for arch in ("sm_80", "sm_90"):
            usage = compiler.assembled(ptx, arch)
            assert usage.spilled == 0
            assert usage.registers <= min(255, 65536 // (kernel.block * kernel.resident))
            assert usage.registers <= tile.registers
            assert usage.shared * kernel.resident <= 228 << 10


@pytest.mark.parametrize("tile", TILES[2], ids=lambda tile: tile.name)
@pytest.mark.parametrize("walks", ["k8 m8", "m1 k1"])
def test_code_for_tensor_cores(tile, walks):
    a, b = (Access(name[0], int(name[1])) for name in walks.split())
    half = dtypes.float16
    kernel = product_kernel(Form(half, dtypes.float32, half, tile, a, b, 2))
    ptx = compiler.ptx_of(kernel, "sm_80")
    products = tile.thread_rows // 2 * (tile.thread_columns // 2)
    steps = tile.steps // 16
    found = ptx.count("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
    assert found in (products, steps * products)
    # fragments are read once for all products that share them
    words = 4 * (tile.thread_rows // 2) + 2 * (tile.thread_columns // 2)
    assert len(re.findall(r"ld\.shared\.u32", ptx)) == found // products * words
    assert ".f64" not in ptx and not re.search(r"\.local|__local_depot", ptx)
    assert ("ld.global.v4" in ptx) == (a.vector > 1)
    if compiler.ptxas():
        for arch in ("sm_80", "sm_90"):
            usage = compiler.assembled(ptx, arch)
            assert usage.registers <= tile.registers
            assert usage.spilled <= (0 if a.vector > 1 else 48)  # pairs made of single numbers


def test_fragments_are_laid_out_as_ptx_says():
    """Registers of mma.m16n8k16 by its manual, from the words that each thread reads."""
    from graphgrad.kernels.cuda.device import FRAGMENT_A, FRAGMENT_B

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 16)), rng.standard_normal((8, 16))  # b: columns, along k
    left, right = np.full((16, 16), np.nan), np.full((16, 8), np.nan)
    result = np.full((16, 8), np.nan)
    for lane in range(32):
        group, inside = lane // 4, lane % 4
        for register, (row, word) in enumerate(FRAGMENT_A):
            pair = a[lane // 4 + row, 2 * (lane % 4 + word) :][:2]
            first = inside * 2 + (8 if register >= 2 else 0)
            left[group + (8 if register % 2 else 0), first : first + 2] = pair
        for register, (row, word) in enumerate(FRAGMENT_B):
            pair = b[lane // 4 + row, 2 * (lane % 4 + word) :][:2]
            first = inside * 2 + 8 * register
            right[first : first + 2, group] = pair
    np.testing.assert_array_equal(left, a)
    np.testing.assert_array_equal(right, b.T)
    for lane in range(32):  # what the emulator gives each thread is what the hardware does
        for q in range(4):
            row, column = lane // 4 + q // 2 * 8, lane % 4 * 2 + q % 2
            group, inside = lane >> 2, lane & 3
            assert (row, column) == (group + (8 if q >= 2 else 0), inside * 2 + (q & 1))
            result[row, column] = left[row] @ right[:, column]
    np.testing.assert_allclose(result, a @ b.T)


def test_the_sum_of_parts():
    ptx = compiler.ptx_of(parts_kernel(dtypes.float32, dtypes.float32), "sm_80")
    assert ".f64" not in ptx and "add.f32" in ptx.replace(".rn", "")


def test_a_cubin_for_two_cards():
    kernel = product_kernel(FORMS[3])
    codes = [compiler.cubin_of(kernel, arch).code for arch in ("sm_80", "sm_90")]
    assert all(code[:4] == b"\x7fELF" for code in codes) and codes[0] != codes[1]


def test_the_simulator_gives_the_interpreters_numbers():
    """The emitted source, thread by thread: 64 threads, two tiles of rows, three of k."""
    script = pathlib.Path(__file__).with_name("simulated_product.py")
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
