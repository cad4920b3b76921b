"""Attributes of a module that are computed from its parameters each time they are read.

Nothing is written while a module runs, so that what is computed can be traced and differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MARK = "_computed_names"


def compute(
    module: Any,
    name: str,
    get: Callable[[Any], Any],
    put: Callable[[Any, Any], None] | None = None,
    prefix: str = "",
) -> None:
    """``module.name`` becomes ``get(module)``, and assigning to it ``put(module, value)``.

    The module gets a class of its own, which is named as before but for ``prefix``.
    """
    names = {**_names(module), name: property(get, put)}
    title = type(module).__name__
    _give_class(module, names, title if title.startswith(prefix) else prefix + title)


def is_computed(module: Any, name: str) -> bool:
    """Whether ``module.name`` is computed."""
    return name in _names(module)


def forget(module: Any, name: str) -> None:
    """Make ``name`` a plain attribute again, and the class the one before if it was the last."""
    names = {k: v for k, v in _names(module).items() if k != name}
    if names:
        _give_class(module, names, type(module).__name__)
    else:
        module.__class__ = original_class(module)


def original_class(module: Any) -> type:
    """The class that the module was built as."""
    cls = type(module)
    return cls.__bases__[0] if _MARK in cls.__dict__ else cls


def _names(module: Any) -> dict[str, property]:
    return type(module).__dict__.get(_MARK, {})


def _give_class(module: Any, names: dict[str, property], title: str) -> None:
    """A new class: copies of the module share its present one."""
    base = original_class(module)
    module.__class__ = type(title, (base,), {**names, _MARK: names, "__module__": base.__module__})
