"""``autocast``: accepted everywhere PyTorch accepts it; see the package for what it does here."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

_DEVICES = ("cpu", "cuda", "mps", "xpu")


class autocast(contextlib.ContextDecorator):
    """A block (or a decorated function) of operations in the types their operands have."""

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(
                f"User specified an unsupported autocast device_type {device_type!r}; there are "
                f"{', '.join(_DEVICES)}"
            )
        self.device, self.fast_dtype, self._enabled = device_type, dtype, enabled

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def is_autocast_available(device_type: str) -> bool:
    """Whether a device has a faster type to cast to: none has."""
    return False


def _decorator(function: Callable[..., Any] | None, name: str) -> Any:
    if function is None:
        return functools.partial(_decorator, name=name)
    return function


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str = "cpu", cast_inputs: Any = None
) -> Any:
    """Decorates ``forward`` of an autograd.Function; nothing is cast, so it is unchanged."""
    return _decorator(fwd, "custom_fwd")


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str = "cpu") -> Any:
    """Decorates ``backward`` of an autograd.Function; nothing is cast, so it is unchanged."""
    return _decorator(bwd, "custom_bwd")
