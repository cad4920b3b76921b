"""What JAX's programs share: its threads, optimizers as functions, steps with a donated state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from graphgrad.bench.workload import Step

Params = dict[str, Any]
Update = Callable[[Params, Params, Any], tuple[Params, Any]]
_threads = 0


def start(threads: int) -> None:
    """Make JAX's threads: as many as the process has cores now, for the rest of its life.

    Raises ValueError if it runs with another number already.
    """
    global _threads
    if _threads not in (0, threads):
        raise ValueError(f"JAX already runs with {_threads} threads in this process")
    _threads = threads
    jax.config.update("jax_platforms", "cpu")
    jax.devices()


def parameters(module: Any) -> Params:
    """Names and arrays of a module of ours."""
    return {name: jnp.array(p.detach().numpy()) for name, p in module.named_parameters()}


# ---- optimizers: (state to start with, update) ---------------------------------------------------


def sgd(params: Params, lr: float, momentum: float, decay: float = 0.0) -> tuple[Any, Update]:
    """PyTorch's SGD with momentum."""

    def update(params: Params, grads: Params, velocity: Params) -> tuple[Params, Params]:
        velocity = {k: momentum * v + grads[k] + decay * params[k] for k, v in velocity.items()}
        return {k: p - lr * velocity[k] for k, p in params.items()}, velocity

    return {k: jnp.zeros_like(p) for k, p in params.items()}, update


def adam(params: Params, lr: float, decay: float = 0.0) -> tuple[Any, Update]:
    """PyTorch's Adam; with ``decay``, AdamW."""

    def update(params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        count, first, second = state
        count += 1
        first = {k: 0.9 * m + 0.1 * grads[k] for k, m in first.items()}
        second = {k: 0.999 * v + 0.001 * grads[k] ** 2 for k, v in second.items()}
        size, root = lr / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        params = {
            k: p * (1 - lr * decay) - size * first[k] / (jnp.sqrt(second[k]) / root + 1e-8)
            for k, p in params.items()
        }
        return params, (count, first, second)

    zeros = [{k: jnp.zeros_like(p) for k, p in params.items()} for _ in range(2)]
    return (jnp.zeros((), jnp.float32), *zeros), update


def trained(loss: Callable[..., Any], params: Params, optimizer: Any, *data: Any) -> Step:
    """A training step: the value of ``loss(params, *data)``, its gradients and the update."""
    moments, update = optimizer

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, data: Any) -> Any:
        params, moments = state
        value, grads = jax.value_and_grad(loss)(params, *data)
        return update(params, grads, moments), value

    return repeated(step, (params, moments), data)


def trained_with_statistics(
    loss: Callable[..., Any], module: Any, optimizer: Any, *data: Any
) -> Step:
    """The same for batch norm, whose running statistics are state too.

    ``loss(params, statistics, *data)`` returns its value and the new statistics.
    """
    moments, update = optimizer
    statistics = {
        name: jnp.array(b.numpy()) for name, b in module.named_buffers() if "running" in name
    }

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, data: Any) -> Any:
        params, statistics, moments = state
        graded = jax.value_and_grad(loss, has_aux=True)
        (value, statistics), grads = graded(params, statistics, *data)
        params, moments = update(params, grads, moments)
        return (params, statistics, moments), value

    return repeated(step, (parameters(module), statistics, moments), data)


def repeated(step: Callable[[Any, Any], Any], state: Any, data: Any) -> Step:
    """Calls of ``step(state, data) -> (state, value)``, each finished before it returns."""
    data = [jnp.array(x) for x in data]

    def run() -> Any:
        nonlocal state
        state, value = step(state, data)
        return value.block_until_ready()

    return run


def called(function: Callable[..., Any], *data: Any) -> Step:
    """Calls of a jitted function; the first thing it returns is the value."""
    data, jitted = tuple(jnp.array(x) for x in data), jax.jit(function)
    return lambda: jax.block_until_ready(jax.tree.leaves(jitted(*data)))[0]
