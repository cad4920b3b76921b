"""The old names of ``graphgrad.amp``: ``from torch.cuda.amp import autocast, GradScaler``."""

from __future__ import annotations

import importlib
from typing import Any


def autocast(enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> Any:
    """``amp.autocast("cuda", …)``: every operation in the type its operands have."""
    amp = importlib.import_module("graphgrad.amp")
    return amp.autocast("cuda", dtype, enabled, cache_enabled)


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module("graphgrad.amp"), name)
