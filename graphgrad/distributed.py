"""``graphgrad.distributed``: there are no process groups; what scripts ask before using them."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """Whether processes can train together: no."""
    return False


def is_initialized() -> bool:
    """Whether a process group exists: no."""
    return False


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"graphgrad.distributed has no {name!r}: it trains in one process, on all cores"
    )
