"""torch.autograd.profiler's old place: what it has is ``graphgrad.profiler``'s."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Looked up when asked for: the profiler stands above this package.
    return getattr(importlib.import_module("graphgrad.profiler"), name)
