"""Memory formats: tensors here have one, so that asking for another changes nothing."""

from __future__ import annotations

from typing import Any


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module as it is: kernels choose the order in which they read weights."""
    return module


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module as it is: kernels choose the order in which they read weights."""
    return module
