"""Consecutive layers that do not match: who expects how many channels, and who gave how many.

    self.conv1, self.conv2 = nn.Conv2d(1, 4, 5), nn.Conv2d(6, 16, 5)

The error of ``conv2`` then names both layers by their paths in the model, and both numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphgrad.tensor import Tensor
from graphgrad.tensor.state import state


class Widths(NamedTuple):
    """How many channels (or features) a layer takes (None: any) and gives.

    ``dims``: the dimension of the input that holds them, for each number of dimensions it may have;
    ``arguments``: what its constructor was told about them.
    """

    takes: int | None
    gives: int
    noun: str
    dims: dict[int, int]
    arguments: dict[str, int]

    def spelled(self, layer: Any) -> str:
        """``Conv2d(in_channels=6, out_channels=16)``"""
        arguments = ", ".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{type(layer).__name__}({arguments})"


# The last dimension, whatever their number.
LAST = dict.fromkeys(range(1, 9), -1)


def explain(layer: Any, args: tuple[Any, ...], error: Exception) -> None:
    """Add to the message of ``error`` what does not match, if it is the number of channels."""
    widths, x = layer._widths(), args[0] if args else None
    if not isinstance(x, Tensor) or x.dim() not in widths.dims:
        return
    got = x.shape[widths.dims[x.dim()]]
    if widths.takes in (None, got):
        return
    lines = [
        str(error),
        f"  module {_path(layer)!r}: {widths.spelled(layer)} takes {widths.takes} {widths.noun}, "
        f"but its input has {got}",
    ]
    lines += _source(widths, got)
    fitting = f"{type(layer).__name__}({next(iter(widths.arguments))}={got})"
    lines.append(f"  hint: {fitting} would take it; or change the layer before")
    error.args = ("\n".join(lines), *error.args[1:])


def _source(widths: Widths, got: int) -> list[str]:
    """The line about the layer that ran before, if the input can have come from it."""
    before = state.before
    if before is None:
        return []
    own = before._widths()
    flattened = own.noun == "channels" and widths.noun == "features" and got != own.gives
    if got != own.gives and not (flattened and own.gives and got % own.gives == 0):
        return []
    gives = f"{own.gives} {own.noun}" + (f", flattened {got}" if flattened else "")
    return [f"  module {_path(before)!r} before it: {own.spelled(before)} gives {gives}"]


def _path(layer: Any) -> str:
    """The layer's name in the model that was called, as ``named_modules`` spells it."""
    for path, module in state.root.named_modules():
        if module is layer:
            return path or type(layer).__name__
    return layer.__dict__.get("_path_name") or type(layer).__name__
