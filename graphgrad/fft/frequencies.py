"""Sample frequencies of transforms, and the order that has frequency 0 in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.creation import from_array


def fftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The frequency of each element that ``fft`` of ``n`` samples ``d`` apart returns."""
    return _frequencies(np.fft.fftfreq(n), d, dtype, device, requires_grad)


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``fftfreq`` of what ``rfft`` returns: none is negative."""
    return _frequencies(np.fft.rfftfreq(n), d, dtype, device, requires_grad)


def _frequencies(values: Any, d: float, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    kind = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    out = from_array((values / d).astype(kind.numpy), device)
    return out.requires_grad_() if requires_grad else out


def _rolled(input: Tensor, dim: Any, back: bool) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"fftshift(): argument 'input' must be Tensor, not {type(input).__name__}")
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    sizes = [input.shape[d] for d in dims]
    shifts = [(n + 1) // 2 if back else n // 2 for n in sizes]
    return FUNCTIONS["roll"](input, shifts, tuple(dims)) if shifts else input.clone()


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Frequency 0 from the front to the middle of ``dim`` (all dimensions by default)."""
    return _rolled(input, dim, False)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return _rolled(input, dim, True)
