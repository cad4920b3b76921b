"""The networks of ``models.py`` as losses of named parameters, in plain ``jax.numpy``."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
from jax import lax, nn

from graphgrad.bench.models import GPT_BLOCKS, GPT_HEADS

Params = dict[str, Any]


def linear(p: Params, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def conv(x: Any, weight: Any, stride: int = 1, padding: int | None = None, groups: int = 1) -> Any:
    """``padding=None`` keeps the size of the image."""
    around = weight.shape[-1] // 2 if padding is None else padding
    return lax.conv_general_dilated(
        x, weight, (stride, stride), [(around, around)] * 2, feature_group_count=groups
    )


def max_pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def normalized(x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5)


def layer_norm(p: Params, name: str, x: Any) -> Any:
    return normalized(x) * p[f"{name}.weight"] + p[f"{name}.bias"]


def cross_entropy(scores: Any, wanted: Any) -> Any:
    chosen = jnp.take_along_axis(nn.log_softmax(scores), wanted[:, None], 1)
    return -chosen.mean()


def mlp(p: Params, x: Any, y: Any) -> Any:
    for layer in ("0", "2"):
        x = nn.relu(linear(p, layer, x))
    return cross_entropy(linear(p, "4", x), y)


def lenet(p: Params, x: Any, y: Any) -> Any:
    for layer, padding in (("0", 2), ("3", 0)):
        bias = p[f"{layer}.bias"][:, None, None]
        x = max_pool(nn.relu(conv(x, p[f"{layer}.weight"], padding=padding) + bias))
    x = x.reshape(len(x), -1)
    for layer in ("7", "9"):
        x = nn.relu(linear(p, layer, x))
    return cross_entropy(linear(p, "11", x), y)


def lstm(p: Params, x: Any) -> Any:
    """The mean square of all states; the inputs' share of the gates is one product."""
    inputs = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"]

    def step(state: Any, at: Any) -> Any:
        hidden, cell = state
        i, f, g, o = jnp.split(at + hidden @ p["weight_hh_l0"].T, 4, axis=-1)
        cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
        hidden = nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    zeros = jnp.zeros((x.shape[1], p["weight_hh_l0"].shape[1]))
    _, states = lax.scan(step, (zeros, zeros), inputs)
    return (states**2).mean()


def gpt(p: Params, tokens: Any, wanted: Any) -> Any:
    norm = functools.partial(layer_norm, p)

    def attention(block: str, x: Any) -> Any:
        batch, length, width = x.shape
        query, key, value = (
            part.reshape(batch, length, GPT_HEADS, width // GPT_HEADS).swapaxes(1, 2)
            for part in jnp.split(linear(p, f"{block}.qkv", x), 3, axis=-1)
        )
        scores = query @ key.swapaxes(2, 3) / math.sqrt(width // GPT_HEADS)
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
        mixed = nn.softmax(scores) @ value
        return linear(p, f"{block}.out", mixed.swapaxes(1, 2).reshape(batch, length, width))

    x = p["tokens.weight"][tokens] + p["places"]
    for block in (f"blocks.{i}" for i in range(GPT_BLOCKS)):
        x = x + attention(block, norm(f"{block}.norm1", x))
        inner = nn.gelu(linear(p, f"{block}.up", norm(f"{block}.norm2", x)), approximate=False)
        x = x + linear(p, f"{block}.down", inner)
    scores = norm("norm", x) @ p["head.weight"].T
    return cross_entropy(scores.reshape(-1, scores.shape[-1]), wanted)


def batch_norm(p: Params, name: str, x: Any, running: Params, after: Params) -> Any:
    """Normalised over the batch; ``after`` receives the running statistics' next values."""
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    count = x.size / x.shape[1]
    for key, value in {"mean": mean, "var": variance * count / (count - 1)}.items():
        kept = f"{name}.running_{key}"
        after[kept] = 0.9 * running[kept] + 0.1 * lax.stop_gradient(value)
    scale = p[f"{name}.weight"] * lax.rsqrt(variance + 1e-5)
    shift = p[f"{name}.bias"] - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def resnet(p: Params, running: Params, x: Any, y: Any) -> tuple[Any, Params]:
    """The loss, and the running statistics after this batch."""
    after: Params = {}

    def convolved(name: str, x: Any, stride: int = 1) -> Any:
        x = conv(x, p[f"{name}.0.weight"], stride)
        return batch_norm(p, f"{name}.1", x, running, after)

    x = nn.relu(convolved("0", x))
    for stage in range(2, 6):
        for block in (f"{stage}.0", f"{stage}.1"):
            stride = 2 if f"{block}.short.0.weight" in p else 1
            short = convolved(f"{block}.short", x, stride) if stride > 1 else x
            inner = nn.relu(convolved(f"{block}.first", x, stride))
            x = nn.relu(convolved(f"{block}.second", inner) + short)
    return cross_entropy(linear(p, "8", x.mean((2, 3))), y), after
