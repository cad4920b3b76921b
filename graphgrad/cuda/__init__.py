"""``graphgrad.cuda``: what scripts ask before choosing a device. There is no CUDA backend yet."""

from __future__ import annotations

from typing import Any

from graphgrad.cuda import amp


def is_available() -> bool:
    """Whether tensors can live on a GPU: not yet."""
    return False


def device_count() -> int:
    """How many GPUs can be used: none yet."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to do: there is no GPU generator to seed, so PyTorch ignores this, too."""


manual_seed_all = manual_seed


def is_initialized() -> bool:
    """Whether CUDA is in use: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a GPU computes in bfloat16: there is none."""
    return False


def empty_cache() -> None:
    """Nothing to do: no GPU holds memory."""


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use: none."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def synchronize(device: Any = None) -> None:
    """Raises: there is nothing to wait for."""
    raise NotImplementedError("CUDA tensors are not supported yet: use device='cpu'")
