"""Which types operations compute in under ``autocast``: PyTorch's lists, by device.

``state.casting`` is None outside of ``autocast``. Inside it says what operands are converted to:
products and convolutions take the low-precision type, what loses digits in it takes float32, and
everything else what its operands have. What gradients are computed with is never converted.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphgrad.dtypes import DType, bfloat16, float16, float32, float64
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.state import state

# Composites and primitives (by their own names) that compute in the low-precision type.
LOW = frozenset(
    "Addmm Mm Convolution ScaledDotProductAttention PreluKernel Lstm Gru Rnn dot_general".split()
)
_LOSSES = frozenset(
    "MseLoss BinaryCrossEntropy BinaryCrossEntropyWithLogits SmoothL1Loss HuberLoss CtcLoss "
    "SoftMarginLoss MultiMarginLoss MultilabelMarginLoss Cdist prod".split()
)
# Those that compute in float32. A CPU has more digits to lose, by PyTorch's lists.
FULL: Mapping[str, frozenset[str]] = {
    "cpu": _LOSSES,
    "cuda": _LOSSES
    | frozenset(
        "Softmax LogSoftmax NativeLayerNorm NativeGroupNorm Softplus LinalgVectorNorm Pdist exp "
        "expm1 log log1p log2 tan acos asin sinh cosh pow int_pow reciprocal rsqrt sum cumsum "
        "cumprod".split()
    ),
}
_UNSAFE = (
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
    "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
    "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_"
    "logits\nor torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits "
    "are\nsafe to autocast."
)


class Casting:
    """The low-precision type of each device that is under ``autocast``."""

    def __init__(self, kinds: Mapping[str, DType], cache: bool = True) -> None:
        self.kinds, self.caches = dict(kinds), cache
        # Weights that were converted: a weak reference, the version then, and the copy.
        self._copies: dict[int, tuple[Any, int, Tensor]] = {}

    @property
    def key(self) -> tuple[Any, ...]:
        """What a trace depends on."""
        return tuple(sorted((place, kind.name) for place, kind in self.kinds.items()))

    def operands(self, name: str, inputs: Sequence[Any]) -> Sequence[Any]:
        """The operands of a primitive or composite, in the type it is to compute in."""
        place = _place(inputs)
        low = self.kinds.get(place)
        if low is None:
            return inputs
        if name in LOW:
            return [self.converted(x, low) for x in inputs]
        if name in FULL[place]:
            if name == "BinaryCrossEntropy" and place == "cuda":
                raise RuntimeError(_UNSAFE)
            return [self.converted(x, float32) for x in inputs]
        return inputs

    def converted(self, x: Any, kind: DType) -> Any:
        """A float tensor in another type; float64 and everything else as it is."""
        if not isinstance(x, Tensor) or x.dtype is kind or not x.dtype.is_floating_point:
            return x
        if x.dtype is float64:
            return x
        weight = x._needs and x._edge is None and x._base is None and kind.is_half
        if not (weight and self.caches and state.trace is None):
            return x.to(kind)
        found = self._copies.get(id(x))
        if found is None or found[0]() is not x or found[1] != x._version:
            found = self._copies[id(x)] = (weakref.ref(x), x._version, x.to(kind))
        return found[2]


def _place(inputs: Sequence[Any]) -> str:
    return next((x.device.type for x in inputs if isinstance(x, Tensor)), "")


def lowered(*operands: Any) -> Sequence[Any]:
    """Operands of a product or convolution in the type of ``autocast``, if it is on for them."""
    low = state.casting.kinds.get(_place(operands))
    return operands if low is None else [state.casting.converted(x, low) for x in operands]


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose tensors are float32 under ``autocast``."""

    @functools.wraps(function)
    def operation(*args: Any, **named: Any) -> Any:
        casting = state.casting
        if casting is None or _place([*args, *named.values()]) not in casting.kinds:
            return function(*args, **named)
        args = tuple(casting.converted(x, float32) for x in args)
        named = {k: casting.converted(x, float32) for k, x in named.items()}
        return function(*args, **named)

    return operation


@contextlib.contextmanager
def as_they_are() -> Iterator[None]:
    """Operations inside compute in the types of their operands."""
    before = state.casting
    if before is None:
        yield
        return
    state.set_casting(None)
    try:
        yield
    finally:
        state.set_casting(before)


# ------------------------------------------------------------------------------------ what is asked

_DEFAULTS: dict[str, DType] = {"cpu": bfloat16, "cuda": float16}


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether ``autocast`` is on for a device (CUDA, if none is named)."""
    return state.casting is not None and (device_type or "cuda") in state.casting.kinds


def get_autocast_dtype(device_type: str) -> DType:
    """The type that ``autocast`` of a device computes in, now or by default."""
    kinds = {} if state.casting is None else state.casting.kinds
    return kinds.get(device_type) or _DEFAULTS.get(device_type, float32)


def is_autocast_cpu_enabled() -> bool:
    """Whether ``autocast`` is on for the CPU."""
    return is_autocast_enabled("cpu")


def get_autocast_cpu_dtype() -> DType:
    """The type that ``autocast`` of the CPU computes in."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> DType:
    """The type that ``autocast`` of CUDA computes in."""
    return get_autocast_dtype("cuda")


def is_autocast_cache_enabled() -> bool:
    """Whether a weight is converted once a block."""
    return state.casting is None or state.casting.caches
