"""Cutting tensors into pieces along a dimension; every piece is a view."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from graphgrad.dtypes import INTEGER
from graphgrad.tensor.core import Tensor, both, publish
from graphgrad.tensor.shapes import axis_of, select, sliced

index = operator.index


@both
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of a size, or of the sizes listed, along ``dim``."""
    axis = axis_of(dim, tensor.ndim)
    size = tensor.shape[axis]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step <= 0:
            raise RuntimeError(f"split expects split_size be positive, but got split_size={step}")
        sections = [min(step, size - a) for a in range(0, size, step)] or [0]
    else:
        sections = [index(n) for n in split_size_or_sections]
        if sum(sections) != size:
            raise RuntimeError(
                "split_with_sizes expects split_sizes to sum exactly to "
                f"{size} (input tensor's size at dimension {axis}), but got split_sizes={sections}"
            )
    pieces, start = [], 0
    for n in sections:
        pieces.append(sliced(tensor, axis, start, start + n))
        start += n
    return tuple(pieces)


@both
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """``split`` into pieces of the sizes listed."""
    return split(input, list(split_sizes), dim)


@both
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Nearly equal pieces, or pieces cut at the indices listed (by numbers or a tensor)."""
    if input.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got 0 dims")
    size = input.shape[axis_of(dim, input.ndim)]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.dtype.category != INTEGER or indices_or_sections.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero- or one-dimensional "
                f"tensor of whole numbers, but got {indices_or_sections.ndim} dims of "
                f"{indices_or_sections.dtype.name}"
            )
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {count}")
        sizes = [size // count + (1 if i < size % count else 0) for i in range(count)]
        return split(input, sizes, dim)
    inside = (min(max(c + size if c < 0 else c, 0), size) for c in indices_or_sections)
    axis = axis_of(dim, input.ndim)
    return tuple(sliced(input, axis, a, max(a, b)) for a, b in pairwise((0, *inside, size)))


@both
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` equal pieces along ``dim``; the last may be smaller."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    return split(input, max(-(-input.shape[dim] // chunks), 1), dim)


def _splitting(name: str, axis: int, least: int) -> None:
    """``hsplit``, ``vsplit`` and ``dsplit``: ``tensor_split`` along a fixed dimension."""

    def operation(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
                f"with {input.ndim} dimensions!"
            )
        place = 0 if input.ndim == 1 else axis
        count, size = indices_or_sections, input.shape[place]
        if isinstance(count, int) and (count <= 0 or size % count):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {place}, but the size of the "
                f"dimension {size} is not divisible by the split_size {count}!"
            )
        return tensor_split(input, indices_or_sections, place)

    operation.__name__ = name
    operation.__doc__ = f"``tensor_split`` along dimension {axis}."
    publish((name,), operation)


_splitting("vsplit", 0, 2)
_splitting("hsplit", 1, 1)
_splitting("dsplit", 2, 3)


@both
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Every position of ``dim`` as a tensor of its own."""
    return tuple(select(input, dim, i) for i in range(input.shape[dim]))


publish(("unsafe_chunk",), chunk)
publish(("unsafe_split",), split)
