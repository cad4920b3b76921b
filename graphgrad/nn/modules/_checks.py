"""Arguments of layers, checked when the layer is built: how many, how large.

nn.Conv2d(3, 16, kernel_size=0)
# ValueError: Conv2d: kernel_size must be at least 1 in every dimension, got 0
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any


def _whole(layer: Any, name: str, value: Any, what: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{type(layer).__name__}: {name} must be {what}, got {value!r} ({type(value).__name__})"
        ) from None


def check_counts(layer: Any, least: int = 0, **counts: Any) -> None:
    """TypeError unless each is a whole number, ValueError where one is below ``least``."""
    for name, value in counts.items():
        if _whole(layer, name, value, "a whole number") < least:
            raise ValueError(
                f"{type(layer).__name__}: {name} must be at least {least}, got {value}"
            )


def check_sizes(layer: Any, n: int, least: int, **sizes: Any) -> None:
    """The same for one number, or ``n`` of them: one for each dimension of space."""
    what = "a whole number" if n == 1 else f"a whole number or {n} of them, one for each dimension"
    for name, value in sizes.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            numbers = list(value)
            if len(numbers) not in (1, n):
                raise ValueError(
                    f"{type(layer).__name__}: {name} must be {what}, got {len(numbers)} numbers: "
                    f"{tuple(numbers)}"
                )
        else:
            numbers = [value]
        if any(_whole(layer, name, number, what) < least for number in numbers):
            raise ValueError(
                f"{type(layer).__name__}: {name} must be at least {least}"
                f"{' in every dimension' if n > 1 else ''}, got {value}"
            )
