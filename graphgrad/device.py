"""Where tensors live: ``device("cpu")``, ``device("cuda:1")``, and the default of a thread.

    with device("cuda"):
        x = gg.zeros(3)              # made there

A device is a value: it can be named where there is none. What touches its memory needs a driver,
and says so (``graphgrad.kernels.cuda``). ``cuda`` without a number is the thread's current one, at
first number 0.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from graphgrad import dtypes

KINDS = ("cpu", "cuda")


class device:
    """A device by PyTorch's names: ``device("cuda:0")``, ``device("cuda", 0)``, ``device(0)``."""

    __slots__ = ("_before", "index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        name, colon, ordinal = str(type).partition(":")
        if name not in KINDS:
            raise RuntimeError(
                f"expected one of {', '.join(KINDS)} device type at start of device string: {type}"
            )
        if colon and not ordinal.isdigit():
            raise RuntimeError(f"Invalid device string: '{type}'")
        self.type = name
        self.index = int(ordinal) if colon else index
        self._before: list[device] = []

    def __enter__(self) -> device:
        self._before.append(thread.default)
        thread.default = self
        return self

    def __exit__(self, *_: Any) -> None:
        thread.default = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __repr__(self) -> str:
        ordinal = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{ordinal})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = device("cpu")


class _Thread(threading.local):
    """Class attributes are what a new thread starts with."""

    default: device = CPU
    current: int = 0  # the cuda device that has no number


thread = _Thread()


def get_default_device() -> device:
    """Where this thread's new tensors are made unless they are told."""
    return located(thread.default)


def set_default_device(place: Any) -> None:
    """Make new tensors of this thread on ``place`` from now on (None: the CPU)."""
    thread.default = CPU if place is None else device(place)


def located(place: Any) -> device:
    """The device that ``place`` means: a cuda device has a number, the CPU none."""
    place = place if isinstance(place, device) else device(place)
    if place.type == "cpu":
        return CPU
    return device("cuda", thread.current) if place.index is None else place


def current_index() -> int:
    """The number of this thread's current cuda device."""
    return thread.current


def set_current_index(index: int) -> None:
    """Make another cuda device the current one of this thread."""
    thread.current = index


def chosen(place: Any) -> device:
    """The device of a new tensor: ``place``, or the thread's default for None."""
    if place is None:
        default = thread.default
        return default if default is CPU else located(default)
    return located(place)


# --------------------------------------------------------------------------------- element types


class Placed:
    """An element type on a device: what ``dtype`` of an array in a device's memory is.

    It equals no NumPy dtype, so that tables keyed by the types of arrays tell devices apart.
    """

    __slots__ = ("device", "itemsize", "kind", "name", "numpy")

    def __init__(self, dtype: np.dtype[Any], device: device) -> None:
        self.numpy, self.device = dtype, device
        self.name, self.kind, self.itemsize = dtype.name, dtype.kind, dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.name} on {self.device}"


_placed: dict[tuple[np.dtype[Any], device], Placed] = {}


def placed(dtype: Any, place: device) -> Placed:
    """The element type of NumPy's ``dtype`` in the memory of a numbered device; one object each."""
    key = (np.dtype(dtype), place)
    found = _placed.get(key)
    if found is None:
        found = _placed[key] = Placed(*key)
        dtypes.name_placed(found)
    return found
