"""Programs of one structure at many sizes in turn: planned alike, and right at each."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import choices
from graphgrad.nn import functional as F

COUNT = 12
Sizes = dict[str, int]
# Near and far from the first, up and down, odd, and with dimensions that trade places.
SIZES: list[Sizes] = [
    {"n": 12, "m": 20, "k": 16},
    {"n": 13, "m": 19, "k": 16},
    {"n": 2, "m": 3, "k": 2},
    {"n": 64, "m": 33, "k": 48},
    {"n": 5, "m": 300, "k": 7},
    {"n": 300, "m": 2, "k": 130},
    {"n": 3, "m": 2, "k": 4},
    {"n": 2, "m": 9, "k": 1},
    {"n": 40, "m": 600, "k": 24},
]


def program(seed: int) -> Callable[..., gg.Tensor]:
    """A function of x [n, m, k], weights [k, k] and indices below m, of steps drawn from a seed."""
    draw = random.Random(seed)
    steps = [draw.choice(list(STEPS)) for _ in range(draw.randint(3, 6))]
    last = draw.choice(["sum", "mean", "sorted"])

    def run(x, w, at):
        for name in steps:
            x = STEPS[name](x, w, at)
        if last == "sorted":
            x = x.flatten().sort().values[: x.shape[0]]
        return x.square().mean() if last == "mean" else x.sum(0).tanh().sum()

    run.steps = (*steps, last)
    return run


def convolved(x: gg.Tensor, w: gg.Tensor) -> gg.Tensor:
    return F.conv1d(x, w[:, :, None].expand(-1, -1, 3), padding=1)


# Each keeps [n, m, k].
STEPS: dict[str, Callable[..., gg.Tensor]] = {
    "chain": lambda x, w, at: (x * 0.5 + 0.1).sigmoid() * x,
    "softmax": lambda x, w, at: x.softmax(-1) + x,
    "rows": lambda x, w, at: x - x.amax(1, keepdim=True) * 0.1,
    "columns": lambda x, w, at: x + x.mean((0, 1), keepdim=True),
    "norm": lambda x, w, at: F.layer_norm(x, x.shape[-1:]),
    "batch norm": lambda x, w, at: F.batch_norm(x, None, None, training=True),
    "product": lambda x, w, at: (x @ w).tanh(),
    "outer": lambda x, w, at: x + (x.flatten(0, 1).T @ x.flatten(0, 1)).mean() * 1e-3,
    "scores": lambda x, w, at: (x @ x.transpose(1, 2) * 0.1).softmax(-1) @ x,
    "turned": lambda x, w, at: x.transpose(0, 2).exp().clamp(max=5).transpose(0, 2),
    "shifted": lambda x, w, at: F.pad(x, (0, 0, 1, 0))[:, :-1] + x,
    "halves": lambda x, w, at: gg.cat([x[:, 1:] * 2, x[:, :1]], 1),
    "running": lambda x, w, at: x.cumsum(1) * 0.1,
    "picked": lambda x, w, at: x.index_select(1, at) + x,
    "added": lambda x, w, at: gg.zeros_like(x).index_add(1, at, x) * 0.5 + x,
    "pooled": lambda x, w, at: F.max_pool1d(x, 3, 1, 1) + x,
    "convolved": lambda x, w, at: convolved(x.transpose(1, 2), w).transpose(1, 2) * 0.1,
    "far": lambda x, w, at: gg.where(x > 0.5, (x.abs() + 1).rsqrt(), x.abs()),
}  # fmt: skip


def inputs(sizes: Sizes, seed: int) -> tuple[gg.Tensor, ...]:
    rng = np.random.default_rng(seed)
    n, m, k = sizes["n"], sizes["m"], sizes["k"]
    x, w = rng.standard_normal((n, m, k)), rng.standard_normal((k, k)) / k
    return (
        gg.from_numpy(x).requires_grad_(),
        gg.from_numpy(w).requires_grad_(),
        gg.from_numpy(rng.integers(0, m, m)),
    )


def answer(function: Callable[..., gg.Tensor], given: tuple[gg.Tensor, ...]) -> list[np.ndarray]:
    """The result and the gradients."""
    x, w, at = given
    x.grad = w.grad = None
    y = function(x, w, at)
    y.backward()
    grads = [gg.zeros_like(p) if p.grad is None else p.grad for p in (x, w)]
    return [t.detach().numpy().copy() for t in (y, *grads)]


@pytest.mark.parametrize("seed", range(COUNT))
def test_every_size_is_right(seed):
    choices._known.clear()
    function = program(seed)
    compiled = gg.compile(function)
    order = SIZES[:]
    random.Random(seed).shuffle(order)
    for sizes in order:
        given = inputs(sizes, seed)
        with gg.config.scope(tier="interpret"):
            expected = answer(function, given)
        with gg.config.scope(tier="compiled"):
            found = answer(compiled, given)
        about = f"{function.steps} {sizes}"
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_allclose(right, left, rtol=1e-6, atol=1e-8, err_msg=about)


def test_a_frame_is_filled_at_every_size():
    """What is filled beside rows and what apart are two halves of one decision."""
    framed = gg.compile(lambda x: F.pad(x, (1, 1, 1, 1)))
    for shape in [(3, 200, 200), (15, 130, 64), (2, 5, 3), (33, 1, 300), (100, 7, 15), (7, 64, 2)]:
        x = gg.ones(shape)
        with gg.config.scope(tier="compiled"):
            y = framed(x).numpy()
        assert y.sum() == x.numel() and y[:, 1:-1, 1:-1].all()
