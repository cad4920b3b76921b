"""The module database, in evaluation mode: built from the same arguments, with the same state."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_flatten, tree_unflatten

import graphgrad
from tests.conformance.operators import Case, compare_gradients
from tests.conformance.relay import required
from tests.conformance.values import (
    array,
    carried,
    carried_all,
    cut_loose,
    differentiable,
    numbers,
    our_arguments,
    place,
    same,
    tensors,
)


def names(dtype: torch.dtype) -> list[str]:
    """The modules that PyTorch tests in this dtype; lazy ones become others when called."""
    return list(_entries(dtype))


def samples(name: str, dtype: torch.dtype, limit: int = 0) -> Iterator[Case]:
    """One case a set of arguments of a module."""
    info = _entries(dtype)[name]
    torch.manual_seed(0)
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=False
    )
    for index, sample in enumerate(itertools.islice(inputs, limit or None)):
        yield f"{name}[{index}]", functools.partial(_compare, name, info, sample, dtype)


@functools.cache
def _entries(dtype: torch.dtype) -> dict[str, Any]:
    tested = (i for i in module_db if not i.is_lazy and dtype in i.supported_dtypes("cpu"))
    return {i.module_cls.__name__: i for i in tested}


def _compare(name: str, info: Any, sample: Any, dtype: torch.dtype) -> None:
    args, kwargs = sample.constructor_input.args, dict(sample.constructor_input.kwargs)
    theirs = info.module_cls(*args, **kwargs).to(dtype).eval()
    our_args, our_kwargs = our_arguments(args, kwargs)
    ours = required(f"nn.{name}")(*our_args, **our_kwargs)
    ours = ours.to(place(), carried(dtype)).eval()
    ours.load_state_dict({key: carried(value) for key, value in theirs.state_dict().items()})

    flat, form = tree_flatten((sample.forward_input.args, sample.forward_input.kwargs))
    flat = cut_loose(flat)
    our_flat = carried_all(flat, wants_grad=True)
    args, kwargs = tree_unflatten(flat, form)
    our_args, our_kwargs = tree_unflatten(our_flat, form)
    outputs = list(
        zip(
            tensors(theirs(*args, **kwargs), torch.Tensor),
            tensors(ours(*our_args, **our_kwargs), graphgrad.Tensor),
            strict=True,
        )
    )
    for index, (reference, mine) in enumerate(outputs):
        same(numbers(mine), array(reference), dtype, f"output {index}")
    inputs = [(t, o) for t, o in zip(flat, our_flat, strict=True) if differentiable(t)]
    inputs += zip(theirs.parameters(), ours.parameters(), strict=True)
    compare_gradients([(t, o) for t, o in outputs if differentiable(t)], inputs, dtype, order=1)
