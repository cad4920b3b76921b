"""Values on their way from PyTorch to graphgrad and back, as NumPy arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map

import graphgrad

# Two implementations sum in different orders; float64 leaves little room for anything else.
TOLERANCE = {
    torch.float32: {"rtol": 2e-4, "atol": 2e-5},
    torch.float64: {"rtol": 1e-7, "atol": 1e-8},
}
_NAMED = (torch.dtype, torch.layout, torch.memory_format)
_place = "cpu"  # where our side of a comparison is


class Uncarried(Exception):
    """A sample holds what a NumPy array cannot: a sparse layout, complex halves, shared memory."""


@contextlib.contextmanager
def at(place: str) -> Iterator[None]:
    """Put our tensors on a device: samples come there, and what is compared must be there."""
    global _place
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before


def place() -> str:
    """The device of our tensors."""
    return _place


def array(value: torch.Tensor) -> np.ndarray:
    """A PyTorch tensor's numbers."""
    value = value.detach().resolve_conj().resolve_neg()
    if value.dtype is torch.bfloat16:
        return value.float().numpy(force=True).astype(graphgrad.bfloat16.numpy)
    return value.numpy(force=True)


def numbers(value: Any) -> np.ndarray:
    """The numbers of one of our tensors (or of PyTorch's, where a sample's own hook made one).

    Raises AssertionError where it is on another device than the samples.
    """
    if isinstance(value, torch.Tensor):
        return array(value)
    if value.device.type != _place:
        raise AssertionError(f"a result on {value.device}, not on {_place}")
    return value.detach().numpy(force=True)


def carried(value: Any, wants_grad: bool = False) -> Any:
    """One PyTorch value as ours; what is no tensor, dtype or device stays as it is.

    Raises Uncarried.
    """
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized:
            raise Uncarried(f"{value.layout} tensor")
        if value.dtype is torch.complex32:
            raise Uncarried(f"{value.dtype} has no NumPy dtype")
        wants_grad = wants_grad and value.requires_grad
        return graphgrad.tensor(array(value.clone()), device=_place, requires_grad=wants_grad)
    if isinstance(value, _NAMED):
        return getattr(graphgrad, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return tuple(value)
    return _place if isinstance(value, torch.device) else value


def carried_all(values: Iterable[Any], wants_grad: bool = False) -> list[Any]:
    """Flat values as ours; a tensor that is passed twice stays one tensor."""
    ours: dict[int, Any] = {}
    return [ours.setdefault(id(v), carried(v, wants_grad)) for v in values]


def cut_loose(values: Iterable[Any]) -> list[Any]:
    """Flat values with each tensor a leaf of its own, without the graph that built the sample."""
    leaves: dict[int, Any] = {}

    def leaf(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        fresh = value.detach().requires_grad_(value.requires_grad)
        return leaves.setdefault(id(value), fresh)

    return [leaf(value) for value in values]


def tensors(tree: Any, kind: type) -> list[Any]:
    """The tensors among an operator's results."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, kind)]


def differentiable(value: Any) -> bool:
    """Whether PyTorch gives a real gradient for this argument."""
    return isinstance(value, torch.Tensor) and value.requires_grad and value.is_floating_point()


def cotangents(outputs: Iterable[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Random gradients of some outputs."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs
    ]


def gradients(outputs: Any, inputs: Any, incoming: Any, create_graph: bool) -> list[Any]:
    """Our gradients, None where an output does not depend on an input."""
    return list(
        graphgrad.autograd.grad(
            outputs,
            inputs,
            grad_outputs=[carried(c) for c in incoming],
            allow_unused=True,
            create_graph=create_graph,
        )
    )


def same(ours: np.ndarray, theirs: np.ndarray, dtype: torch.dtype, what: str) -> None:
    """Raise AssertionError unless shape, dtype and numbers agree."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(
            f"{what}: {ours.dtype}{list(ours.shape)}, PyTorch {theirs.dtype}{list(theirs.shape)}"
        )
    np.testing.assert_allclose(ours, theirs, equal_nan=True, err_msg=what, **TOLERANCE[dtype])


def our_arguments(*trees: Any) -> Any:
    """Arguments as ours, gradients not wanted."""
    return tree_map(carried, trees)
