"""Discrete Fourier transforms by their names in ``torch.fft``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import FLOAT, DType
from graphgrad.fft.calls import OTHER, Complex, FromHalf, ToHalf
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.hosted import call
from graphgrad.tensor.shapes import axis_of


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in OTHER:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _converted(name: str, x: Any, real: bool = False) -> Tensor:
    """Integers become floats; ``real`` transforms refuse complex input, others want it."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    if real and x.dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {x.dtype.name}")
    if x.dtype.is_half:
        raise RuntimeError("Unsupported dtype Half")
    kind: DType = x.dtype if x.dtype.category >= FLOAT else dtypes.get_default_dtype()
    return x.to(kind if real else dtypes.complex_of(kind))


def _axis(dim: int, x: Tensor) -> int:
    if not x.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return axis_of(dim, x.ndim)


def _axes(x: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], list[int | None]]:
    """Dimensions, and the size that each is cut or padded to (None: as it is)."""
    sizes = [s] if isinstance(s, int) else None if s is None else list(s)
    if dim is not None:
        dims: Sequence[int] = [dim] if isinstance(dim, int) else dim
        axes = tuple(_axis(d, x) for d in dims)
        if len(set(axes)) != len(axes):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(axes):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif sizes is not None:
        if len(sizes) > x.ndim:
            raise RuntimeError(
                f"Got shape with {len(sizes)} values but input tensor only has {x.ndim} dimensions."
            )
        axes = tuple(range(x.ndim - len(sizes), x.ndim))
    else:
        axes = tuple(range(x.ndim))
    if sizes is None:
        return axes, [None] * len(axes)
    return axes, [None if n == -1 else n for n in sizes]


def _resized(x: Tensor, axis: int, n: int | None) -> Tensor:
    """Cut to the first ``n`` elements, or zeros after the last."""
    size = x.shape[axis]
    n = size if n is None else n
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    if n <= size:
        return x if n == size else x.narrow(axis, 0, n)
    shape = list(x.shape)
    shape[axis] = n - size
    return FUNCTIONS["cat"]([x, x.new_zeros(shape)], axis)


def _whole(x: Tensor, axes: Any, sizes: Any, inverse: bool, norm: str | None) -> Tensor:
    for axis, n in zip(axes, sizes, strict=True):
        x = _resized(x, axis, n)
    return call(Complex(axes, inverse, _norm(norm)), x)[0] if axes else x.clone()


def _to_half(x: Tensor, axes: Any, sizes: Any, norm: str | None) -> Tensor:
    for axis, n in zip(axes, sizes, strict=True):
        x = _resized(x, axis, n)
    return call(ToHalf(axes, _norm(norm)), x)[0]


def _from_half(x: Tensor, axes: Any, sizes: Any, norm: str | None) -> Tensor:
    last = axes[-1]
    size = 2 * (x.shape[last] - 1) if sizes[-1] is None else sizes[-1]
    if size < 1:
        raise RuntimeError(f"Invalid number of data points ({size}) specified")
    for axis, n in zip(axes[:-1], sizes[:-1], strict=True):
        x = _resized(x, axis, n)
    x = _resized(x, last, size // 2 + 1)
    return call(FromHalf(axes, size, _norm(norm)), x)[0]


def _some(name: str, axes: tuple[int, ...]) -> None:
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")


Planned = Callable[[str, Tensor, Any, Any, "str | None"], Tensor]


def _complex(inverse: bool) -> Planned:
    def transform(name: str, input: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
        x = _converted(name, input)
        return _whole(x, *_axes(x, s, dim), inverse, norm)

    return transform


def _real(name: str, input: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    x = _converted(name, input, True)
    axes, sizes = _axes(x, s, dim)
    _some(name, axes)
    return _to_half(x, axes, sizes, norm)


def _inverse_real(name: str, input: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    x = _converted(name, input)
    axes, sizes = _axes(x, s, dim)
    _some(name, axes)
    return _from_half(x, axes, sizes, norm)


def _hermitian(name: str, input: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    """Of a spectrum that is real: ``irfft`` of the conjugate, without its factor."""
    return _inverse_real(name, _converted(name, input).conj(), s, dim, OTHER[_norm(norm)])


def _inverse_hermitian(name: str, input: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    return _real(name, input, s, dim, OTHER[_norm(norm)]).conj()


_KINDS: dict[str, tuple[Planned, str]] = {
    "fft": (_complex(False), "The transform"),
    "ifft": (_complex(True), "The inverse transform"),
    "rfft": (_real, "The transform of real input, frequencies 0 … n//2 of the last dimension,"),
    "irfft": (_inverse_real, "The inverse of ``rfft``: real output,"),
    "hfft": (_hermitian, "The transform of input given by half, whose output is real,"),
    "ihfft": (_inverse_hermitian, "The inverse of ``hfft``"),
}


def _one(name: str, transform: Planned, what: str) -> Callable[..., Tensor]:
    def operation(
        input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None
    ) -> Tensor:
        return transform(name, input, None if n is None else [n], dim, norm)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{what} along one dimension, cut or padded to ``n`` elements."
    return operation


def _several(name: str, transform: Planned, what: str, default: Any) -> Callable[..., Tensor]:
    def operation(
        input: Tensor, s: Any = None, dim: Any = default, norm: str | None = None
    ) -> Tensor:
        return transform(name, input, s, dim, norm)

    operation.__name__ = operation.__qualname__ = name
    over = "the last two dimensions" if default else "all dimensions, or the last ``len(s)``,"
    operation.__doc__ = f"{what} along ``dim``: by default {over} cut or padded to ``s``."
    return operation


TRANSFORMS: dict[str, Callable[..., Tensor]] = {}
for _name, (_transform, _what) in _KINDS.items():
    TRANSFORMS[_name] = _one(_name, _transform, _what)
    TRANSFORMS[f"{_name}2"] = _several(f"{_name}2", _transform, _what, (-2, -1))
    TRANSFORMS[f"{_name}n"] = _several(f"{_name}n", _transform, _what, None)
