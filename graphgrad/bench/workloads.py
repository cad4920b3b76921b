"""What is measured: rows of a table, each a program written once over ``torch``-like namespaces.

A builder receives the namespace and a decorator (``compile``, or the identity) and returns the step
to time; what the step returns is compared between contestants first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], Any]
Builder = Callable[[Any, Callable[[Any], Any]], Step]


@dataclass(frozen=True)
class Workload:
    """One row.

    ways     "written" runs the lines as they are, "compiled" under the namespace's compile
    rtol     how far results of two contestants may be apart
    flops    multiplications and additions of one step, where these are all it does
    threads  for all contestants; 0: those of the run
    peers    whether other libraries run it too
    """

    name: str
    build: Builder
    ways: tuple[str, ...] = ("written", "compiled")
    rtol: float = 1e-3
    flops: float = 0.0
    threads: int = 0
    peers: bool = True


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """The same standard-normal float32 arrays for every contestant."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def seeded(t: Any, module: Any) -> Any:
    """A module whose parameters are equal for every contestant: uniform in ±1/√fan_in."""
    rng = np.random.default_rng(1)
    with t.no_grad():
        for parameter in module.parameters():
            bound = 1 / math.sqrt(max(math.prod(parameter.shape[1:]), 1))
            values = rng.uniform(-bound, bound, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(t.from_numpy(values))
    return module


def trainer(t: Any, net: Any, optimizer: Any, x: Any, y: Any, compile: Any) -> Step:
    """The step of every tutorial."""

    @compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def polynomial(t: Any, compile: Any) -> Step:
    """sin(x) fitted by a cubic, its four coefficients updated by hand."""
    x = t.linspace(-math.pi, math.pi, 2000)
    y = t.sin(x)
    starts = (0.1, 0.8, -0.1, -0.1, 0.01, 0.002)
    a, b, c, d, e, f = weights = [t.tensor(v, requires_grad=True) for v in starts]

    @compile
    def step() -> Any:
        prediction = a + b * x + c * x**2 + d * x**3 + e * x**4 + f * x**5
        loss = (prediction - y).pow(2).sum()
        loss.backward()
        with t.no_grad():
            for w in weights:
                w -= 0.55e-7 * w.grad
                w.grad = None
        return loss

    return step


def own_layer(t: Any, compile: Any) -> Step:
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

    @compile
    def step() -> Any:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def lenet(t: Any, compile: Any) -> Step:
    """A training step of LeNet-5 on 64 images of 28×28."""
    nn = t.nn
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    (images,) = arrays((64, 1, 28, 28))
    labels = t.from_numpy(np.arange(64) % 10)
    optimizer = t.optim.SGD(seeded(t, net).parameters(), lr=0.01, momentum=0.9)
    return trainer(t, net, optimizer, t.from_numpy(images), labels, compile)


def mlp(t: Any, compile: Any) -> Step:
    """A training step of a perceptron, 784-256-128-10, on 64 rows."""
    nn = t.nn
    net = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    (images,) = arrays((64, 784))
    labels = t.from_numpy(np.arange(64) % 10)
    optimizer = t.optim.Adam(seeded(t, net).parameters(), lr=1e-3)
    return trainer(t, net, optimizer, t.from_numpy(images), labels, compile)


def lstm(t: Any, compile: Any) -> Step:
    """Forward and backward of an LSTM: 64 steps, 32 sequences, 64 features to 128."""
    net = seeded(t, t.nn.LSTM(64, 128))
    (sequence,) = arrays((64, 32, 64))
    x = t.from_numpy(sequence)

    @compile
    def step() -> Any:
        net.zero_grad()
        out, _ = net(x)
        loss = out.square().mean()
        loss.backward()
        return loss

    return step


def gelu(t: Any, compile: Any) -> Step:
    """Forward and backward of a chain of elementwise operations on 2048×2048."""
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


def convolution(t: Any, compile: Any) -> Step:
    """Forward and backward of a 3×3 convolution, 64 to 64 channels of 56×56."""
    x, w = map(t.from_numpy, arrays((16, 64, 32, 32), (64, 64, 3, 3)))
    return compile(lambda: t.nn.functional.conv2d(x, w, padding=1))


def matmul(t: Any, compile: Any) -> Step:
    """A product of two 1024×1024 matrices."""
    a, b = map(t.from_numpy, arrays((1024, 1024), (1024, 1024)))
    return compile(lambda: a @ b)


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


_CONV = 2 * 16 * 32 * 32 * 64 * 64 * 3 * 3

WORKLOADS: tuple[Workload, ...] = (
    Workload("sin(x), quintic", polynomial),
    Workload("own layer, Adam", own_layer),
    Workload("LeNet-5, SGD", lenet),
    Workload("MLP, Adam", mlp),
    Workload("LSTM 64→128", lstm),
    Workload("gelu chain, 4M", gelu),
    Workload("softmax(layer_norm)", softmax_of_norm),
    Workload("conv 3×3", convolution, ("written", "compiled"), flops=_CONV),
    Workload("matmul 1024³", matmul, ("written",), flops=2 * 1024**3),
    Workload("matmul, 1 core", matmul, ("written",), flops=2 * 1024**3, threads=1),
    *(Workload(f"call, {n} tensor{'s' * (n > 1)}", call(n)) for n in range(1, 9)),
    Workload("call, 4 ndarrays", call(4, plain=True), ("compiled",), peers=False),
)
