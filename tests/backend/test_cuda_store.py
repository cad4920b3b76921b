"""Programs of GPUs on disk: the next process plans nothing, compiles nothing, computes the same."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from graphgrad.kernels import store
from graphgrad.kernels.cuda import modules
from graphgrad.kernels.cuda.contract.cublaslt import Matrices, Matrix
from graphgrad.kernels.cuda.memory import from_host

import graphgrad as gg
from graphgrad import dtypes, ir
from graphgrad.compile import DeviceExecutable
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.ir import Graph, node
from tests.backend import fake_cuda

CUDA = device("cuda", 0)
ROOT = pathlib.Path(__file__).parents[2]

TRAIN = """
import sys
from tests.backend import fake_cuda
import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.kernels.cache import stats

with fake_cuda.installed(fake_cuda.fake_driver()):
    gg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)
    ).cuda()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @gg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = gg.randn(4, 1, 8, 8).cuda(), gg.randint(0, 10, (4,)).cuda()
    fake_cuda.log.clear()
    losses = [step(x, y).item() for _ in range(3)]
    compiled = [entry[1] for entry in fake_cuda.log if entry[0] == "compile"]
    print(len(compiled), stats.compiled, "graphgrad.kernels.build" in sys.modules, losses)
"""


def run(cache: pathlib.Path) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", TRAIN],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "GRAPHGRAD_CACHE_DIR": str(cache)},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split(maxsplit=3)


def test_the_second_process_plans_nothing_and_compiles_nothing(tmp_path):
    compiled, _, planned, losses = run(tmp_path)
    assert int(compiled) > 10 and planned == "True"
    assert run(tmp_path) == ["0", "0", "False", losses]


# ---- in one process ------------------------------------------------------------------------------


@pytest.fixture
def gpu(tmp_path):
    with fake_cuda.installed(fake_cuda.fake_driver()), config.scope(cache_dir=tmp_path):
        yield tmp_path


def layers() -> Graph:
    """Products, and what is between them."""
    x, w = ir.input((8, 16), dtypes.float32), ir.input((16, 16), dtypes.float32)
    y = x
    for _ in range(4):
        y = node("dot_general", y, w, contract=((1,), (0,)), batch=((), ()))
        y = node("tanh", node("exp", node("neg", y)))
    return Graph([x, w], [y, node("sum", y, axes=(0,))])


def results(executable: DeviceExecutable) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(x.shape).astype(np.float32) for x in executable.graph.inputs]
    return [y.host() for y in executable([from_host(x, CUDA) for x in arrays])]


def planned(executable: DeviceExecutable) -> bool:
    """Whether the program was planned here, rather than found."""
    assert executable.program
    return executable._plan is not None


def test_a_program_that_was_found_is_the_one_that_was_planned(gpu):
    first, second = (DeviceExecutable(layers(), device=CUDA) for _ in range(2))
    for left, right in zip(results(first), results(second), strict=True):
        np.testing.assert_array_equal(left, right)
    assert planned(first) and not planned(second)
    assert repr(first.program.program) == repr(second.program.program)
    assert str(first.explain()) == str(second.explain())


def test_a_cubin_that_is_gone_is_compiled_again(gpu):
    expected = results(DeviceExecutable(layers(), device=CUDA))
    (gone, *_) = sorted(gpu.glob("*.cubin"))
    gone.unlink()
    again = DeviceExecutable(layers(), device=CUDA)
    for left, right in zip(expected, results(again), strict=True):
        np.testing.assert_array_equal(left, right)
    assert planned(again) and gone.exists()
    assert not planned(DeviceExecutable(layers(), device=CUDA))


def test_what_decides_a_program_is_in_its_key(gpu, monkeypatch):
    def key() -> str | None:
        executable = DeviceExecutable(layers(), device=CUDA)
        return store.key_of(executable.graph, {}, (), executable._target)

    keys = [key()]
    monkeypatch.setattr(modules.compiler, "compilers", lambda: ("a newer one",))
    keys.append(key())
    with config.scope(cuda_blas="auto"):
        keys.append(key())
        monkeypatch.setattr(modules.library, "installed", lambda: True)
        keys.append(key())
    with config.scope(cuda="emulate"):
        keys.append(key())
    assert None not in keys and len(set(keys)) == len(keys)


def test_a_librarys_call_is_kept_by_its_key():
    matrix = Matrix(4, 4, 4, 0)
    key = Matrices("float32", matrix, matrix, matrix, 1, ("A", "B"), (16, 16, 16))
    (kernel,) = modules.unpack([modules.pack(modules._library_kernel(key))])
    assert kernel.keep.key == key and kernel.keep.parameters == ("ptr",) * 4
    assert kernel.name == "cublaslt_float32_nn"


def test_an_error_in_a_program_that_was_found_names_the_line(gpu):
    def lines(x, at):
        for _ in range(8):
            x = (x * x).cos()
        return x.index_select(0, at)

    x, at = gg.randn(8, 4).cuda(), gg.tensor([0, 9]).cuda()
    for _ in range(2):
        with pytest.raises(IndexError, match=r"index 9 is out of .*in gather, test_cuda_store.py"):
            gg.compile(lines)(x, at)
        fake_cuda._forget()
