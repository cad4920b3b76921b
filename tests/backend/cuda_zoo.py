"""Small training steps of every kind: what the tests of CUDA kernels are about.

for name, loops in planned(monkeypatch): ...      # loop regions, with what is written over what
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cuda_models import Loop, loops_of

import graphgrad as torch
from graphgrad import nn
from graphgrad.bench import models
from graphgrad.nn import functional as F

Step = Callable[[], Any]


def _trained(net: Any, optimizer: Any, loss_of: Callable[[], Any]) -> Step:
    @torch.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _classified(net: Any, optimizer: Any, *shape: int, classes: int = 10) -> Step:
    images, labels = torch.randn(*shape), torch.randint(0, classes, (shape[0],))
    return _trained(net, optimizer, lambda: F.cross_entropy(net(images), labels))


def mlp() -> Step:
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    return _classified(net, torch.optim.Adam(net.parameters(), lr=1e-3), 12, 20)


def lenet() -> Step:
    net = models.lenet(torch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return _classified(net, optimizer, 4, 1, 28, 28)


def lstm() -> Step:
    net, sequence = nn.LSTM(12, 16), torch.randn(7, 3, 12)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return _trained(net, optimizer, lambda: net(sequence)[0].square().mean())


class _Residual(nn.Module):
    """A stem, a block that strides, and the pooled mean: what a ResNet is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.Conv2d(16, 16, 3, padding=1)
        self.norm_a, self.norm_b = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
        self.short, self.head = nn.Conv2d(8, 16, 1, 2, bias=False), nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 3, 2, 1)
        y = self.norm_b(self.b(F.relu(self.norm_a(self.a(x)))))
        return self.head(F.relu(y + self.short(x)).mean((2, 3)))


def resnet() -> Step:
    net = _Residual()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return _classified(net, optimizer, 4, 3, 24, 24)


class _Gpt(nn.Module):
    """One pre-norm block of causal attention and a perceptron, between an embedding and a head."""

    def __init__(self, vocabulary: int = 64, length: int = 20, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.places
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        query, key, value = (p.view(batch, length, 2, width // 2).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x).flatten(0, 1)


def gpt() -> Step:
    net, tokens = _Gpt(), torch.randint(0, 64, (3, 20))
    wanted = torch.randint(0, 64, (60,))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    return _trained(net, optimizer, lambda: F.cross_entropy(net(tokens), wanted))


def _differentiated(f: Callable[..., Any], *shapes: tuple[int, ...]) -> Step:
    """A function with its gradient."""
    xs = [torch.randn(*shape, requires_grad=True) for shape in shapes]

    @torch.compile
    def step() -> Any:
        return torch.autograd.grad(f(*xs).sum(), xs)

    return step


def gelu() -> Step:
    return _differentiated(lambda x, b: F.gelu(x * b + x) * torch.sigmoid(b), (64, 96), (64, 96))


def softmax_of_norm() -> Step:
    def f(x: Any, g: Any) -> Any:
        return torch.softmax(F.layer_norm(x, (x.shape[1],)), -1) * g

    return _differentiated(f, (37, 200), (37, 200))


def long_rows() -> Step:
    """Rows walked in loops, a whole array, columns of few and of many rows."""

    def f(x: Any) -> Any:
        rows = torch.log_softmax(x, 1).square().mean() + x.std()
        return rows + torch.softmax(x.t(), 0).amax(0).sum() + x.mean(0).square().sum()

    return _differentiated(f, (6, 5001))


def moved() -> Step:
    """Sorted, summed up, gathered, scattered, padded, joined, turned."""
    x = torch.randn(9, 70, requires_grad=True)
    index = torch.randint(0, 70, (9, 40))

    @torch.compile
    def step() -> Any:
        ordered, places = x.sort(1, descending=True)
        running = torch.cumsum(ordered, 1) + torch.cumsum(x, 0) + torch.cummax(x, 1)[0]
        taken = torch.gather(running, 1, index)
        padded = F.pad(torch.cat([taken, x.flip(1)], 1), (3, 2, 1, 1), value=0.5)
        turned = padded.t()
        loss = (turned.contiguous().square() + turned.argmax(0)).sum()
        spread = torch.zeros(9, 70).scatter(1, index, taken.detach())
        return torch.autograd.grad(loss, [x]), spread, places

    return step


MODELS: dict[str, Callable[[], Step]] = {
    f.__name__: f for f in (mlp, lenet, lstm, resnet, gpt, gelu, softmax_of_norm, long_rows, moved)
}


def planned(name: str, monkeypatch: Any) -> list[Loop]:
    """The loops of a model's step."""
    torch.manual_seed(0)
    return loops_of(MODELS[name](), monkeypatch)
