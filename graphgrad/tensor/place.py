"""Between the host's memory and a device's.

    to_device(array, device("cuda:0"))     # an array there, of NumPy memory or of another device
    to_host(array)                         # a NumPy array: the same one, or a copy
    common_device("add", [a, b])           # where an operation runs, or the error that names both

An array is NumPy's, or a DeviceArray of ``graphgrad.kernels.cuda.memory``, whose ``dtype`` is
Placed. Only what moves memory loads that module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphgrad.device import CPU, Placed, device
from graphgrad.errors import GraphError, message

Array = Any


class DeviceError(GraphError):
    """Operands of one operation on different devices; the message names both.

    ``place``: the device where a compiled function may belong, which was traced for another.
    """

    def __init__(self, text: str, place: device | None = None) -> None:
        super().__init__(text)
        self.place = place


def on_device(x: Any) -> bool:
    """Whether ``x`` is an array in a device's memory."""
    return getattr(x, "dtype", None).__class__ is Placed


def device_of(x: Array) -> device:
    """Where an array is."""
    return x.device if on_device(x) else CPU


def to_device(x: Array, place: device, wait: bool = True) -> Array:
    """A copy of an array (or the array itself, if it is there) in the memory of ``place``.

    ``place`` has a number (``device.located``). RuntimeError says what a machine without a GPU
    lacks. Without ``wait``, NumPy memory that is pinned may still be read after the return.
    """
    if device_of(x) == place:
        return x
    if place is CPU:
        return x.host()
    from graphgrad.kernels.cuda import memory

    return memory.from_host(to_host(x), place, wait)


def to_host(x: Array) -> np.ndarray:
    """The elements as NumPy memory: a device's are copied once its work is done."""
    return x.host() if on_device(x) else x


def pinned(nbytes: int) -> np.ndarray:
    """Page-locked host memory, as bytes, which devices read and write while the host goes on."""
    from graphgrad.kernels.cuda import driver

    return driver.driver().pinned(nbytes)


def at_hand(t: Any) -> np.ndarray | None:
    """The memory of a tensor where NumPy can look at it at once: for checks of values.

    None in a trace, which has no values, and on a device, which would be waited for.
    """
    array = t._array
    return array if isinstance(array, np.ndarray) else None


def settled(x: Any, dtype: Any = None) -> Array:
    """An array of what a rule returned or a record saved: NumPy scalars and numbers get 0 dims."""
    return x if on_device(x) else np.asarray(x, dtype)


def same_device(name: str, *tensors: Any) -> None:
    """Raise DeviceError unless tensors are on one device: where NumPy reads copies of them."""
    common_device(name, [t._array for t in tensors if t._array is not None])


def common_device(name: str, arrays: Iterable[Array], operands: Iterable[Any] = ()) -> device:
    """The one device of an operation's operands; arrays of no dimension on the CPU go anywhere.

    Raises DeviceError, at the user's line, where two devices meet.
    """
    arrays = list(arrays)
    place = next((x.device for x in arrays if on_device(x)), CPU)
    if place is CPU:
        return CPU
    for x in arrays:
        other = device_of(x)
        if other != place and (other is not CPU or x.ndim):
            raise DeviceError(
                message(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {place} and {other}!",
                    name,
                    operands or arrays,
                    "move one of them with .to(device)",
                )
            )
    return place
