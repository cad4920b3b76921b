"""cublasLt: what its bindings are handed, checked against a fake that records it."""

from __future__ import annotations

import ctypes
import enum

import numpy as np
import pytest
from graphgrad.kernels.contract_build import product_of
from graphgrad.kernels.cuda.contract import accepts, library, lower_contraction
from graphgrad.kernels.cuda.contract.cublaslt import LtMatmul, matrices_of
from graphgrad.kernels.cuda.contract.maps import maps_of
from graphgrad.kernels.cuda.contract.plan import zipped_dims

from graphgrad import dtypes, ir
from graphgrad.backends import cuda
from graphgrad.config import config
from graphgrad.ir import Graph, node
from graphgrad.passes.epilogue import join_epilogues
from graphgrad.passes.fuse import fuse

F = dtypes.float32


def names(text: str) -> type[enum.IntEnum]:
    """An enumeration whose values are those of nvmath-python 1.0 (cublasLt.h's own)."""
    pairs = (item.split("=") for item in text.split())
    return enum.IntEnum("Names", {name: int(value) for name, value in pairs})


class Library:
    """Records attributes by descriptor, and the arguments of the product."""

    Epilogue = names("DEFAULT=1 RELU=2 BIAS=4 RELU_BIAS=6 GELU=32 GELU_BIAS=36")
    MatmulDescAttribute = names("TRANSA=3 TRANSB=4 EPILOGUE=7 BIAS_POINTER=8")
    MatrixLayoutAttribute = names("BATCH_COUNT=5 STRIDED_BATCH_OFFSET=6")
    MatmulPreferenceAttribute = names(
        "MAX_WORKSPACE_BYTES=1 MIN_ALIGNMENT_A_BYTES=5 MIN_ALIGNMENT_B_BYTES=6 "
        "MIN_ALIGNMENT_C_BYTES=7 MIN_ALIGNMENT_D_BYTES=8"
    )
    algorithms = 1

    class MatmulHeuristicResult:
        def __init__(self) -> None:
            self.ptr = 5000

    def __init__(self) -> None:
        self.made: dict[int, tuple] = {}
        self.sent: dict[int, dict[int, tuple[int, int]]] = {}
        self.calls: list[tuple] = []

    def _create(self, *what) -> int:
        handle = 100 + len(self.made)
        self.made[handle], self.sent[handle] = what, {}
        return handle

    def _set(self, handle: int, attribute: int, memory: int, nbytes: int) -> None:
        value = int.from_bytes(ctypes.string_at(memory, nbytes), "little", signed=True)
        self.sent[handle][attribute] = (value, nbytes)

    matmul_desc_create = matrix_layout_create = matmul_preference_create = _create
    matmul_desc_set_attribute = matrix_layout_set_attribute = _set
    matmul_preference_set_attribute = _set

    def matmul_preference_destroy(self, handle: int) -> None:
        self.destroyed = handle

    def matmul_algo_get_heuristic(self, *arguments) -> None:
        self.asked = arguments
        ctypes.c_int32.from_address(arguments[-1]).value = self.algorithms

    def matmul(self, *arguments) -> None:
        self.calls.append(arguments)


class Fake:
    """What `Bindings` offers."""

    def __init__(self) -> None:
        self.cublasLt = Library()

    def handle(self) -> int:
        return 42

    def compute(self, name: str) -> str:
        return name

    data = compute


def matrices(a, b, contract=((1,), (0,)), batch=((), ()), after=None, **options):
    dot = node("dot_general", a, b, contract=contract, batch=batch)
    y = after(dot) if after else dot
    (region,) = fuse(Graph([base(a), base(b)], [y]))
    product = product_of(region)
    maps = maps_of(product.dot.dtype.name, zipped_dims(product.operands))
    item = product.dot.dtype.itemsize
    offsets = {"A": product.a.offset * item, "B": product.b.offset * item, "C": 0}
    return matrices_of(maps, offsets, **options)


def base(x):
    while x.inputs:
        (x,) = x.inputs
    return x


def tensor(*shape, dtype=F):
    return ir.input(shape, dtype)


def computed(m, a, b):
    """What cublasLt would compute, from the layouts alone: column-major, as its manual says."""

    def read(memory, matrix):
        step = matrix.batch_stride * memory.itemsize
        shape = (m.batch, matrix.columns, matrix.rows)
        strides = (step, matrix.leading * memory.itemsize, memory.itemsize)
        x = np.lib.stride_tricks.as_strided(memory, shape, strides).transpose(0, 2, 1)
        return x.transpose(0, 2, 1) if matrix.transposed else x

    memory = {"A": a.ravel(), "B": b.ravel()}
    return read(memory[m.names[0]], m.left) @ read(memory[m.names[1]], m.right)


