"""The models of ``others.py`` as a JAX user writes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, nn

import graphgrad
from graphgrad.bench import others
from graphgrad.bench.jax_models import (
    Params,
    batch_norm,
    conv,
    cross_entropy,
    layer_norm,
    linear,
    max_pool,
)
from graphgrad.bench.jax_training import adam, parameters, sgd, trained, trained_with_statistics
from graphgrad.bench.workload import Step, arrays, labels, seeded


def gru_loss(p: Params, x: Any, wanted: Any) -> Any:
    inputs = x @ p["weight_ih_l0"].T + p["bias_ih_l0"]

    def step(hidden: Any, at: Any) -> tuple[Any, Any]:
        own = hidden @ p["weight_hh_l0"].T + p["bias_hh_l0"]
        (ri, zi, ni), (rh, zh, nh) = (jnp.split(v, 3, axis=-1) for v in (at, own))
        new = jnp.tanh(ni + nn.sigmoid(ri + rh) * nh)
        keep = nn.sigmoid(zi + zh)
        hidden = (1 - keep) * new + keep * hidden
        return hidden, hidden

    start = jnp.zeros((x.shape[1], p["weight_hh_l0"].shape[1]))
    return ((lax.scan(step, start, inputs)[1] - wanted) ** 2).mean()


def separable_loss(p: Params, running: Params, x: Any, y: Any) -> tuple[Any, Params]:
    """Layers 0 (stem), then four blocks of six, then 27 (head); 7 and 19 halve the image."""
    after: Params = {}
    x = conv(x, p["0.weight"]) + p["0.bias"][:, None, None]
    for first in (1, 7, 13, 19):
        stride = 2 if first in (7, 19) else 1
        x = conv(x, p[f"{first}.weight"], stride, groups=x.shape[1])
        x = nn.relu6(batch_norm(p, f"{first + 1}", x, running, after))
        x = conv(x, p[f"{first + 3}.weight"])
        x = nn.relu6(batch_norm(p, f"{first + 4}", x, running, after))
    return cross_entropy(linear(p, "27", x.mean((2, 3))), y), after


def vit_loss(p: Params, images: Any, y: Any) -> Any:
    norm, heads = functools.partial(layer_norm, p), 4

    def attention(name: str, x: Any) -> Any:
        batch, length, width = x.shape
        mixed = x @ p[f"{name}.in_proj_weight"].T + p[f"{name}.in_proj_bias"]
        query, key, value = (
            part.reshape(batch, length, heads, width // heads).swapaxes(1, 2)
            for part in jnp.split(mixed, 3, axis=-1)
        )
        weights = nn.softmax(query @ key.swapaxes(2, 3) / math.sqrt(width // heads))
        found = (weights @ value).swapaxes(1, 2).reshape(batch, length, width)
        return linear(p, f"{name}.out_proj", found)

    patches = conv(images, p["patches.weight"], stride=4, padding=0)
    patches += p["patches.bias"][:, None, None]
    x = patches.reshape(*patches.shape[:2], -1).swapaxes(1, 2) + p["places"]
    for name in (f"layers.{i}" for i in range(3)):
        x = x + attention(f"{name}.self_attn", norm(f"{name}.norm1", x))
        inner = linear(p, f"{name}.linear1", norm(f"{name}.norm2", x))
        x = x + linear(p, f"{name}.linear2", nn.gelu(inner, approximate=False))
    return cross_entropy(linear(p, "head", x.mean(1)), y)


def unet_loss(p: Params, x: Any, wanted: Any) -> Any:
    def convolved(name: str, x: Any) -> Any:
        return conv(x, p[f"{name}.weight"]) + p[f"{name}.bias"][:, None, None]

    def group_norm(name: str, x: Any) -> Any:
        groups = x.reshape(len(x), 4, -1)
        mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
        x = ((groups - mean) * lax.rsqrt(variance + 1e-5)).reshape(x.shape)
        return x * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    def twice(name: str, x: Any) -> Any:
        for layer in (0, 3):
            x = nn.silu(group_norm(f"{name}.{layer + 1}", convolved(f"{name}.{layer}", x)))
        return x

    def rise(name: str, x: Any) -> Any:
        """A transposed convolution whose 2×2 windows do not overlap."""
        y = jnp.einsum("ncij,coab->noiajb", x, p[f"{name}.weight"])
        count, channels, height, _, width, _ = y.shape
        y = y.reshape(count, channels, 2 * height, 2 * width)
        return y + p[f"{name}.bias"][:, None, None]

    one = twice("down1", x)
    two = twice("down2", max_pool(one))
    y = twice("bottom", max_pool(two))
    y = twice("up2", jnp.concatenate([rise("rise2", y), two], 1))
    y = twice("up1", jnp.concatenate([rise("rise1", y), one], 1))
    return ((convolved("last", y) - wanted) ** 2).mean()


def vae_loss(p: Params, images: Any, noise: Any) -> Any:
    images = nn.sigmoid(images)
    mean, log_variance = jnp.split(linear(p, "0.2", nn.relu(linear(p, "0.0", images))), 2, axis=1)
    hidden = mean + noise * jnp.exp(0.5 * log_variance)
    shown = linear(p, "1.2", nn.relu(linear(p, "1.0", hidden)))
    error = (nn.softplus(shown) - images * shown).sum()
    distance = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance)).sum()
    return (error + distance) / len(images)


def critic_loss(p: Params, real: Any, fake: Any, between: Any) -> Any:
    def critic(x: Any) -> Any:
        for layer in ("0", "2"):
            x = jnp.tanh(linear(p, layer, x))
        return linear(p, "4", x)

    slope = jax.grad(lambda x: critic(x).sum())(between)
    penalty = ((jnp.sqrt((slope**2).sum(1)) - 1) ** 2).mean()
    return critic(fake).mean() - critic(real).mean() + 10 * penalty


def separable() -> Step:
    module = seeded(graphgrad, others.separable_net(graphgrad))
    optimizer = sgd(parameters(module), 0.01, 0.9, 1e-4)
    data = (*arrays((12, 3, 32, 32)), labels(12, 20))
    return trained_with_statistics(separable_loss, module, optimizer, *data)


def with_adam(loss: Callable[..., Any], make: Callable[[Any], Any], *data: Any) -> Step:
    params = parameters(seeded(graphgrad, make(graphgrad)))
    return trained(loss, params, adam(params, 1e-3), *data)


def gru() -> Step:
    data = arrays((32, 20, 48), (32, 20, 96))
    return with_adam(gru_loss, lambda t: t.nn.GRU(48, 96), *data)


def vit() -> Step:
    return with_adam(vit_loss, others.vit_net, *arrays((16, 3, 32, 32)), labels(16, 10))


def unet() -> Step:
    return with_adam(unet_loss, others.unet_net, *arrays((6, 3, 48, 48), (6, 3, 48, 48)))


def vae() -> Step:
    return with_adam(vae_loss, others.vae_net, *arrays((96, 784), (96, 20)))


def gradient_penalty() -> Step:
    data = arrays((80, 32), (80, 32), (80, 32))
    return with_adam(critic_loss, others.critic_net, *data)


OTHERS: dict[str, Callable[[], Step]] = {
    "GRU 48→96": gru,
    "depthwise convolutions": separable,
    "small ViT": vit,
    "small U-Net": unet,
    "VAE": vae,
    "gradient penalty": gradient_penalty,
}
