"""Copies of views, and writes that return a new tensor.

graphgrad.permute_copy(x, (1, 0))      x.put(index, source)      graphgrad.fill(x, 0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.tensor import convert, shapes, splitting
from graphgrad.tensor.core import Tensor, both, function, publish
from graphgrad.tensor.cuts import key_of, view_at
from graphgrad.tensor.operators import tied, where
from graphgrad.tensor.place import same_device
from graphgrad.tensor.selecting import index_put
from graphgrad.tensor.shapes import axis_of


def part(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """``start:end:step`` of one dimension, a view (ATen's ``slice``)."""
    axis = axis_of(dim, input.ndim)
    return view_at(input, key_of((*[slice(None)] * axis, slice(start, end, step))))


def _itself(input: Tensor) -> Tensor:
    return input


_VIEWS: dict[str, Callable[..., Any]] = {
    name: getattr(shapes, name)
    for name in "diagonal permute transpose t squeeze unsqueeze unfold select expand view".split()
}
_VIEWS |= {
    "unbind": splitting.unbind,
    "split": splitting.split,
    "split_with_sizes": splitting.split_with_sizes,
    "detach": convert.detach,
    "slice": part,
    "alias": _itself,
}


def _copying(name: str, view: Callable[..., Any]) -> None:
    def operation(input: Tensor, *args: Any, **options: Any) -> Any:
        made = view(input, *args, **options)
        return tuple(p.clone() for p in made) if isinstance(made, tuple) else made.clone()

    operation.__name__ = f"{name}_copy"
    operation.__doc__ = f"``{name}``, copied: the result shares no memory."
    function(operation)


for _name, _view in _VIEWS.items():
    _copying(_name, _view)


@both
def narrow_copy(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``narrow``, copied: the result shares no memory."""
    return shapes.narrow(input, dim, start, length).clone()


publish(("unsafe_split_with_sizes",), splitting.split_with_sizes)


# ------------------------------------------------------------------------------------------- writes


@function
def fill(input: Tensor, value: Any) -> Tensor:
    """``value`` in the shape and type of ``input``."""
    if not isinstance(value, Tensor):
        return tied(input.new_full(tuple(input.shape), value), input)
    if value.ndim:
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.ndim} dimensions."
        )
    return tied(value.to(input.dtype).expand(input.shape).clone(), input)


@both
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with ``source`` at (or added to) row-major positions ``index``."""
    same_device("put", input, index, source)
    if source.numel() != index.numel():
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    flat = input.reshape(-1)
    if not index.numel():
        return tied(input.clone(), source.sum())
    out = index_put(flat, (index.reshape(-1),), source.reshape(-1), accumulate)
    return out.reshape(input.shape)


@function
def _unsafe_masked_index(
    input: Tensor, mask: Tensor, indices: Sequence[Tensor | None], fill: Any
) -> Tensor:
    """``input[indices]`` where ``mask`` holds, ``fill`` elsewhere, whatever the index is there."""
    found = input[_safe(mask, indices)]
    return where(mask, found, fill)


@function
def _unsafe_masked_index_put_accumulate(
    input: Tensor, mask: Tensor, indices: Sequence[Tensor | None], values: Tensor
) -> Tensor:
    """``values`` added at ``indices`` where ``mask`` holds."""
    return index_put(input, _safe(mask, indices), where(mask, values, 0.0), True)


def _safe(mask: Tensor, indices: Sequence[Tensor | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if i is None else where(mask, i, 0) for i in indices)
