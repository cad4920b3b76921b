"""The optimizer database: five steps of a small regression from the same numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_optimizers import optim_db

import graphgrad
from tests.conformance.operators import Case
from tests.conformance.relay import required
from tests.conformance.values import array, numbers, our_arguments, place, same

# Which implementation of PyTorch's runs, not what it computes.
_SWITCHES = {"foreach", "fused", "capturable", "differentiable"}
_SHAPES = ((4, 3), (3, 2))
_STEPS = 5


def names(dtype: torch.dtype) -> list[str]:
    """The optimizers that take dense gradients."""
    return list(_entries())


def samples(name: str, dtype: torch.dtype) -> Iterator[Case]:
    """One case a set of arguments of an optimizer."""
    for index, sample in enumerate(_entries()[name].optim_inputs_func(device="cpu")):
        kwargs = {k: v for k, v in sample.kwargs.items() if k not in _SWITCHES}
        yield f"{name}[{index}]", functools.partial(_compare, name, kwargs, dtype)


@functools.cache
def _entries() -> dict[str, Any]:
    return {i.optim_cls.__name__: i for i in optim_db if not i.only_supports_sparse_grads}


def _compare(name: str, kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    (our_kwargs,) = our_arguments(kwargs)
    theirs = _trained(torch.tensor, getattr(torch.optim, name), kwargs, dtype)
    put = functools.partial(graphgrad.tensor, device=place())
    ours = _trained(put, required(f"optim.{name}"), our_kwargs, dtype)
    for index, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        same(numbers(mine), array(reference), dtype, f"parameter {index} after {_STEPS} steps")


def _trained(
    tensor: Callable[..., Any],
    optimizer_class: Callable[..., Any],
    kwargs: dict[str, Any],
    dtype: torch.dtype,
) -> list[Any]:
    rng = np.random.default_rng(0)
    kind = str(dtype).removeprefix("torch.")
    first, wanted = ([rng.normal(size=s).astype(kind) for s in _SHAPES] for _ in range(2))
    parameters = [tensor(a, requires_grad=True) for a in first]
    targets = [tensor(a) for a in wanted]
    optimizer = optimizer_class(parameters, **kwargs)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - t) ** 2).sum() for p, t in zip(parameters, targets, strict=True))
        loss.backward()
        return loss

    for _ in range(_STEPS):
        optimizer.step(closure)
    return parameters
