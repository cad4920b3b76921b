"""Products and convolutions of tensors on a device, as on the CPU: the emulator, a GPU if any."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.config import config

F = nn.functional


def with_a_gpu() -> bool:
    with config.scope(cuda="auto"):
        return gg.cuda.is_available()


GPU = pytest.param(
    "auto",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not with_a_gpu(), reason="there is no GPU")],
    id="gpu",
)
TOLERANCE = {"float32": 1e-4, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}


@pytest.fixture(params=["emulate", GPU], autouse=True)
def device(request):
    with config.scope(cuda=request.param):
        yield


def same(left, right) -> None:
    assert left.device.type == "cuda" and left.dtype is right.dtype
    a, b = left.cpu().double().numpy(), right.double().numpy()
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    tolerance = TOLERANCE[str(right.dtype).removeprefix("torch.")]
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(64, 48, 80), (33, 65, 17), (1, 700, 3)])
def test_matrix_products(shape, dtype):
    m, k, n = shape
    gg.manual_seed(0)
    a, b = (gg.randn(*s).to(getattr(gg, dtype)) for s in ((m, k), (k, n)))
    x, y = a.cuda(), b.cuda()
    same(x @ y, a @ b)
    same(y.T @ x.T, b.T @ a.T)
    same(gg.einsum("ik,kj->ji", x, y), gg.einsum("ik,kj->ji", a, b))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}], ids=str
)
def test_convolutions_and_their_gradients(options, dtype):
    gg.manual_seed(0)
    kind, groups = getattr(gg, dtype), options.get("groups", 1)
    arrays = [gg.randn(*s) for s in ((2, 4, 9, 8), (6, 4 // groups, 3, 3), (6,))]
    host = [x.to(kind).requires_grad_() for x in arrays]
    there = [x.detach().cuda().requires_grad_() for x in host]
    ours, theirs = (F.relu(F.conv2d(*group, **options)) for group in (there, host))
    same(ours.detach(), theirs.detach())
    ours.float().square().mean().backward()
    theirs.float().square().mean().backward()
    for x, y in zip(there, host, strict=True):
        same(x.grad, y.grad)


def test_a_compiled_network_is_its_products():
    """Bias and activation are computed by the products' kernels."""
    gg.manual_seed(0)
    layers = [nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 5)]
    net = nn.Sequential(*layers)
    x = gg.randn(7, 20)
    with gg.no_grad():
        wanted = net(x)
        net.cuda()
        run = gg.compile(net)
        same(run(x.cuda()), wanted)
        assert "3 launches" in str(gg.explain(run))
