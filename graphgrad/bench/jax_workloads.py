"""The workloads as a JAX user writes them: pure functions, ``value_and_grad``, one donated state.

``PROGRAMS`` maps a workload's name to what makes its step. Parameters come from the same modules
as everybody else's, by name, so losses agree; data are arguments, so XLA cannot fold them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn

import graphgrad
from graphgrad.bench import jax_models as models
from graphgrad.bench import models as modules
from graphgrad.bench import workloads
from graphgrad.bench.jax_others import OTHERS
from graphgrad.bench.jax_training import (
    Params,
    adam,
    called,
    parameters,
    repeated,
    sgd,
    trained,
    trained_with_statistics,
)
from graphgrad.bench.workload import Step, arrays, labels, seeded


def polynomial() -> Step:
    def loss(weights: Any, x: Any, y: Any) -> Any:
        prediction = sum(w * x**power for power, w in enumerate(weights))
        return ((prediction - y) ** 2).sum()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(weights: Any, data: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(weights, *data)
        return [w - 0.55e-7 * g for w, g in zip(weights, grads, strict=True)], value

    x = np.linspace(-math.pi, math.pi, 2000, dtype=np.float32)
    return repeated(step, [jnp.float32(w) for w in workloads.POLYNOMIAL], (x, np.sin(x)))


def own_layer() -> Step:
    weight, bias, x, y = arrays((5, 3), (5,), (10, 5), (10, 3))
    params = {"weight": jnp.array(weight), "bias": jnp.abs(bias) + 0.1}

    def loss(p: Params, x: Any, y: Any) -> Any:
        return ((jnp.sqrt(x**2 + p["bias"]) @ p["weight"] - y) ** 2).sum()

    return trained(loss, params, adam(params, 1e-4), x, y)


def mlp() -> Step:
    params = parameters(seeded(graphgrad, modules.mlp(graphgrad)))
    data = (*arrays((128, 784)), labels(128, 10))
    return trained(models.mlp, params, adam(params, 1e-3), *data)


def lenet() -> Step:
    params = parameters(seeded(graphgrad, modules.lenet(graphgrad)))
    data = (*arrays((64, 1, 28, 28)), labels(64, 10))
    return trained(models.lenet, params, sgd(params, 0.01, 0.9), *data)


def lstm() -> Step:
    params = parameters(seeded(graphgrad, graphgrad.nn.LSTM(64, 128)))
    return trained(models.lstm, params, adam(params, 1e-3), *arrays((64, 32, 64)))


def gelu() -> Step:
    def value(x: Any, b: Any) -> Any:
        return (nn.gelu(x * b + x, approximate=False) * nn.sigmoid(b)).sum()

    return called(jax.value_and_grad(value, (0, 1)), *arrays((2048, 2048), (2048, 2048)))


def softmax_of_norm() -> Step:
    def value(x: Any, wanted: Any) -> Any:
        return (nn.softmax(models.normalized(x)) * wanted).sum()

    return called(jax.value_and_grad(value), *arrays((4096, 1024), (4096, 1024)))


def matmul() -> Step:
    return called(jnp.matmul, *arrays((1024, 1024), (1024, 1024)))


def convolution() -> Step:
    return called(models.conv, *arrays((16, 64, 32, 32), (64, 64, 3, 3)))


def gpt() -> Step:
    params = parameters(seeded(graphgrad, modules.gpt(graphgrad)))
    return trained(models.gpt, params, adam(params, 3e-4, 0.01), *workloads.gpt_tokens())


def resnet() -> Step:
    module = seeded(graphgrad, modules.resnet18(graphgrad))
    optimizer = sgd(parameters(module), 0.01, 0.9)
    data = (*arrays((16, 3, 32, 32)), labels(16, 10))
    return trained_with_statistics(models.resnet, module, optimizer, *data)


def call(count: int) -> Callable[[], Step]:
    def build() -> Step:
        return called(lambda *xs: sum(xs[1:], xs[0]) * 2.0, *arrays(*[(16,)] * count))

    return build


PROGRAMS: dict[str, Callable[[], Step]] = {
    "sin(x), quintic": polynomial,
    "own layer, Adam": own_layer,
    "MLP, Adam": mlp,
    "LeNet-5, SGD": lenet,
    "LSTM 64→128, Adam": lstm,
    "gelu chain, 4M": gelu,
    "softmax(layer_norm)": softmax_of_norm,
    "matmul 1024³": matmul,
    "conv 3×3": convolution,
    "GPT ×4, AdamW": gpt,
    "ResNet-18, SGD": resnet,
    **OTHERS,
    **{f"call, {n} tensor{'s' * (n > 1)}": call(n) for n in range(1, 9)},
}
