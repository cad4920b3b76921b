"""The larger networks of the main table, written once over ``torch``-like namespaces."""

from __future__ import annotations

import itertools
from typing import Any

GPT_VOCABULARY, GPT_LENGTH, GPT_WIDTH, GPT_HEADS, GPT_BLOCKS = 512, 128, 256, 8, 4


def mlp(t: Any) -> Any:
    """A perceptron, 784-256-128-10."""
    nn = t.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lenet(t: Any) -> Any:
    """LeNet-5 for images of 28×28."""
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def gpt(t: Any) -> Any:
    """A decoder of pre-norm blocks: causal attention, and a perceptron four times as wide."""
    nn, functional = t.nn, t.nn.functional
    width, heads = GPT_WIDTH, GPT_HEADS

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attention(self, x: Any) -> Any:
            batch, length, _ = x.shape
            query, key, value = (
                part.view(batch, length, heads, width // heads).transpose(1, 2)
                for part in self.qkv(x).split(width, dim=2)
            )
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            return self.out(mixed.transpose(1, 2).reshape(batch, length, width))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class Decoder(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(GPT_VOCABULARY, width)
            self.places = nn.Parameter(t.zeros(GPT_LENGTH, width))
            self.blocks = nn.Sequential(*(Block() for _ in range(GPT_BLOCKS)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, GPT_VOCABULARY, bias=False)

        def forward(self, tokens: Any) -> Any:
            """(batch, length) numbers to (batch · length, vocabulary) scores."""
            x = self.blocks(self.tokens(tokens) + self.places)
            return self.head(self.norm(x)).flatten(0, 1)

    return Decoder()


def resnet18(t: Any) -> Any:
    """ResNet-18 for images of 32×32: a 3×3 stem and no pooling before the first stage."""
    nn, functional = t.nn, t.nn.functional

    def convolution(inner: int, outer: int, size: int, stride: int) -> Any:
        padding = size // 2
        conv = nn.Conv2d(inner, outer, size, stride=stride, padding=padding, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outer))

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.first = convolution(inner, outer, 3, stride)
            self.second = convolution(outer, outer, 3, 1)
            same = inner == outer and stride == 1
            self.short = nn.Identity() if same else convolution(inner, outer, 1, stride)

        def forward(self, x: Any) -> Any:
            y = self.second(functional.relu(self.first(x)))
            return functional.relu(y + self.short(x))

    widths = (64, 64, 128, 256, 512)
    stages = [
        nn.Sequential(Block(inner, outer, 1 if inner == outer else 2), Block(outer, outer, 1))
        for inner, outer in itertools.pairwise(widths)
    ]
    return nn.Sequential(
        convolution(3, 64, 3, 1), nn.ReLU(), *stages,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
