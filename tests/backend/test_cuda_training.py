"""Whole training steps on a device: as on the CPU, step after step.

On the emulator everywhere, and on a GPU where there is one; two of them through launches and CUDA
graphs over the stand-in for cuda.core.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.bench import models
from graphgrad.bench.workload import arrays, labels, seeded
from graphgrad.config import config
from tests.backend import fake_cuda

F = nn.functional
STEPS = 4
# Adam's first steps are g/(|g| + eps): one that rounding noise in g does not pass.
EPS = 1e-4


@contextlib.contextmanager
def emulator() -> Iterator[None]:
    with config.scope(cuda="emulate"):
        yield


@contextlib.contextmanager
def launches() -> Iterator[None]:
    with fake_cuda.installed(fake_cuda.fake_driver()):
        yield


def with_a_gpu() -> bool:
    with config.scope(cuda="auto"):
        return gg.cuda.is_available()


GPU = pytest.param(
    contextlib.nullcontext,
    marks=[pytest.mark.gpu, pytest.mark.skipif(not with_a_gpu(), reason="there is no GPU")],
    id="gpu",
)
KINDS = [pytest.param(emulator, id="emulator"), GPU]
BOTH = [pytest.param(launches, id="launches"), *KINDS]


def on(device: str, *values: np.ndarray) -> list[Any]:
    return [gg.from_numpy(x).to(device) for x in values]


# ---- models: (network, optimizer, loss) ----------------------------------------------------------


def mlp(device: str) -> Any:
    net = seeded(gg, models.mlp(gg)).to(device)
    x, y = on(device, *arrays((128, 784)), labels(128, 10))
    optimizer = gg.optim.Adam(net.parameters(), lr=1e-3, eps=EPS)
    return net, optimizer, lambda: F.cross_entropy(net(x), y)


def lenet(device: str) -> Any:
    """At the size it is trained at."""
    net = seeded(gg, models.lenet(gg)).to(device)
    x, y = on(device, *arrays((64, 1, 28, 28)), labels(64, 10))
    optimizer = gg.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return net, optimizer, lambda: F.cross_entropy(net(x), y)


def lstm(device: str) -> Any:
    net = seeded(gg, nn.LSTM(16, 24)).to(device)
    (x,) = on(device, *arrays((12, 8, 16)))
    optimizer = gg.optim.Adam(net.parameters(), lr=1e-2, eps=EPS)
    return net, optimizer, lambda: net(x)[0].square().mean()


def gpt(device: str) -> Any:
    net = seeded(gg, models.gpt(gg)).to(device)
    tokens = labels(4 * 16, 32).reshape(4, 16)
    x, y = on(device, tokens, np.roll(tokens, -1, axis=1).reshape(-1))
    # The gradient of a key's bias is 0 but for rounding, which a small eps would make a step of.
    optimizer = gg.optim.AdamW(net.parameters(), lr=3e-3, eps=EPS)
    return net, optimizer, lambda: F.cross_entropy(net(x), y)


class Residual(nn.Module):
    """Two convolutions with batch norm, and a way around them."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.short = nn.Conv2d(inner, outer, 1, stride, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outer) for _ in range(3))

    def forward(self, x: Any) -> Any:
        y = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        return (y + self.norms[2](self.short(x))).relu()


def resnet(device: str) -> Any:
    parts = [nn.Conv2d(3, 8, 3, padding=1), Residual(8, 8, 1), Residual(8, 16, 2)]
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    net = seeded(gg, net).to(device)
    x, y = on(device, *arrays((8, 3, 16, 16)), labels(8, 10))
    optimizer = gg.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    return net, optimizer, lambda: F.cross_entropy(net(x), y)


def dropout(device: str) -> Any:
    """The same random numbers on either device."""
    net = nn.Sequential(nn.Linear(20, 30), nn.Dropout(0.5), nn.Tanh(), nn.Linear(30, 4))
    net = seeded(gg, net).to(device)
    gg.manual_seed(5)  # the CPU's generator was asked for first weights, the device's was not
    (x,) = on(device, *arrays((16, 20)))
    optimizer = gg.optim.SGD(net.parameters(), lr=0.1)
    return net, optimizer, lambda: net(x).square().mean()


MODELS = [mlp, lenet, lstm, gpt, resnet, dropout]


