"""OpenMP is not used: kernels are this package's own."""

from __future__ import annotations

enabled = False


def is_available() -> bool:
    """Whether OpenMP is used: no."""
    return False
