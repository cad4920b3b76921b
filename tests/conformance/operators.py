"""The operator database: outputs, first and second gradients, and inputs that must raise."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_unflatten

import graphgrad
from tests.conformance.relay import ours_of
from tests.conformance.values import (
    Uncarried,
    array,
    carried_all,
    cotangents,
    cut_loose,
    differentiable,
    gradients,
    numbers,
    our_arguments,
    same,
    tensors,
)

Case = tuple[str, Callable[[], None]]
# Names of operators that draw random numbers: only shapes can agree. Their draws sometimes coincide
# under two seeds, which is how the others of that kind are told.
_RANDOM = ("dropout", "rrelu", "fractional", "lowrank", "normal", "bernoulli")
_NOT_RANDOM = "nn.functional.normalize"


def names(dtype: torch.dtype) -> list[str]:
    """The entries that PyTorch differentiates in this dtype."""
    return list(_entries(dtype))


def twice_differentiable(dtype: torch.dtype) -> list[str]:
    """Those whose gradients PyTorch differentiates too."""
    return [name for name, operator in _entries(dtype).items() if operator.supports_gradgrad]


def samples(name: str, dtype: torch.dtype, order: int = 1, limit: int = 0) -> Iterator[Case]:
    """One case a sample input of an entry: outputs, and gradients up to an order."""
    operator = _entries(dtype)[name]
    inputs = operator.sample_inputs("cpu", dtype, requires_grad=True)
    for index, sample in enumerate(itertools.islice(inputs, limit or None)):
        yield f"{name}[{index}]", functools.partial(_compare, operator, sample, dtype, order)


def mistakes(name: str, dtype: torch.dtype) -> Iterator[Case]:
    """One case an input of an entry that PyTorch refuses."""
    operator = _entries(dtype)[name]
    if operator.error_inputs_func is None:
        return
    for index, mistake in enumerate(operator.error_inputs("cpu")):
        yield f"{name}[{index}]", functools.partial(_refuses, operator, mistake)


@functools.cache
def _entries(dtype: torch.dtype) -> dict[str, Any]:
    wanted = (
        o
        for o in op_db
        if o.supports_autograd and dtype in o.supported_backward_dtypes(torch.device("cpu").type)
    )
    return {".".join(filter(None, (o.name, o.variant_test_name))): o for o in wanted}


def _compare(operator: Any, sample: Any, dtype: torch.dtype, order: int) -> None:
    flat, form = tree_flatten((sample.input, sample.args, sample.kwargs))
    flat = cut_loose(flat)
    results = [_under_seed(seed, operator, tree_unflatten(flat, form)) for seed in (0, 1)]
    # The database's own way to hide what is not unique, such as the signs of singular vectors.
    visible = sample.output_process_fn_grad
    theirs, again = (tensors(visible(result), torch.Tensor) for result in results)

    our_flat = carried_all(flat, wants_grad=True)
    args = tree_unflatten(our_flat, form)
    ours = tensors(visible(ours_of(operator)(args[0], *args[1], **args[2])), graphgrad.Tensor)
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} outputs, PyTorch gives {len(theirs)}")
    if _draws(operator.name, theirs, again):
        shapes = [tuple(t.shape) for t in ours], [tuple(t.shape) for t in theirs]
        if shapes[0] != shapes[1]:
            raise AssertionError(f"shapes {shapes[0]}, PyTorch {shapes[1]}")
        return
    for index, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        if not reference.is_complex():
            same(numbers(mine), array(reference), dtype, f"output {index}")

    inputs = [(t, o) for t, o in zip(flat, our_flat, strict=True) if differentiable(t)]
    outputs = [(t, o) for t, o in zip(theirs, ours, strict=True) if differentiable(t)]
    compare_gradients(outputs, inputs, dtype, order)


Pairs = list[tuple[torch.Tensor, Any]]


def compare_gradients(outputs: Pairs, inputs: Pairs, dtype: torch.dtype, order: int) -> None:
    """Gradients of the outputs, then of those gradients, up to an order; each pair theirs, ours."""
    for level in range(1, order + 1):
        if not outputs or not inputs:
            return
        further = level < order
        incoming = cotangents([t for t, _ in outputs], level)
        theirs = torch.autograd.grad(
            [t for t, _ in outputs],
            [t for t, _ in inputs],
            incoming,
            allow_unused=True,
            create_graph=further,
        )
        ours = gradients([o for _, o in outputs], [o for _, o in inputs], incoming, further)
        for index, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
            _compare_gradient(mine, reference, dtype, f"gradient {index} of order {level}")
        outputs = [
            (t, o)
            for t, o in zip(theirs, ours, strict=True)
            if t is not None and t.requires_grad and o is not None
        ]


def _compare_gradient(ours: Any, theirs: Any, dtype: torch.dtype, what: str) -> None:
    if theirs is not None and ours is not None:
        same(numbers(ours), array(theirs), dtype, what)
    elif theirs is not None:
        raise AssertionError(f"{what} is None, PyTorch has one")
    elif ours is not None and numbers(ours).any():
        raise AssertionError(f"{what} is not zero, PyTorch has none")


def _under_seed(seed: int, operator: Any, args: Any) -> Any:
    """PyTorch's result; the database's wrappers may not seed the generator again."""
    torch.manual_seed(seed)
    with mock.patch.object(torch, "manual_seed", lambda seed: None):
        return operator.op(args[0], *args[1], **args[2])


def _draws(name: str, first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    if any(word in name for word in _RANDOM) and name != _NOT_RANDOM:
        return True
    real = [(a, b) for a, b in zip(first, second, strict=True) if not a.is_complex()]
    return any(not torch.equal(_clean(a), _clean(b)) for a, b in real)


def _clean(value: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(value.detach().double())


def _refuses(operator: Any, mistake: Any) -> None:
    if "unsupported operation" in str(mistake.error_regex):
        raise Uncarried("outputs that share memory with inputs")
    sample = mistake.sample_input
    first, args, kwargs = our_arguments(sample.input, sample.args, sample.kwargs)
    expected = mistake.error_type if isinstance(mistake.error_type, type) else Exception
    try:
        ours_of(operator)(first, *args, **kwargs)
    except NotImplementedError:
        raise
    except expected:
        return
    raise AssertionError(f"no {expected.__name__}: {mistake.error_regex}")
