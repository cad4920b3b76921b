"""``graphgrad.accelerator``: what scripts ask to find a GPU of any make. There is none yet."""

from __future__ import annotations

from typing import Any

from graphgrad.device import device


def is_available() -> bool:
    """Whether tensors can live anywhere but on the CPU: not yet."""
    return False


def current_accelerator(check_available: bool = False) -> device | None:
    """The accelerator's device: None, for there is none."""
    return None


def device_count() -> int:
    """How many accelerators can be used: none."""
    return 0


def empty_cache() -> None:
    """Nothing to do: no accelerator holds memory."""


def current_device_index() -> int:
    """Raises: no accelerator is current."""
    raise NotImplementedError("there is no accelerator: use device='cpu'")


def set_device_index(index: Any) -> None:
    """Raises: there is no accelerator to choose."""
    raise NotImplementedError("there is no accelerator: use device='cpu'")


def synchronize(device: Any = None) -> None:
    """Raises: there is no accelerator to wait for."""
    raise NotImplementedError("there is no accelerator: use device='cpu'")
