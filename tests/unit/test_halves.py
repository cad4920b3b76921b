"""float16 and bfloat16: stored in 16 bits, computed in float32, rounded to the nearest."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.dtypes import ALL, promote

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.devices, pytest.mark.torch]
HALVES = ["float16", "bfloat16"]


def theirs(x: gg.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.detach().float().numpy()).to(getattr(torch, x.dtype.name))


def wide(x) -> np.ndarray:
    return x.detach().float().numpy()


@pytest.mark.parametrize("name", HALVES)
def test_every_value_and_every_rounding(name):
    kind, other = getattr(gg, name), getattr(torch, name)
    bits = np.arange(65536, dtype=np.uint16)
    values = gg.from_numpy(bits.view(kind.numpy))
    reference = torch.from_numpy(bits.view(np.int16)).view(other)
    np.testing.assert_array_equal(wide(values), reference.float().numpy())
    x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32) * 10.0**3
    # Halfway between two neighbours: ties go to the even one.
    finite = np.isfinite(wide(values))
    ties = (wide(values)[finite][:-1] / 2 + wide(values)[finite][1:] / 2).astype(np.float32)
    for source in (x, ties, np.float32([np.inf, -np.inf, np.nan, 7e4, 3.4e38, 1e-45])):
        rounded = gg.from_numpy(source).to(kind)
        expected = torch.from_numpy(source).to(other)
        np.testing.assert_array_equal(wide(rounded), expected.float().numpy())


def test_types_join_as_torchs_do():
    kinds = [kind for kind in ALL if kind is not gg.uint32]
    for a in kinds:
        for b in kinds:
            expected = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
            if "half" not in str(expected) and "complex32" not in str(expected):
                assert repr(promote(a, b)) == str(expected), (a, b)


@pytest.mark.host
def test_a_bfloat16_tensor_is_an_ordinary_one():
    x = gg.tensor([1.0, 2.5, -3.0], dtype=gg.bfloat16)
    assert x.tolist() == [1, 2.5, -3] and x.element_size() == 2 and x.is_floating_point()
    assert repr(x) == "tensor([ 1.0000,  2.5000, -3.0000], dtype=torch.bfloat16)"
    assert x.type() == "torch.BFloat16Tensor" and x.float().bfloat16().equal(x)
    assert (x > 0).tolist() == [True, True, False] and x.long().tolist() == [1, 2, -3]
    assert x.sum().item() == 0.5 and x.sort().values.tolist() == [-3, 1, 2.5]
    assert (x + 1).dtype is gg.bfloat16 and (x + gg.ones(3)).dtype is gg.float32
    assert (x + gg.arange(3)).dtype is gg.bfloat16 and x.argmax().item() == 1
    assert gg.arange(3, dtype=gg.bfloat16).tolist() == [0, 1, 2]
    assert gg.linspace(0, 1, 3, dtype=gg.bfloat16).tolist() == [0, 0.5, 1]
    x[1] = 7
    x.add_(1).mul_(gg.tensor(2.0))
    assert x.tolist() == [4, 16, -4]
    assert gg.nn.Linear(2, 3).bfloat16().weight.dtype is gg.bfloat16
    for name in ("eps", "max", "min", "tiny", "bits", "resolution"):
        ours, reference = (
            getattr(gg.finfo(gg.bfloat16), name),
            getattr(torch.finfo(torch.bfloat16), name),
        )
        assert ours == pytest.approx(reference)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("law", ["rand", "randn"])
def test_random_halves_are_spread(name, law):
    gg.manual_seed(0)
    x = getattr(gg, law)(20_000, dtype=getattr(gg, name))
    mean, std = (0.5, 0.2887) if law == "rand" else (0.0, 1.0)
    assert abs(x.float().mean().item() - mean) < 0.02
    assert abs(x.float().std().item() - std) < 0.02
    assert law == "randn" or (x.min().item() >= 0 and x.max().item() < 1)


F = "nn.functional."
OPERATIONS = {
    "arithmetic": (lambda m, x, y: x * y + x * 2.5 - y / 3, (4, 5), (4, 5)),
    "elementwise": (lambda m, x: x.exp().sin() + x.tanh() * x.sigmoid() + x**3, (4, 5)),
    "sum": (lambda m, x: x.sum(1), (4, 500)),
    "mean": (lambda m, x: x.mean(0), (400, 5)),
    "large mean": (lambda m, x: (x.abs() + 300).mean(), (400, 50)),
    "matmul": (lambda m, x, y: x @ y, (4, 50), (50, 6)),
    "batched": (lambda m, x, y: x @ y, (3, 4, 50), (3, 50, 6)),
    "linear": (lambda m, x, w, b: m.nn.functional.linear(x, w, b), (4, 50), (6, 50), (6,)),
    "conv2d": (lambda m, x, w: m.nn.functional.conv2d(x, w, padding=1), (2, 3, 8, 8), (4, 3, 3, 3)),
    "softmax": (lambda m, x: m.nn.functional.softmax(x, 1) * x, (4, 50)),
    "layer_norm": (lambda m, x: m.nn.functional.layer_norm(x, (50,)) * x, (4, 50)),
    "gelu": (lambda m, x: m.nn.functional.gelu(x), (4, 50)),
    "attention": (
        lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v),
        (2, 4, 8),
        (2, 4, 8),
        (2, 4, 8),
    ),
    "cross_entropy": (
        lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([1, 2, 3, 4])),
        (4, 50),
    ),
    "indexing": (lambda m, x: x[1:, 2] + x[m.tensor([0, 1, 2]), 0], (4, 50)),
    "embedding": (lambda m, w: m.nn.functional.embedding(m.tensor([1, 0, 1]), w), (4, 6)),
    "cumsum": (lambda m, x: x.cumsum(1), (4, 50)),
    "max": (lambda m, x: x.max(1)[0], (4, 50)),
    "cat": (lambda m, x, y: m.cat([x, y]) * 1, (4, 50), (2, 50)),
    "pool": (lambda m, x: m.nn.functional.max_pool2d(x, 2), (2, 3, 8, 8)),
}


def operands(shapes, name):
    rng = np.random.default_rng(0)
    return [
        gg.from_numpy(rng.standard_normal(s).astype(np.float32)).to(getattr(gg, name))
        for s in shapes
    ]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_results_and_gradients_are_torchs(operation, name, compiled):
    function, *shapes = OPERATIONS[operation]
    ours = [x.requires_grad_() for x in operands(shapes, name)]
    reference = [theirs(x).requires_grad_() for x in ours]
    run = gg.compile(lambda *xs: function(gg, *xs)) if compiled else lambda *xs: function(gg, *xs)
    y, z = run(*ours), function(torch, *reference)
    assert repr(y.dtype) == str(z.dtype) and tuple(y.shape) == tuple(z.shape)
    y.float().sum().backward()
    z.float().sum().backward()
    # One unit in the last place of the largest value, where sums are added in another order.
    unit = 2.0**-7 if name == "bfloat16" else 2.0**-10
    pairs = [(y, z), *((a.grad, b.grad) for a, b in zip(ours, reference, strict=True))]
    for a, b in pairs:
        assert repr(a.dtype) == str(b.dtype)
        scale = max(float(np.abs(wide(b)).max()), 1e-2)
        np.testing.assert_allclose(
            wide(a), b.detach().float().numpy(), rtol=0, atol=2 * unit * scale
        )


@pytest.mark.host
def test_halves_on_a_device_are_those_of_the_cpu():
    with gg.config.scope(cuda="emulate", tier="interpret"):
        for name in HALVES:
            (x,) = operands([(4, 6)], name)
            there = (x.cuda() @ x.cuda().t()).softmax(1).cpu()
            assert there.equal((x @ x.t()).softmax(1))


def test_bfloat16_in_files(tmp_path):
    numpy_file = pytest.importorskip("safetensors.torch")
    x = gg.randn(5, 3).bfloat16()
    gg.save({"x": x, "y": gg.ones(3, dtype=gg.float64)}, tmp_path / "a")
    assert gg.load(tmp_path / "a")["x"].equal(x)
    assert torch.equal(numpy_file.load_file(tmp_path / "a")["x"], theirs(x))
    numpy_file.save_file({"x": theirs(x), "n": torch.ones(2, dtype=torch.int8)}, tmp_path / "b")
    found = gg.load(tmp_path / "b")
    assert found["x"].equal(x) and found["n"].dtype is gg.int8


def test_training_in_bfloat16():
    model = gg.nn.Sequential(gg.nn.Linear(4, 16), gg.nn.ReLU(), gg.nn.Linear(16, 1)).bfloat16()
    optimizer = gg.optim.Adam(model.parameters(), lr=0.01)
    x = gg.randn(32, 4).bfloat16()
    y = x.sum(1, keepdim=True)

    @gg.compile
    def step():
        optimizer.zero_grad()
        loss = gg.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]
    assert all(v.dtype is gg.bfloat16 for v in optimizer.state[model[0].weight].values() if v.ndim)
