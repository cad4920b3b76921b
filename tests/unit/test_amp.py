"""autocast by PyTorch's lists, and GradScaler, as written and compiled, on the CPU and a device."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

OPERATIONS = {
    "mm": lambda m, x: x @ x.t(),
    "bmm": lambda m, x: m.bmm(x.reshape(2, 2, 4), x.reshape(2, 4, 2)),
    "matmul of three": lambda m, x: x.reshape(2, 2, 4) @ x.t(),
    "mv": lambda m, x: m.mv(x, x[0]),
    "addmm": lambda m, x: m.addmm(x, x, m.ones(4, 4)),
    "baddbmm": lambda m, x: m.baddbmm(m.ones(2, 2, 2), x.reshape(2, 2, 4), x.reshape(2, 4, 2)),
    "einsum": lambda m, x: m.einsum("ij,kj->ik", x, x),
    "mixed": lambda m, x: x.to(m.bfloat16) @ x.t(),
    "linear": lambda m, x: m.nn.functional.linear(x, m.ones(3, 4), m.ones(3)),
    "conv2d": lambda m, x: m.nn.functional.conv2d(x.reshape(1, 1, 4, 4), m.ones(1, 1, 2, 2)),
    "conv_transpose1d": lambda m, x: m.nn.functional.conv_transpose1d(
        x.reshape(1, 4, 4), m.ones(4, 2, 2)
    ),
    "attention": lambda m, x: m.nn.functional.scaled_dot_product_attention(
        *(x.reshape(1, 4, 4),) * 3
    ),
    "prelu": lambda m, x: m.nn.functional.prelu(x, m.ones(1)),
    "exp": lambda m, x: x.to(m.bfloat16).exp(),
    "softmax": lambda m, x: m.nn.functional.softmax(x.to(m.bfloat16), 1),
    "layer_norm": lambda m, x: m.nn.functional.layer_norm(x.to(m.bfloat16), (4,)),
    "sum": lambda m, x: x.to(m.bfloat16).sum(),
    "prod": lambda m, x: x.to(m.bfloat16).prod(),
    "mse_loss": lambda m, x: m.nn.functional.mse_loss(x.to(m.bfloat16), x),
    "l1_loss": lambda m, x: m.nn.functional.l1_loss(x.to(m.bfloat16), x.to(m.bfloat16)),
    "smooth_l1": lambda m, x: m.nn.functional.smooth_l1_loss(x.to(m.bfloat16), x),
    "huber": lambda m, x: m.nn.functional.huber_loss(x.to(m.bfloat16), x),
    "cross_entropy": lambda m, x: m.nn.functional.cross_entropy(
        x.to(m.bfloat16), m.tensor([0, 1, 2, 3])
    ),
    "bce": lambda m, x: m.nn.functional.binary_cross_entropy(
        x.sigmoid().to(m.bfloat16), m.ones(4, 4)
    ),
    "bce_logits": lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(
        x.to(m.bfloat16), m.ones(4, 4)
    ),
    "double": lambda m, x: x.double() @ x.double().t(),
    "cat": lambda m, x: m.cat([x, x.to(m.bfloat16)]),
    "inner block": lambda m, x: _without(m, x),
}


def _without(m, x):
    with m.autocast("cpu", enabled=False):
        return x @ x.t()


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_types_and_values_are_torchs(name, compiled, kind):
    operation = OPERATIONS[name]
    data = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)

    def run(m, x):
        with m.autocast("cpu", dtype=getattr(m, kind)):
            return operation(m, x)

    ours = gg.compile(lambda x: run(gg, x)) if compiled else lambda x: run(gg, x)
    y, z = ours(gg.from_numpy(data)), run(torch, torch.from_numpy(data))
    assert repr(y.dtype) == str(z.dtype)
    np.testing.assert_allclose(y.float().numpy(), z.float().numpy(), rtol=2**-6, atol=2**-6)


def test_what_autocast_says_of_itself():
    assert not gg.is_autocast_enabled("cpu") and gg.get_autocast_dtype("cpu") is gg.bfloat16
    with gg.autocast("cpu", dtype=gg.float16):
        assert gg.is_autocast_enabled("cpu") and not gg.is_autocast_enabled("cuda")
        assert gg.get_autocast_dtype("cpu") is gg.float16
        with gg.autocast("cpu"):
            assert gg.get_autocast_dtype("cpu") is gg.float16
        with gg.autocast("cpu", enabled=False):
            assert not gg.is_autocast_enabled("cpu")
    assert not gg.is_autocast_enabled("cpu")
    with pytest.warns(UserWarning, match="Disabling autocast"), gg.autocast("cpu", dtype=gg.int8):
        assert not gg.is_autocast_enabled("cpu")
    decorated = gg.autocast("cpu")(lambda x: x @ x)
    assert decorated(gg.ones(2, 2)).dtype is gg.bfloat16


def test_lists_of_cuda_are_its_own():
    with gg.config.scope(cuda="emulate", tier="interpret"):
        x = gg.rand(3, 3, device="cuda")
        with gg.autocast("cuda"):
            y = x @ x
            assert y.dtype is gg.float16 and (gg.ones(2, 2) @ gg.ones(2, 2)).dtype is gg.float32
            for operation in (gg.exp, gg.log, gg.sum, lambda x: x**2, lambda x: x.softmax(1)):
                assert operation(y).dtype is gg.float32
            assert gg.sin(y).dtype is gg.nn.functional.relu(y).dtype is gg.float16
            assert gg.nn.functional.layer_norm(y, (3,)).dtype is gg.float32
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                gg.nn.functional.binary_cross_entropy(y.sigmoid(), y)
        with gg.autocast("cpu"):
            assert (x @ x).dtype is gg.float32


def test_a_weight_is_converted_once_a_block_and_again_after_a_write():
    w = gg.ones(2, 2, requires_grad=True)
    x = gg.ones(2, 2)
    with gg.autocast("cpu"):
        a, b = x @ w, x @ w
        assert a.grad_fn.next_functions[1][0] is b.grad_fn.next_functions[1][0]
        with gg.no_grad():
            w.mul_(3)
        assert (x @ w).tolist() == [[6, 6], [6, 6]]
    (a + b).sum().backward()
    assert w.grad.dtype is gg.float32 and w.grad.tolist() == [[4, 4], [4, 4]]


class _Product(gg.autograd.Function):
    @staticmethod
    @gg.amp.custom_fwd(device_type="cpu", cast_inputs=gg.float32)
    def forward(ctx, x):
        ctx.save_for_backward(x)
        assert not gg.is_autocast_enabled("cpu") and x.dtype is gg.float32
        return x @ x

    @staticmethod
    @gg.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g @ x.t() + x.t() @ g


def test_functions_choose_their_type():
    x = gg.rand(2, 2).bfloat16().requires_grad_()
    with gg.autocast("cpu"):
        y = _Product.apply(x)
    assert y.dtype is gg.float32
    y.sum().backward()
    assert x.grad.dtype is gg.bfloat16


# ------------------------------------------------------------------------------------- a whole step


def _train(library, place, compiled, kind, rule="Adam", steps=6):
    library.manual_seed(0)
    nn = library.nn
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 4))
    rng = np.random.default_rng(1)
    with library.no_grad():
        for p in model.parameters():
            p.copy_(library.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32) / 4))
    model.to(place)
    x = library.from_numpy(rng.standard_normal((16, 8)).astype(np.float32)).to(place)
    y = library.from_numpy(rng.integers(0, 4, 16)).to(place)
    optimizer = getattr(library.optim, rule)(model.parameters(), lr=0.02)
    scaler = library.amp.GradScaler(place, init_scale=2.0**20, growth_interval=100)

    def step():
        optimizer.zero_grad()
        with library.autocast(place, dtype=getattr(library, kind)):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    step = library.compile(step) if compiled else step
    rows = []
    for _ in range(steps):
        rows.append((float(step().detach()), scaler.get_scale()))
    kept = optimizer.state[next(model.parameters())]
    count = kept["step"].item() if kept else 0
    weights = [p.detach().float().cpu().numpy() for p in model.parameters()]
    return rows, count, weights, scaler.state_dict()


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_scaled_training_is_torchs(compiled, kind):
    """float16 gradients overflow at first: steps are skipped and the factor backs off."""
    rows, count, weights, kept = _train(gg, "cpu", compiled, kind)
    expected, number, others, state = _train(torch, "cpu", False, kind)
    np.testing.assert_allclose(rows, expected, rtol=2e-2)
    assert count == number and kept == state
    assert kind == "bfloat16" or count < 6
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-2)


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_scaled_training_on_a_device_is_that_of_the_cpu(compiled, rule):
    expected, count, weights, kept = _train(gg, "cpu", False, "float16", rule)
    with gg.config.scope(cuda="emulate", tier="interpret"):
        rows, number, there, state = _train(gg, "cuda", compiled, "float16", rule)
    assert kept == state
    assert number == count
    np.testing.assert_allclose(rows, expected, rtol=1e-3)
    for a, b in zip(weights, there, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_factor_grows_after_good_steps():
    def scales(library):
        p = library.ones(2, requires_grad=True)
        optimizer = library.optim.SGD([p], lr=0.1)
        scaler = library.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        for factor in (1.0, 1.0, float("inf"), 1.0, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            yield scaler.get_scale(), scaler.state_dict()["_growth_tracker"], p[0].item()

    for ours, reference in zip(scales(gg), scales(torch), strict=True):
        assert ours == pytest.approx(reference)


def test_a_scaler_goes_on_where_it_was_saved():
    first, second = (gg.amp.GradScaler("cpu", init_scale=s) for s in (4.0, 8.0))
    second.load_state_dict(first.state_dict())
    assert second.get_scale() == 4.0 and second.state_dict() == first.state_dict()
    with pytest.raises(AssertionError, match="No inf checks"):
        first.update()
    first.update(3.0)
    assert first.get_scale() == 3.0
