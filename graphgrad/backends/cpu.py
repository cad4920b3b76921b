"""What the CPU can do."""

from __future__ import annotations


def get_cpu_capability() -> str:
    """The widest vectors that kernels are compiled for are the host's own, whatever they are."""
    return "NATIVE"