PRODUCTS = {
    "plain": ((5, 7), (7, 3), ((1,), (0,)), ((), ()), "ij,jk->ik"),
    "left transposed": ((7, 5), (7, 3), ((0,), (0,)), ((), ()), "ji,jk->ik"),
    "right transposed": ((5, 7), (3, 7), ((1,), (1,)), ((), ()), "ij,kj->ik"),
    "both": ((7, 5), (3, 7), ((0,), (1,)), ((), ()), "ji,kj->ik"),
    "batched": ((4, 5, 7), (4, 7, 3), ((2,), (1,)), ((0,), (0,)), "bij,bjk->bik"),
    "linear": ((4, 5, 7), (3, 7), ((2,), (1,)), ((), ()), "bij,kj->bik"),
    "row": ((1, 7), (7, 3), ((1,), (0,)), ((), ()), "ij,jk->ik"),
    "column": ((5, 7), (7, 1), ((1,), (0,)), ((), ()), "ij,jk->ik"),
    "outer": ((5, 1), (1, 3), ((1,), (0,)), ((), ()), "ij,jk->ik"),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_layouts_are_the_product(case):
    left, right, contract, batch, spec = PRODUCTS[case]
    rng = np.random.default_rng(0)
    m = matrices(tensor(*left), tensor(*right), contract, batch)
    a, b = rng.standard_normal(left), rng.standard_normal(right)
    got = computed(m, a, b)  # columns first: (batch, n, m) in memory order m, n
    wanted = np.einsum(spec, a, b)
    np.testing.assert_allclose(got.transpose(0, 2, 1).reshape(wanted.shape), wanted)
    assert m.result.leading >= m.result.rows and not m.result.transposed


def test_what_is_no_product_of_matrices_is_ours():
    windows = node(
        "window", tensor(2, 3, 8, 8), axes=(2, 3), size=(3, 3), stride=(1, 1), dilation=(1, 1)
    )
    assert matrices(windows, tensor(5, 3, 3, 3), ((1, 4, 5), (1, 2, 3))) is None
    every_other = node("slice", tensor(5, 14), start=(0, 0), stop=(5, 14), step=(1, 2))
    assert matrices(every_other, tensor(7, 3)) is None
    turned = node("flip", tensor(5, 7), axes=(0,))
    assert matrices(turned, tensor(7, 3)) is None
    assert matrices(tensor(5, 0), tensor(0, 3)) is None


def test_alignment_is_what_the_view_leaves():
    part = node("slice", tensor(6, 7), start=(1, 0), stop=(6, 7), step=(1, 1))
    assert matrices(part, tensor(7, 3)).alignments == (16, 4, 16)  # left is B, right A: 28 bytes in


def test_what_the_library_is_handed():
    lt = Fake()
    m = matrices(tensor(4, 5, 8), tensor(4, 8, 3), ((2,), (1,)), ((0,), (0,)))
    run = LtMatmul(m, lt)
    run(7, 1000, 2000, 3000, 4000)
    fake = lt.cublasLt
    descriptor = fake.made[run.descriptor]
    assert descriptor == ("COMPUTE_32F", "CUDA_R_32F")
    assert fake.sent[run.descriptor] == {3: (0, 4), 4: (0, 4), 7: (1, 4)}
    left, right, result = run.layouts
    assert fake.made[left] == ("CUDA_R_32F", 3, 8, 3)  # B' is 3 x 8, columns 3 apart
    assert fake.made[right] == ("CUDA_R_32F", 8, 5, 8)
    assert fake.made[result] == ("CUDA_R_32F", 3, 5, 3)
    strides = [fake.sent[layout] for layout in run.layouts]
    assert strides == [{5: (4, 4), 6: (n, 8)} for n in (24, 40, 15)]
    assert fake.asked[:8] == (42, run.descriptor, left, right, result, result, fake.destroyed, 1)
    (call,) = fake.calls
    one, zero = run.one.ctypes.data, run.zero.ctypes.data
    assert call == (
        42, run.descriptor, one, 2000, left, 1000, right, zero, 3000, result, 3000, result,
        5000, 4000, 32 << 20, 7,
    )  # fmt: skip
    assert (run.one[0], run.zero[0], run.one.dtype) == (1, 0, np.float32)


@pytest.mark.parametrize(
    "dtype, tf32, words",
    [
        (dtypes.float64, True, ("COMPUTE_64F", "CUDA_R_64F")),
        (dtypes.float16, True, ("COMPUTE_32F", "CUDA_R_32F")),
        (F, True, ("COMPUTE_32F_FAST_TF32", "CUDA_R_32F")),
        (F, False, ("COMPUTE_32F", "CUDA_R_32F")),
    ],
)
def test_types(dtype, tf32, words):
    lt = Fake()
    m = matrices(tensor(4, 8, dtype=dtype), tensor(8, 8, dtype=dtype), tf32=tf32)
    run = LtMatmul(m, lt)
    assert lt.cublasLt.made[run.descriptor] == words
    assert run.one.dtype == (np.float64 if dtype is dtypes.float64 else np.float32)


def test_a_bias_and_an_activation_are_an_epilogue():
    lt = Fake()
    m = matrices(tensor(4, 8), tensor(8, 8), bias=True, activation="relu")
    run = LtMatmul(m, lt)
    run(7, 1000, 2000, 3000, 4000, 6000)
    assert lt.cublasLt.sent[run.descriptor][7] == (6, 4)
    assert lt.cublasLt.sent[run.descriptor][8] == (6000, 8)


def test_no_algorithm_is_an_error():
    lt = Fake()
    lt.cublasLt.algorithms = 0
    with pytest.raises(RuntimeError, match="no algorithm"):
        LtMatmul(matrices(tensor(4, 8), tensor(8, 8)), lt)


def test_names_are_those_of_the_installed_bindings():
    bindings = pytest.importorskip("nvmath.bindings.cublasLt")
    for name in ("Epilogue", "MatmulDescAttribute", "MatrixLayoutAttribute",
                 "MatmulPreferenceAttribute"):  # fmt: skip
        for item in getattr(Library, name):
            assert int(getattr(bindings, name)[item.name]) == item.value
    for function in vars(Library):
        if function.startswith("mat"):
            assert hasattr(bindings, function), function
    found = bindings.MatmulHeuristicResult()
    assert found.ptr == found.algo.ctypes.data  # the algorithm comes first


# ---- who is asked --------------------------------------------------------------------------------


def product():
    a, b = tensor(4, 8), tensor(8, 8)
    dot = node("dot_general", a, b, contract=((1,), (0,)), batch=((), ()))
    (region,) = fuse(Graph([a, b], [dot]))
    found = product_of(region)
    return found, maps_of("float32", zipped_dims(found.operands))


def test_the_setting_decides_who_is_asked(monkeypatch):
    monkeypatch.setattr(library, "installed", lambda: True)
    with config.scope(cuda="auto", cuda_blas="auto"):
        call = library.library_call(*product())
        assert call.name == "cublaslt_float32_nn" and len(call.slots) == len(call.key.parameters)
    with config.scope(cuda="auto", cuda_blas="own"):
        assert library.library_call(*product()) is None
    with config.scope(cuda="emulate", cuda_blas="cublaslt"):
        assert library.library_call(*product()) is None
    monkeypatch.setattr(library, "installed", lambda: False)
    with config.scope(cuda="auto", cuda_blas="auto"):
        assert library.library_call(*product()) is None
    insists = config.scope(cuda="auto", cuda_blas="cublaslt")
    with insists, pytest.raises(RuntimeError, match="pip install"):
        library.library_call(*product())
    with pytest.raises(ValueError, match="cuda_blas"):
        config.cuda_blas = "mkl"


def test_the_epilogues_of_cublaslt_are_its_own_and_others_are_ours(monkeypatch):
    monkeypatch.setattr(library, "installed", lambda: True)
    x, w, b = tensor(4, 8), tensor(8, 8), tensor(8)
    dot = node("dot_general", x, w, contract=((1,), (0,)), batch=((), ()))
    zero = node("scalar", value=0.0, dtype=F)
    biased = node("add", dot, b)
    column = node("add", dot, tensor(4, 1))

    def calls(y, *inputs):
        with config.scope(cuda="auto", cuda_blas="auto"):
            plan = join_epilogues(fuse(Graph([x, w, *inputs], [y])), accepts)
            (region, *rest) = plan
            return len(rest), lower_contraction(region)[0]

    for y, bias, activation in (
        (biased, True, ""),
        (node("maximum", biased, zero), True, "relu"),
        (node("where", node("le", biased, zero), zero, biased), True, "relu"),  # F.relu
    ):
        rest, call = calls(y, b)
        assert rest == 0 and (call.key.bias, call.key.activation) == (bias, activation)
        assert call.slots[4] == ("ptr", b, 0) and len(call.key.parameters) == 5
        assert call.slots[2] == ("ptr", y, 0)
    rest, call = calls(node("maximum", dot, zero))
    assert rest == 0 and call.key.activation == "relu" and len(call.slots) == 4
    for y, *inputs in ((node("tanh", biased), b), (column, column.inputs[1])):
        rest, call = calls(y, *inputs)  # by a loop over what cublasLt wrote
        assert rest == 1 and call.key.activation == "" and not call.key.bias


def test_tf32_is_asked_for_by_pytorchs_switch(monkeypatch):
    monkeypatch.setattr(library, "installed", lambda: True)
    with config.scope(cuda="auto", cuda_tf32=False):
        assert not library.library_call(*product()).key.tf32
        cuda.matmul.allow_tf32 = True
        assert library.library_call(*product()).key.tf32
