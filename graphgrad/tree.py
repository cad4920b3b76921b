"""Nested containers as flat lists: what goes into and comes out of a compiled function.

leaves, shape = flatten({"a": x, "b": [y, 2]})     # [x, y, 2]
unflatten(shape, leaves)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

LEAF = None
_SEQUENCES = (list, tuple)


def flatten(value: Any) -> tuple[list[Any], Any]:
    """The leaves in order, and a hashable description of the containers around them."""
    leaves: list[Any] = []
    return leaves, _describe(value, leaves)


def _describe(value: Any, leaves: list[Any]) -> Any:
    kind = type(value)
    if kind in _SEQUENCES or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return kind, tuple([_describe(v, leaves) for v in value])
    if kind is dict or kind is OrderedDict:
        return kind, tuple(value), tuple([_describe(v, leaves) for v in value.values()])
    leaves.append(value)
    return LEAF


def unflatten(shape: Any, leaves: Sequence[Any]) -> Any:
    """The containers of ``shape`` around ``leaves``."""
    return _rebuild(shape, iter(leaves))


def _rebuild(shape: Any, leaves: Iterator[Any]) -> Any:
    if shape is LEAF:
        return next(leaves)
    kind = shape[0]
    parts = [_rebuild(s, leaves) for s in shape[-1]]
    if len(shape) == 3:
        return kind(zip(shape[1], parts, strict=True))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
