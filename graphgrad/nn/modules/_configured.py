"""Layers that are a function and its settings: a class is a row of a table.

    class ELU(Configured):
        function, arguments = F.elu, {"alpha": 1.0, "inplace": False}

makes ``ELU(alpha=0.5)``, an attribute for each argument, ``forward`` and the repr.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from graphgrad.nn.modules.module import Module

# The default of an argument that must be given.
REQUIRED = inspect.Parameter.empty


class Configured(Module):
    """Constructor arguments become attributes; ``forward`` passes them to ``function`` by name."""

    function: ClassVar[Callable[..., Any]]
    # Name and default of every constructor argument, in order.
    arguments: ClassVar[dict[str, Any]] = {}
    # Those that the repr shows and those that ``function`` takes (all, unless said otherwise).
    shown: ClassVar[tuple[str, ...]]
    passed: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "function" in cls.__dict__:
            cls.function = staticmethod(cls.__dict__["function"])  # type: ignore[assignment]
        if "arguments" in cls.__dict__:
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [inspect.Parameter(n, kind, default=d) for n, d in cls.arguments.items()]
            )
            cls.passed = cls.__dict__.get("passed", tuple(cls.arguments))
            cls.shown = cls.__dict__.get("shown", tuple(cls.arguments))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        bound = type(self).__signature__.bind(*args, **kwargs)  # type: ignore[attr-defined]
        bound.apply_defaults()
        for name, value in self.prepare(dict(bound.arguments)).items():
            setattr(self, name, value)

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        """Check or complete the constructor arguments before they become attributes."""
        return values

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        settings = {name: getattr(self, name) for name in self.passed}
        return self.function(*args, **kwargs, **settings)

    def extra_repr(self) -> str:
        # A layer that works out of place does not say so.
        rows = ((name, getattr(self, name)) for name in self.shown)
        return ", ".join(f"{k}={v!r}" for k, v in rows if k != "inplace" or v)
