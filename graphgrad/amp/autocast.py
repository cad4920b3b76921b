"""``autocast``: operations of a block in the type that suits them, by PyTorch's lists.

with gg.autocast("cpu", dtype=gg.bfloat16):
    loss = loss_of(model(x), y)         # products in bfloat16, losses in float32
loss.backward()
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad.dtypes import DType, as_dtype, float32
from graphgrad.tensor import Tensor
from graphgrad.tensor.casting import Casting, get_autocast_dtype
from graphgrad.tensor.state import state

_DEVICES = ("cpu", "cuda", "mps", "xpu")


class autocast(contextlib.ContextDecorator):
    """A block (or a decorated function) of operations in the types that autocast chooses.

    ``dtype``: bfloat16 on the CPU, float16 on CUDA, unless given. Nests; ``enabled=False`` is a
    block inside that keeps the operands' types. On devices that are not there, nothing happens.
    """

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
        self.device, self._cache = device_type, cache_enabled is not False
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else as_dtype(dtype)
        self._enabled = enabled and self._is_possible()
        self._before: list[Casting | None] = []

    def _is_possible(self) -> bool:
        if self.device in ("mps", "xpu") or (self.device == "cuda" and not gg.cuda.is_available()):
            warnings.warn(
                f"User provided device_type of {self.device!r}, but it is not available. "
                "Disabling autocast.",
                stacklevel=3,
            )
            return False
        if not self.fast_dtype.is_half and self.fast_dtype is not float32:
            warnings.warn(
                f"In {self.device} autocast, but the target dtype {self.fast_dtype} is not "
                "supported: it is torch.bfloat16 or torch.float16. Disabling autocast.",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self) -> autocast:
        before = state.casting
        self._before.append(before)
        kinds = {} if before is None else dict(before.kinds)
        kinds.pop(self.device, None)
        if self._enabled:
            kinds[self.device] = self.fast_dtype
        state.set_casting(Casting(kinds, self._cache) if kinds else None)
        return self

    def __exit__(self, *_: Any) -> None:
        state.set_casting(self._before.pop())


def is_autocast_available(device_type: str) -> bool:
    """Whether a device has a low-precision type to compute in."""
    return device_type in ("cpu", "cuda")


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str = "cpu", cast_inputs: Any = None
) -> Any:
    """Decorates ``forward`` of an autograd.Function: how it behaves under ``autocast``.

    With ``cast_inputs`` its float tensors on that device are converted to this type, and what it
    calls computes in the types of its operands; without, it runs as it was called.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **named: Any) -> Any:
        casting = state.casting
        kind = None if casting is None else casting.kinds.get(device_type)
        ctx._autocast = None if kind is None else (device_type, kind)
        if cast_inputs is None or kind is None:
            return fwd(ctx, *args, **named)
        ctx._autocast = None
        with autocast(device_type, enabled=False):
            return fwd(
                ctx,
                *(_cast(x, device_type, cast_inputs) for x in args),
                **{k: _cast(x, device_type, cast_inputs) for k, x in named.items()},
            )

    return forward


def _cast(x: Any, device_type: str, kind: DType) -> Any:
    """Tensors, and those in sequences and mappings; others as they are."""
    if isinstance(x, Tensor):
        fits = x.dtype.is_floating_point and x.device.type == device_type
        return x.to(kind) if fits and x.dtype is not gg.float64 else x
    if isinstance(x, dict):
        return {k: _cast(v, device_type, kind) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_cast(v, device_type, kind) for v in x)
    return x


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str = "cpu") -> Any:
    """Decorates ``backward`` of an autograd.Function: it runs under the autocast of its forward."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **named: Any) -> Any:
        place, kind = getattr(ctx, "_autocast", None) or (device_type, None)
        with autocast(place, kind, enabled=kind is not None):
            return bwd(ctx, *args, **named)

    return backward
