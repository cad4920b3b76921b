"""``graphgrad.mps``: Apple's GPUs: not supported, as scripts may ask."""

from __future__ import annotations

from graphgrad.accelerator import device_count, empty_cache, is_available, synchronize
from graphgrad.cuda import manual_seed, manual_seed_all

__all__ = [
    "device_count",
    "empty_cache",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "synchronize",
]
