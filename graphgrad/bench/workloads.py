"""What is measured: the rows of the main table, and of the one about the cost of a call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad.bench import models
from graphgrad.bench.others import OTHERS
from graphgrad.bench.workload import (
    Builder,
    Step,
    Workload,
    arrays,
    classifier,
    labels,
    seeded,
    trainer,
)

POLYNOMIAL = (0.1, 0.8, -0.1, -0.1, 0.01, 0.002)


def polynomial(t: Any, compile: Any) -> Step:
    """sin(x) fitted by a quintic, its six coefficients updated by hand."""
    x = t.linspace(-math.pi, math.pi, 2000)
    y = t.sin(x)
    a, b, c, d, e, f = weights = [t.tensor(v, requires_grad=True) for v in POLYNOMIAL]

    @compile
    def step() -> Any:
        for w in weights:
            w.grad = None
        prediction = a + b * x + c * x**2 + d * x**3 + e * x**4 + f * x**5
        loss = (prediction - y).pow(2).sum()
        loss.backward()
        with t.no_grad():
            for w in weights:
                w -= 0.55e-7 * w.grad
        return loss

    return step


def own_layer(t: Any, compile: Any) -> Step:
    """A layer of the user's own, 10×5 to 3."""
    weight, bias, x, y = map(t.from_numpy, arrays((5, 3), (5,), (10, 5), (10, 3)))

    class Layer(t.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = t.nn.Parameter(weight)
            # No root of a negative number, and none of 0, where the derivative has a pole.
            self.bias = t.nn.Parameter(bias.abs() + 0.1)

        def forward(self, x: Any) -> Any:
            return t.matmul(t.sqrt(t.pow(x, 2) + self.bias), self.weight)

    net, loss_of = Layer(), t.nn.MSELoss(reduction="sum")
    optimizer = t.optim.Adam(net.parameters(), lr=1e-4)
    return trainer(optimizer, lambda: loss_of(net(x), y), compile)


def mlp(t: Any, compile: Any) -> Step:
    net = seeded(t, models.mlp(t))
    (images,) = map(t.from_numpy, arrays((128, 784)))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)
    return classifier(t, net, optimizer, images, t.from_numpy(labels(128, 10)), compile)


def lenet(t: Any, compile: Any) -> Step:
    net = seeded(t, models.lenet(t))
    (images,) = map(t.from_numpy, arrays((64, 1, 28, 28)))
    optimizer = t.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return classifier(t, net, optimizer, images, t.from_numpy(labels(64, 10)), compile)


def lstm(t: Any, compile: Any) -> Step:
    """64 steps of 32 sequences."""
    net = seeded(t, t.nn.LSTM(64, 128))
    (sequence,) = map(t.from_numpy, arrays((64, 32, 64)))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)
    return trainer(optimizer, lambda: net(sequence)[0].square().mean(), compile)


def gelu(t: Any, compile: Any) -> Step:
    x, b = (t.from_numpy(v).requires_grad_() for v in arrays((2048, 2048), (2048, 2048)))

    @compile
    def step() -> Any:
        x.grad = b.grad = None
        value = (t.nn.functional.gelu(x * b + x) * t.sigmoid(b)).sum()
        value.backward()
        return value

    return step


def softmax_of_norm(t: Any, compile: Any) -> Step:
    rows, wanted = arrays((4096, 1024), (4096, 1024))
    x, g = t.from_numpy(rows).requires_grad_(), t.from_numpy(wanted)

    @compile
    def step() -> Any:
        x.grad = None
        normal = t.nn.functional.layer_norm(x, (1024,))
        value = (t.softmax(normal, -1) * g).sum()
        value.backward()
        return value

    return step


def matmul(t: Any, compile: Any) -> Step:
    a, b = map(t.from_numpy, arrays((1024, 1024), (1024, 1024)))
    return compile(lambda: a @ b)


def convolution(t: Any, compile: Any) -> Step:
    x, w = map(t.from_numpy, arrays((16, 64, 32, 32), (64, 64, 3, 3)))
    return compile(lambda: t.nn.functional.conv2d(x, w, padding=1))


def gpt(t: Any, compile: Any) -> Step:
    net = seeded(t, models.gpt(t))
    tokens, wanted = (t.from_numpy(v) for v in gpt_tokens())
    optimizer = t.optim.AdamW(net.parameters(), lr=3e-4)
    return classifier(t, net, optimizer, tokens, wanted, compile)


def gpt_tokens() -> tuple[np.ndarray, np.ndarray]:
    """(8, length) tokens, and the one after each of them in one row."""
    numbers = labels(8 * models.GPT_LENGTH, models.GPT_VOCABULARY)
    tokens = numbers.reshape(8, models.GPT_LENGTH)
    return tokens, np.roll(tokens, -1, axis=1).reshape(-1)


def resnet(t: Any, compile: Any) -> Step:
    net = seeded(t, models.resnet18(t))
    (images,) = map(t.from_numpy, arrays((16, 3, 32, 32)))
    optimizer = t.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return classifier(t, net, optimizer, images, t.from_numpy(labels(16, 10)), compile)


def call(count: int, plain: bool = False) -> Builder:
    """A program that does almost nothing: what is left is the cost of the call."""

    def build(t: Any, compile: Any) -> Step:
        given = arrays(*[(16,)] * count)
        inputs = given if plain else [t.from_numpy(v) for v in given]

        @compile
        def total(*xs: Any) -> Any:
            value = xs[0]
            for x in xs[1:]:
                value = value + x
            return value * 2.0

        return lambda: total(*inputs)

    return build


MAIN: tuple[Workload, ...] = (
    Workload("sin(x), quintic", polynomial),
    Workload("own layer, Adam", own_layer),
    Workload("MLP, Adam", mlp),
    Workload("LeNet-5, SGD", lenet),
    Workload("LSTM 64→128, Adam", lstm),
    Workload("gelu chain, 4M", gelu),
    Workload("softmax(layer_norm)", softmax_of_norm),
    Workload("matmul 1024³", matmul, flops=2 * 1024**3),
    Workload("conv 3×3", convolution, flops=2 * 16 * 32 * 32 * 64 * 64 * 3 * 3),
    Workload("GPT ×4, AdamW", gpt),
    Workload("ResNet-18, SGD", resnet),
)
CALLS: tuple[Workload, ...] = (
    *(Workload(f"call, {n} tensor{'s' * (n > 1)}", call(n)) for n in range(1, 9)),
    Workload("call, 4 ndarrays", call(4, plain=True), ("compiled",), without=("torch",)),
)
GROUPS = {"main": MAIN, "other": OTHERS, "call": CALLS}
