"""``graphgrad.cpu``: the device that every tensor is on, asked as if it were an accelerator."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """Whether tensors can live on the CPU: always."""
    return True


def device_count() -> int:
    """One: all cores are one device."""
    return 1


def current_device() -> str:
    """Its name."""
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Nothing to wait for: a call returns when its work is done."""