@pytest.fixture(autouse=True, scope="module")
def small_gpt() -> Iterator[None]:
    names = "GPT_VOCABULARY GPT_LENGTH GPT_WIDTH GPT_HEADS GPT_BLOCKS".split()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(names, (32, 16, 32, 4, 2), strict=True):
            patch.setattr(models, name, value)
        yield


def train(model: Callable[[str], Any], device: str, steps: int = STEPS) -> tuple[Any, Any, Any]:
    """Losses of some compiled steps, the network's state after them, and the compiled step."""
    net, optimizer, loss_of = model(device)

    @gg.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(steps)]
    state = {k: v.detach().cpu().numpy() for k, v in net.state_dict().items()}
    return losses, state, step


def compare(losses: Any, state: Any, expected: Any) -> None:
    right, right_state = expected
    np.testing.assert_allclose(losses, right, rtol=1e-4)
    for name, value in state.items():
        scale = float(np.abs(right_state[name]).max()) or 1.0
        np.testing.assert_allclose(value, right_state[name], rtol=1e-4, atol=2e-4 * scale)


@pytest.fixture(scope="module")
def on_the_cpu() -> Callable[[Any], Any]:
    known: dict[Any, Any] = {}

    def get(model: Any) -> Any:
        if model not in known:
            known[model] = train(model, "cpu")[:2]
        return known[model]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_as_on_the_cpu(model, kind, on_the_cpu) -> None:
    expected = on_the_cpu(model)
    assert abs(expected[0][0] - expected[0][-1]) > 1e-4  # it does train
    with kind():
        losses, state, step = train(model, "cuda")
        explained = gg.explain(step)
        assert "cuda:0" in str(explained) and not explained.programs[0].program.interpreted
    compare(losses, state, expected)


@pytest.mark.parametrize("model", [mlp, lstm, dropout])
def test_launches_and_graphs_give_the_emulators_bits(model) -> None:
    with emulator():
        expected = train(model, "cuda")
    with launches():
        losses, state, _ = train(model, "cuda")
        made = [entry[0] for entry in fake_cuda.log]
    # Labels may be wrong: what follows the look at them is a graph of its own.
    assert losses == expected[0] and made.count("graph") == (STEPS - 1) * (1 + (model is mlp))
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected[1][name])


@pytest.mark.parametrize("kind", BOTH)
def test_new_batches_and_a_new_learning_rate_need_no_new_trace(kind) -> None:
    def run(device: str) -> list[float]:
        net = seeded(gg, nn.Linear(6, 3)).to(device)
        optimizer = gg.optim.SGD(net.parameters(), lr=0.1)

        @gg.compile
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        losses = []
        for i, (x, y) in enumerate(zip(arrays(*[(5, 6)] * 9), arrays(*[(5, 3)] * 9), strict=True)):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i)
            losses.append(step(*on(device, x, y)))
        assert gg.explain(step).traces == 1
        return [loss.item() for loss in losses]

    expected = run("cpu")
    with kind():
        np.testing.assert_allclose(run("cuda"), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", BOTH)
def test_evaluation_follows_training(kind) -> None:
    """Running statistics are written where they are, and read by another program."""

    def run(device: str) -> np.ndarray:
        net = seeded(gg, nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU())).to(device)
        model = gg.compile(net)
        x = on(device, *arrays((12, 5)))[0]
        model(x)
        net.eval()
        return model(x).detach().cpu().numpy()

    expected = run("cpu")
    with kind():
        np.testing.assert_allclose(run("cuda"), expected, rtol=1e-4, atol=1e-5)


def test_a_tensor_elsewhere_is_an_error_that_names_both() -> None:
    with emulator():
        net = gg.compile(nn.Linear(3, 2).cuda())
        with pytest.raises(RuntimeError, match=r"cuda:0 and cpu! .* is on cpu"):
            net(gg.ones(4, 3))


def test_what_no_kernel_computes_is_an_error_that_names_it() -> None:
    def refuse(*_: Any) -> Any:
        raise NotImplementedError("not on this card")

    with emulator(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphgrad.kernels.cuda.lower.lower_region", refuse)
        x = gg.ones(3, device="cuda")
        with pytest.raises(NotImplementedError, match=r"no CUDA kernel computes mul_.* not on"):
            gg.compile(lambda x: (x * 7.25).erfinv() + 3)(x)
