"""Padding layers: a mode and a number of dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

from graphgrad import functional as F
from graphgrad.nn.modules.module import Module
from graphgrad.tensor import Tensor


class _Pad(Module):
    """``padding``: one width for all sides, or (before, after) pairs from the last dimension on."""

    ndim: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.ndim) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Pad):
    mode = "constant"


def _layers(base: type[_Pad], stem: str, mode: str, doc: str) -> list[type[_Pad]]:
    """One class for one, two and three dimensions."""
    return [
        type(f"{stem}Pad{n}d", (base,), {"ndim": n, "mode": mode, "__doc__": doc, **_HOME})
        for n in (1, 2, 3)
    ]


_HOME = {"__module__": __name__}
_layer = _layers(_ZeroPad, "Zero", "constant", "Zeros around the last dimensions.")
ZeroPad1d, ZeroPad2d, ZeroPad3d = _layer
_layer = _layers(_ConstantPad, "Constant", "constant", "A value around the last dimensions.")
ConstantPad1d, ConstantPad2d, ConstantPad3d = _layer
_layer = _layers(_Pad, "Reflection", "reflect", "Mirrored at the border element.")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _layer
_layer = _layers(_Pad, "Replication", "replicate", "The border element repeated.")
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _layer
_layer = _layers(_Pad, "Circular", "circular", "The other end of the dimension.")
CircularPad1d, CircularPad2d, CircularPad3d = _layer
