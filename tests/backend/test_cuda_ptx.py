"""Every kernel of the models compiles for GPUs: no float64, nothing spilled, whole vectors."""

from __future__ import annotations

import re

import cuda_zoo
import pytest
from cuda_ptx import Report, can_compile, reports
from graphgrad.kernels.cuda import compiler
from graphgrad.kernels.cuda.gridir import GridKernel
from graphgrad.kernels.cuda.lower import lower_region
from test_cuda_lower import fuse_of, halves

from graphgrad import dtypes

REGISTERS = 96  # of a thread: five blocks of 128 threads on a multiprocessor, at least

pytestmark = pytest.mark.skipif(not can_compile(), reason="needs numba-cuda and libnvvm")


@pytest.fixture(scope="module")
def compiled() -> list[tuple[GridKernel, Report]]:
    """All different kernels of all models, for sm_90, and every eighth for sm_80 too."""
    kernels: dict[str, GridKernel] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in cuda_zoo.MODELS:
            for region, inplace in cuda_zoo.planned(name, patch):
                for call in lower_region(region, inplace):
                    kernels.setdefault(call.source, call.kernel)
    for region in fuse_of(halves, (6, 64), dtype=dtypes.float16):
        for call in lower_region(region):
            kernels.setdefault(call.source, call.kernel)
    wanted = [(k, "sm_90") for k in kernels.values()]
    wanted += [(k, "sm_80") for k in [*kernels.values()][::-8]]
    return [(k, r) for (k, _), r in zip(wanted, reports(wanted), strict=True)]


def test_no_float64_where_memory_holds_none(compiled):
    for kernel, report in compiled:
        if "f64" not in kernel.parameters and "float64" not in kernel.source:
            assert not report.count(r"\.f64\b"), kernel.source


def test_registers_and_spills(compiled):
    if compiler.ptxas() is None:
        pytest.skip("needs ptxas")
    for kernel, report in compiled:
        assert report.usage.registers <= REGISTERS, kernel.source
        assert report.usage.spilled == 0, kernel.source
        assert report.usage.shared <= 48 * 1024


def test_vectors_are_whole(compiled):
    """A vector load or store of four-byte elements is one instruction."""
    for kernel, report in compiled:
        loads = len(re.findall(r"= load4_[fiu]32\(x", kernel.source))
        stores = len(re.findall(r"^\s*store4_[fiu]32\(x", kernel.source, re.MULTILINE))
        # Two loads of one vector in one block become one.
        assert bool(report.count(r"ld\.global(\.nc)?\.v4\.[bfsu]32")) == bool(loads), kernel.source
        assert report.count(r"st\.global\.v4\.[bfsu]32") == stores, kernel.source
    assert any("load4_f32" in kernel.source for kernel, _ in compiled)


def test_nothing_lies_in_local_memory_and_nothing_is_called(compiled):
    for kernel, report in compiled:
        assert not report.count(r"\b(?:ld|st)\.local\b|\bcall\b|\.extern"), kernel.source


def test_threads_meet_by_shuffles_and_barriers(compiled):
    for kernel, report in compiled:
        assert bool(report.count(r"shfl\.sync")) == ("fold_" in kernel.source)
        assert report.count(r"bar\.sync") >= kernel.source.count("syncthreads()")


def test_indices_are_divided_as_32_bit_numbers(compiled):
    for kernel, report in compiled:
        assert kernel.wide or not report.count(r"(div|rem)\.[su]64"), kernel.source


def test_16_bits_are_converted_by_instructions(compiled):
    """Kernels of float16 read 16 bits, compute in float32, and call no functions for it."""
    found = [(k, r) for k, r in compiled if "_f16" in k.source]
    assert {report.arch for _, report in found} == {"sm_80", "sm_90"}
    for _, report in found:
        assert not report.count(r"\bcall\b") and not report.count(r"\.extern")
    assert all(any(r.count(c) for _, r in found) for c in (r"cvt\.f32\.f16", r"cvt\.rn\.f16"))


def test_numbas_own_front_end_compiles_them_too(compiled):
    """Where ours does not know a construct, numba's is asked: it makes the same of the others."""
    kernel, report = min(compiled, key=lambda pair: len(pair[0].source))
    other = compiler.typed_by_numba(kernel, report.arch)
    arithmetic = r"\b(?:ld|st)\.global\S*|\w+\.f32"
    assert sorted(re.findall(arithmetic, other)) == sorted(re.findall(arithmetic, report.ptx))
