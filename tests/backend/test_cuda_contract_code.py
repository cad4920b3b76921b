"""What the product templates become: PTX, registers, and numbers in numba's simulator."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

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


FORMS = [form(item, tile, VECTORS) for item, tiles in TILES.items() for tile in tiles]
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
    assert count(rf"ld\.shared\.{vector}\.{name}") % step == 0 and count(r"ld\.shared\.\w+\.f") > 0
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
