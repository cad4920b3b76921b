"""What a tensor or a type is: flags by PyTorch's names, limits of types."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.tensor.core import Tensor, both, function, method
from graphgrad.tensor.state import state


def _constant_property(name: str, value: Any) -> None:
    setattr(Tensor, name, property(lambda self: value))


for _name in (
    "is_sparse",
    "is_quantized",
    "is_mkldnn",
    "is_meta",
    "is_mps",
    "is_nested",
):
    _constant_property(_name, False)
_constant_property("layout", "torch.strided")
_constant_property("names", ())


@both
def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floats."""
    return input.dtype.is_floating_point


@both
def is_complex(input: Tensor) -> bool:
    """Whether the elements are complex."""
    return input.dtype.is_complex


@both
def is_signed(input: Tensor) -> bool:
    """Whether the type has negative numbers."""
    return input.dtype.is_signed


@both
def is_nonzero(input: Tensor) -> bool:
    """Whether a single element is not 0."""
    return bool(input)


@both
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether shapes are equal."""
    return tuple(input.shape) == tuple(other.shape)


@both
def positive(input: Tensor) -> Tensor:
    """Itself."""
    return input


def _itself(name: str) -> None:
    def operation(self: Tensor, *_: Any) -> Tensor:
        return self

    operation.__name__ = name
    operation.__doc__ = "This tensor itself: there is nothing to do on the CPU."
    setattr(Tensor, name, operation)


_itself("share_memory_")


def _never(name: str) -> None:
    def operation(self: Tensor, *_: Any) -> bool:
        return False

    operation.__name__ = name
    operation.__doc__ = "False."
    setattr(Tensor, name, operation)


for _name in ("is_conj", "is_neg", "is_distributed", "is_shared"):
    _never(_name)


@method
def is_inference(self: Tensor) -> bool:
    """Whether this tensor was made in inference mode (then it has no history)."""
    return state.inference


@function
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


# ---------------------------------------------------------------------------------- limits of types


class finfo:
    """Limits of a floating-point type, as ``torch.finfo``."""

    def __init__(self, type: DType | None = None) -> None:
        kind = dtypes.as_dtype(type or dtypes.get_default_dtype())
        self.dtype, info = kind.name, dtypes.limits(kind)
        self.bits, self.eps, self.max, self.min = (
            info.bits,
            *map(float, (info.eps, info.max, info.min)),
        )
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(f"{float(info.resolution):.0e}")

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer type, as ``torch.iinfo``."""

    def __init__(self, type: DType) -> None:
        self.dtype = type.name
        info = np.iinfo(self.dtype)
        self.bits, self.max, self.min = info.bits, int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


function(finfo)
function(iinfo)
