"""``graphgrad.accelerator``: the GPU of any make, which is CUDA's where there is one."""

from __future__ import annotations

from typing import Any

from graphgrad import cuda
from graphgrad.device import device


def is_available() -> bool:
    """Whether tensors can live anywhere but on the CPU."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> device | None:
    """The accelerator's device; None where there is none."""
    return device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """How many accelerators can be used."""
    return cuda.device_count()


def empty_cache() -> None:
    """Give back memory that is kept and not in use."""
    cuda.empty_cache()


def current_device_index() -> int:
    """The number of the current accelerator; RuntimeError says what is missing."""
    return cuda.current_device()


def set_device_index(index: Any) -> None:
    """Make another accelerator current in this thread; RuntimeError says what is missing."""
    cuda.set_device(index)


def synchronize(device: Any = None) -> None:
    """Wait until everything on an accelerator is done; RuntimeError says what is missing."""
    cuda.synchronize(device)
