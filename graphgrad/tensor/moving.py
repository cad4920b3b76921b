"""Tensors from one device to another: ``x.cuda()``, ``x.cpu()``, ``x.pin_memory()``.

``x.to(device)`` is in ``convert``. A copy leaves a record, whose gradient is copied back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.device import CPU, device, located
from graphgrad.tensor import record
from graphgrad.tensor.core import Tensor, method, wrap
from graphgrad.tensor.place import pinned, to_device
from graphgrad.tensor.plan import Type, apply, edge_of, locate
from graphgrad.tensor.state import state


def moved(self: Tensor, place: device, wait: bool = True) -> Tensor:
    """A copy on another device, through which gradients flow back; itself if it is there.

    In a trace, whose program runs on one device, itself: an input is copied there before the call,
    and a result to the CPU after it.
    """
    if state.trace is not None:
        return _in_trace(self, place)
    if self.device == place:
        return self
    out = wrap(to_device(self._array, place, wait))
    if self._needs and state.grad:
        rec = record.make(MoveWay(self, place), (), (), [edge_of(self)])
        locate(rec)
        out._needs, out._edge = True, (rec, 0)
    return out


def _in_trace(self: Tensor, place: device) -> Tensor:
    trace = state.trace
    if trace.bring(self, place):
        return apply("identity", self)
    if place is not CPU or trace.device is CPU:
        return self
    out = apply("identity", self)
    trace.leaving.add(out._storage)
    return out


class MoveWay:
    """Differentiates a copy to another device: the gradient is copied back."""

    # Programs run on one device, so backward goes step by step where there is such a copy.
    graphable = False
    own_lines = False
    composite = ""
    saves: tuple[str, ...] = ()
    outputs, needs, numbers = 1, (0,), (0,)

    def __init__(self, source: Tensor, place: device) -> None:
        self.kind = record.kind("ToCopyBackward0")
        self.inputs = (Type(tuple(source.shape), source.dtype),)
        self.source, self.device = source.device, place

    def results(self) -> tuple[Type, ...]:
        return self.inputs

    def saved_types(self) -> list[Type]:
        return []

    def restore(self, rec: Any, values: Any, revived: Any) -> tuple[Any, ...]:
        return ()

    def pull(self, cotangents: Any, values: Any) -> list[Any]:
        """The cotangent, on the device that the value came from."""
        g = cotangents[0]
        return [moved(g, self.source) if isinstance(g, Tensor) else g]


@method
def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """Itself, or a copy in the host's memory of what is on a device."""
    return moved(self, CPU)


@method
def cuda(
    self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Tensor:
    """A copy on a CUDA device (the current one unless told), or itself if it is there.

    RuntimeError says what is missing where there is none: driver, package or device.
    """
    place = located("cuda" if device is None else device)
    return moved(self, place, not non_blocking)


Tensor.is_cuda = property(lambda t: t.device.type == "cuda")  # type: ignore[attr-defined]
Tensor.is_cpu = property(lambda t: t.device.type == "cpu")  # type: ignore[attr-defined]


@method
def get_device(self: Tensor) -> int:
    """The number of the device; -1 for the CPU."""
    index = self.device.index
    return -1 if index is None else index


@method
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory, which a device reads while the host goes on.

    Itself where it is pinned already. RuntimeError for what is on a device, or says what is
    missing where there is none.
    """
    if self.device is not CPU:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    if is_pinned(self):
        return self
    array = self.memory("pin_memory()")
    copy = pinned(array.nbytes).view(array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    out = wrap(copy)
    out.__dict__["_pinned"] = copy
    return out


@method
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether this is the result of ``pin_memory``."""
    return self._array is not None and self.__dict__.get("_pinned") is self._array
