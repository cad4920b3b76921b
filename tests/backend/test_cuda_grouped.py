"""One launch over many tables of slots: its numbers, its instructions, and who makes such."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from graphgrad.kernels.cuda.grouped import grouped, words_of
from graphgrad.kernels.cuda.lower import lower_region

import graphgrad as gg
from graphgrad import dtypes, ir, optim
from graphgrad.ir import Graph, node
from graphgrad.passes.fuse import fuse
from tests.backend import fake_cuda
from tests.backend.cuda_ptx import can_compile, report

F = dtypes.float32


def update(n: int):
    """The call of x -= 0.5 · lr · g over n elements, written over x."""
    x, g, lr = ir.input((n,), F), ir.input((n,), F), ir.input((), F, "lr", "scalar")
    half = node("mul", g, node("scalar", value=0.5, dtype=F))
    y = node("sub", x, node("mul", half, node("expand", lr, shape=(n,))))
    (region,) = fuse(Graph([x, g, lr], [y]))
    (call,) = lower_region(region, {y: x})
    return call, {x: 0, g: 1, lr: 2}


SIMULATED = """
import os
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
import contextlib
with contextlib.suppress(ImportError):
    import _numba_cuda_redirector
import numpy as np
from numba import cuda
from graphgrad.kernels.cuda import compiler, emit
from tests.backend.test_cuda_grouped import check
check(lambda kernel: cuda.jit(compiler.function_of(kernel, emit.emit(kernel, shuffles=False))))
"""


def check(compiled) -> None:
    """Run tables of three lengths, one of two blocks, and one of none, by ``compiled(kernel)``."""
    rng, lr = np.random.default_rng(0), np.array(0.25, np.float32)
    sizes = (12, 1300, 4)
    memory = [[rng.standard_normal(n).astype("f4") for _ in range(2)] + [lr] for n in sizes]
    before = [[x.copy() for x in arrays] for arrays in memory]
    tables, grids = [], []
    for n, arrays in zip(sizes, memory, strict=True):
        call, number = update(n)
        words = {
            "ptr": lambda s, a=arrays, k=number: a[k[s[1]]].ctypes.data,
            "int": lambda s: s[1],
            "scalar": lambda s: int(np.float64(0.5).view(np.int64)),
        }
        tables.append([words[s[0]](s) for s in call.slots])
        grids.append(call.grid)
    assert sorted(grids) == [1, 1, 2]
    table = np.array(words_of(tables, grids), np.int64)
    kernel = grouped(call.kernel)
    compiled(kernel)[sum(grids), kernel.block](table, len(tables))
    for (x, g, _), (old, *_) in zip(memory, before, strict=True):
        np.testing.assert_allclose(x, old - g * np.float32(0.5) * lr, rtol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda")
def test_blocks_find_their_tables_under_the_simulator():
    run = subprocess.run([sys.executable, "-c", SIMULATED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.skipif(not can_compile(), reason="needs numba-cuda and libnvvm")
@pytest.mark.parametrize("n", [640, 641])
def test_slots_from_a_table_cost_no_registers_and_no_vectors(n: int):
    call, _ = update(n)
    alone, many = (report(k, "sm_90") for k in (call.kernel, grouped(call.kernel)))
    for wide in (r"ld\.global(\.nc)?\.v4\.f32", r"st\.global\.v4\.f32"):
        assert many.count(wide) == alone.count(wide)
    assert not many.count(r"\b(?:ld|st)\.local\b|\bld\.f32|\bst\.f32|\.extern")
    if many.usage is not None:
        assert many.usage.registers <= 32 and many.usage.spilled == 0


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam"]
)
def test_one_launch_updates_parameters_of_all_shapes(name: str):
    gg.manual_seed(0)
    values = [gg.randn(3, n).numpy() for n in range(1, 9)]

    def steps(device: str):
        parameters = [gg.tensor(x, device=device, requires_grad=True) for x in values]
        optimizer = getattr(optim, name)(parameters, lr=0.1)
        for _ in range(4):
            for p, x in zip(parameters, values, strict=True):
                p.grad = gg.tensor(2 * x, device=device)
            fake_cuda.log.clear()
            optimizer.step()
        return [p.detach().cpu().numpy() for p in parameters]

    expected = steps("cpu")
    with fake_cuda.installed(fake_cuda.fake_driver()):
        found = steps("cuda")
        nodes = [entry[1] for entry in fake_cuda.log if entry[0] == "graph"]
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)
    assert nodes == [2]  # where elements come in fours, and where they do not
