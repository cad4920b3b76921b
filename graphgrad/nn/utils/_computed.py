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
    cls = type(module)
    if _MARK not in cls.__dict__:
        cls = type(f"{prefix}{cls.__name__}", (cls,), {_MARK: {}, "__module__": cls.__module__})
        module.__class__ = cls
    cls.__dict__[_MARK][name] = get
    setattr(cls, name, property(get, put))


def is_computed(module: Any, name: str) -> bool:
    """Whether ``module.name`` is computed."""
    return name in type(module).__dict__.get(_MARK, ())


def forget(module: Any, name: str) -> None:
    """Make ``name`` a plain attribute again, and the class the one before if it was the last."""
    cls = type(module)
    delattr(cls, name)
    del cls.__dict__[_MARK][name]
    if not cls.__dict__[_MARK]:
        module.__class__ = cls.__bases__[0]


def original_class(module: Any) -> type:
    """The class that the module was built as."""
    cls = type(module)
    return cls.__bases__[0] if _MARK in cls.__dict__ else cls
