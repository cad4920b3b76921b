"""What lists and dictionaries of modules and of parameters share."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any


def position(index: Any, length: int, text: str = "index {} is out of range") -> int:
    """An index counted from the front; IndexError outside."""
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(text.format(index))
    return index % length


class PairsMixin:
    """What a dictionary of modules and one of parameters share, over ``_items()``."""

    def _pairs(self, rows: Any) -> list[tuple[str, Any]]:
        name = type(self).__name__
        if not isinstance(rows, Iterable):
            raise TypeError(
                f"{name}.update should be called with an iterable of key/value pairs, "
                f"but got {type(rows).__name__}"
            )
        if isinstance(rows, (Mapping, PairsMixin)):
            return list(rows.items())  # type: ignore[arg-type]
        pairs = []
        for i, row in enumerate(rows):
            if not isinstance(row, Iterable):
                kind = type(row).__name__
                raise TypeError(f"{name} update sequence element #{i} should be Iterable; is{kind}")
            row = tuple(row)
            if len(row) != 2:
                raise ValueError(
                    f"{name} update sequence element #{i} has length {len(row)}; 2 is required"
                )
            pairs.append(row)
        return pairs
