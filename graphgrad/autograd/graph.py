"""Looking at and steering records: nodes, hooks on what backward saves."""

from __future__ import annotations

from typing import Any

from graphgrad.tensor.core import Tensor
from graphgrad.tensor.record import Record as Node
from graphgrad.tensor.record import shown

__all__ = ["GradientEdge", "Node", "get_gradient_edge"]


class GradientEdge(tuple):
    """(record, output number): where a tensor's gradient arrives."""

    @property
    def node(self) -> Any:
        return self[0]

    @property
    def output_nr(self) -> int:
        return self[1]


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of a tensor that requires grad."""
    if not tensor._needs:
        raise RuntimeError(
            "It is not possible to get the gradient edge of a Tensor that does not require "
            "gradients."
        )
    target, number = tensor._edge or (tensor, 0)
    return GradientEdge((shown(target), number))
