"""Tensors that a module registers by itself: ``Parameter`` (trained) and ``Buffer`` (kept)."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.tensor import Tensor


def _over(data: Tensor, cls: type[Tensor]) -> Any:
    """A leaf of class ``cls`` over the memory of ``data``."""
    leaf = data.detach()
    leaf.__class__ = cls
    return leaf


class Parameter(Tensor):
    """A tensor that requires gradients; a Module finds it when it is assigned to an attribute.

    Shares the memory of ``data``.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        data = gg.empty(0) if data is None else data
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter expects a tensor, got {type(data).__name__}")
        return _over(data, cls).requires_grad_(requires_grad)

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        """``__new__`` has made it; here for a subclass's ``__init__`` to pass its arguments to."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (type(self), (self.detach(), self.requires_grad))

    def __repr__(self, **kwargs: Any) -> str:
        return f"Parameter containing:\n{Tensor.__repr__(self, **kwargs)}"


class Buffer(Tensor):
    """A tensor that a Module keeps as a buffer when it is assigned to an attribute."""

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        data = gg.empty(0) if data is None else data
        buffer = _over(data, cls)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        """``__new__`` has made it; here for the reason that ``Parameter`` has one."""
