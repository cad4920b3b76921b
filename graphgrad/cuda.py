"""``graphgrad.cuda``: what scripts ask before choosing a device. There is no CUDA backend yet."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """Whether tensors can live on a GPU: not yet."""
    return False


def device_count() -> int:
    """How many GPUs can be used: none yet."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to do: there is no GPU generator to seed, so PyTorch ignores this, too."""


manual_seed_all = manual_seed


def synchronize(device: Any = None) -> None:
    """Raises: there is nothing to wait for."""
    raise NotImplementedError("CUDA tensors are not supported yet: use device='cpu'")
