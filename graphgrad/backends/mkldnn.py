"""oneDNN is not used: kernels are this package's own."""

from __future__ import annotations

enabled = False


def is_available() -> bool:
    """Whether oneDNN is used: no."""
    return False
