"""Complex numbers: parts, conjugates, angles, and pairs of real numbers seen as complex ones.

    z = gg.complex(re, im)        z.real, z.imag, z.conj(), z.abs(), z.angle()

Gradients follow PyTorch's convention: the gradient of a real loss in z is the direction of steepest
ascent, dL/d(re) + i·dL/d(im). Conjugates are computed at once, so there is nothing to resolve.
"""

from __future__ import annotations

import math
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method, publish
from graphgrad.tensor.operators import where
from graphgrad.tensor.plan import apply, rename
from graphgrad.tensor.promotion import floating


@both
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; real tensors themselves."""
    return apply("conj", input) if input.dtype.is_complex else input


@both
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate, always a tensor of its own."""
    return apply("conj", input) if input.dtype.is_complex else input.clone()


@both
def resolve_conj(input: Tensor) -> Tensor:
    """Itself: conjugates are computed when they are asked for."""
    return input


@both
def resolve_neg(input: Tensor) -> Tensor:
    """Itself: negations are computed when they are asked for."""
    return input


@function
def view_as_real(input: Tensor) -> Tensor:
    """A view with a last dimension of two: real and imaginary part."""
    return apply("view_as_real", input)


@function
def view_as_complex(input: Tensor) -> Tensor:
    """A view of pairs in the last dimension as complex numbers."""
    out = apply("view_as_complex", input)
    if out._storage is not input._storage:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    return out


def _part(name: str, index: int) -> Any:
    def operation(input: Tensor) -> Tensor:
        if not input.dtype.is_complex:
            if index:
                raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
            return input
        return view_as_real(input).select(-1, index)

    operation.__name__ = name
    operation.__doc__ = f"A view of the {'imaginary' if index else 'real'} parts."
    return operation


real, imag = _part("real", 0), _part("imag", 1)
FUNCTIONS |= {"real": real, "imag": imag}


def _property(part: Any) -> property:
    def write(self: Tensor, value: Any) -> None:
        part(self).copy_(value)

    return property(part, write)


Tensor.real, Tensor.imag = _property(real), _property(imag)  # type: ignore[attr-defined]


@function
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """``real + i·imag``, of two real tensors of one type."""
    _expect_parts("complex", real, imag)
    return rename(_joined(real, imag), "ComplexBackward0")


def _expect_parts(name: str, x: Tensor, y: Tensor) -> None:
    for t in (x, y):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): arguments must be Tensors, not {type(t).__name__}")
        if t.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"Expected both inputs to be Half, Float or Double tensors but got {x.dtype.name} "
                f"and {y.dtype.name}"
            )
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {x.dtype.name} but got scalar type {y.dtype.name} for "
            "second argument"
        )


def _joined(x: Tensor, y: Tensor) -> Tensor:
    shape = FUNCTIONS["broadcast_shapes"](x.shape, y.shape)
    pairs = [t.expand(shape).unsqueeze(-1) for t in (x, y)]
    return apply("view_as_complex", apply("concat", *pairs, axis=len(shape)))


@function
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """``abs·(cos angle + i·sin angle)``."""
    _expect_parts("polar", abs, angle)
    return rename(_joined(abs * angle.cos(), abs * angle.sin()), "PolarBackward0")


@both
def angle(input: Tensor) -> Tensor:
    """The argument of complex numbers; π for negative real ones and 0 for others (NaN stays)."""
    if input.dtype.is_complex:
        return FUNCTIONS["atan2"](imag(input), real(input))
    x = input if input.dtype.category >= FLOAT else input.to(floating(input.dtype))
    return where(x.isnan(), x, where(x < 0, math.pi, x.new_zeros(())))


@both
def isreal(input: Tensor) -> Tensor:
    """Where the imaginary part is 0."""
    if input.dtype.is_complex:
        return imag(input) == 0
    return input.new_full(tuple(input.shape), True, dtype=dtypes.bool_)


def adjoint_of(x: Tensor) -> Tensor:
    """The conjugate transpose of matrices."""
    return conj(x.transpose(-2, -1))


publish(("adjoint",), adjoint_of)
Tensor.mH = property(adjoint_of)  # type: ignore[attr-defined]
Tensor.H = property(lambda x: conj(x.T))  # type: ignore[attr-defined]


@method
def chalf(self: Tensor, memory_format: Any = None) -> Tensor:
    """Not available: NumPy has no complex numbers of two halves."""
    raise NotImplementedError("there is no complex32 here: use .cfloat()")


def _conversion(name: str, dtype: dtypes.DType) -> None:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return self.to(dtype)

    convert.__name__ = name
    convert.__doc__ = f"This tensor as {dtype.name}."
    setattr(Tensor, name, convert)


_conversion("cfloat", dtypes.complex64)
_conversion("cdouble", dtypes.complex128)
