"""What a module says about a name it lacks: its nearest name, as Python's own errors do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any


def missing(module: str, name: str, names: Iterable[str]) -> AttributeError:
    """The error for ``module.name``, naming the nearest of ``names``."""
    known = [n for n in names if not n.startswith("_")]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{module} has no {name!r}{hint}")


def names_of(module: str, names: dict[str, Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: raises ``missing`` for whatever the module does not define."""

    def look(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing(module, name, names)

    return look
