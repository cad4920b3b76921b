"""A kernel call: what lowering hands to the program builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, slots=True)
class KernelCall:
    """A kernel's source, the arguments of one call, and how its iterations may be cut.

    ``slots`` are ("ptr", node), ("int", value), ("scalar", node), ("float", value), ("error",) or
    ("scratch", byte offset); scratch is one block of ``scratch_bytes`` that all calls of a region
    share. Chunks are ``grain`` of the ``extent`` iterations; ``grain`` 0 means one chunk. ``ns`` is
    about how long it takes on one core.
    """

    name: str
    source: str
    slots: tuple[tuple[Any, ...], ...]
    extent: int
    grain: int
    scratch_bytes: int = 0
    ns: float = 0.0
