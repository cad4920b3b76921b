"""cuDNN computes gradients of convolutions with strides, too: products whose windows are summed."""

from __future__ import annotations

import pytest
from graphgrad.kernels.cuda.contract import cudnn_plan
from graphgrad.kernels.cuda.contract.scattered import is_scattered
from test_cuda_dnn import CASES, SUMMED, calls, check, convolution, products, there

from graphgrad import autodiff, dtypes, ir, lang
from graphgrad.compile import compile_graph
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.ir import Graph
from tests.backend import fake_cuda

__all__ = ["there"]


@pytest.mark.parametrize("case", CASES)
def test_with_cudnn_all_three_directions_are_its(case, there):
    """Also where convolutions have strides: the product and the sum of its windows are one call."""
    x, w, options = CASES[case]
    regions = products(x, w, cuda_dnn="auto", **options)
    assert sorted(check(region).direction for region in regions) == ["dgrad", "fprop", "wgrad"]
    found = [region for region in regions if is_scattered(region)]
    assert len(found) == (case in SUMMED)
    for region in found:
        (call,) = calls(region, cuda_dnn="auto")
        stride, dilation = options.get("stride", 1), options.get("dilation", 1)
        assert call.key.stride == (stride,) * 2 and call.key.dilation == (dilation,) * 2
        assert call.key.image.dims == region.outputs[0].shape
        assert call.slots[0] == ("ptr", region.outputs[0], 0)
        assert call.key.launcher() is call.key.launcher()


@pytest.mark.parametrize("groups", [2, 8])
def test_a_grouped_convolution_with_strides(groups, there):
    regions = products((2, 8, 9, 8), (16, 8 // groups, 3, 3), cuda_dnn="auto", stride=2,
                       groups=groups)  # fmt: skip
    (region,) = filter(is_scattered, regions)
    key = check(region)
    assert key.direction == "dgrad" and key.filter.dims == (16, 8 // groups, 3, 3)


def test_without_cudnn_nothing_is_joined(there, monkeypatch):
    x, w, options = CASES["strides"]
    for settings in ({"cuda_dnn": "own"}, {"cuda_dnn": "auto"}):
        if settings["cuda_dnn"] == "auto":
            monkeypatch.setattr(cudnn_plan, "supported", lambda key: False)
        assert not any(map(is_scattered, products(x, w, **settings, **options)))


def test_float64_windows_are_summed_by_a_kernel_of_ours(there):
    regions = products((2, 4, 9, 11), (8, 4, 3, 3), dtypes.float64, cuda_dnn="auto", stride=2)
    assert len(regions) == 3 and not any(map(is_scattered, regions))


def test_a_program_has_no_product_of_windows(there):
    """Rows of a whole step: the gradient goes straight from cuDNN to what reads it."""
    x, w = ir.input((2, 4, 8, 8), dtypes.float32), ir.input((8, 4, 3, 3), dtypes.float32)
    inner = lang.tanh(x)
    y = convolution(inner, w, stride=2, pad=1)
    g = ir.like(y)
    graph = Graph([x, w, g], [y, *autodiff.vjp_nodes([y], [g], [x, w])])
    with fake_cuda.installed(fake_cuda.fake_driver()), config.scope(cuda_dnn="auto"):
        program = compile_graph(graph, device=device("cuda", 0)).program
        names = program.program.names
        report = program.explain()
    assert sorted(name for name in names if "cudnn" in name) == [
        "cudnn_dgrad_float32_3x3",
        "cudnn_fprop_float32_3x3",
        "cudnn_wgrad_float32_3x3",
    ]
    assert not any("product" in name or "window" in name for name in names)
    assert report.launches == len(names)
