"""Names in an exported file: readable, unique, valid."""

from __future__ import annotations

import builtins
import keyword
import re

# What every exported file says itself.
RESERVED = frozenset(
    "np math njit pathlib types functools annotations kernel given fixed place error check_range "
    "arena arrays state grads options save load FILE".split()
)


class Names:
    """Hands out names that nothing else in the file has."""

    def __init__(self, taken: frozenset[str] = RESERVED) -> None:
        self._taken = {*taken, *dir(builtins), *keyword.kwlist}

    def fresh(self, base: str) -> str:
        """``base`` as an identifier, numbered if it is taken."""
        stem = re.sub(r"\W+", "_", base).strip("_") if not base.isidentifier() else base
        stem = f"x_{stem}" if not stem or stem[0].isdigit() else stem
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name
