"""Steps with sparse gradients: only the rows that a gradient names are read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad.tensor import Tensor
from graphgrad.tensor.sparse import SparseTensor


def split(parameters: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters with dense gradients, and with sparse ones."""
    sparse = [p for p in parameters if isinstance(p.grad, SparseTensor)]
    return [p for p in parameters if not isinstance(p.grad, SparseTensor)], sparse


def rows(g: SparseTensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Where a gradient is not zero, as an index, and its values there."""
    whole = g.coalesce()
    return tuple(whole.indices()), whole.values()


def change(tensor: Tensor, where: tuple[Tensor, ...], function: Callable[[Any], Any]) -> None:
    """Write ``function`` of some rows in their place."""
    tensor[where] = function(tensor[where])
