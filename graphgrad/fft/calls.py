"""The three kinds of discrete Fourier transform as host calls; each is the others' gradient.

``norm`` is where the factor 1/n stands: "forward", "backward" or, as 1/√n in both, "ortho".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import int64
from graphgrad.lang import bitwise_and, ge, iota, le, mul, pad, real, where
from graphgrad.tensor.hosted import HostCall

Value = Any
Axes = tuple[int, ...]

# The transform that undoes no factor puts it on the other side.
OTHER = {"forward": "backward", "backward": "forward", "ortho": "ortho"}


@dataclass(frozen=True)
class Complex(HostCall):
    """Complex to complex, over ``axes``; ``inverse``: with exponents of the other sign."""

    axes: Axes
    inverse: bool
    norm: str
    kind = "FftC2CBackward0"
    reads_operands = reads_results = False

    def types(self, x: Any) -> Any:
        return ((tuple(x.shape), x.dtype),)

    def __call__(self, x: Any) -> Any:
        transform = np.fft.ifftn if self.inverse else np.fft.fftn
        return (transform(x, axes=self.axes, norm=self.norm),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """The adjoint: exponents of the other sign, the same factor."""
        return [Complex(self.axes, not self.inverse, OTHER[self.norm]).of(cotangents[0])]


@dataclass(frozen=True)
class ToHalf(HostCall):
    """Real to complex: the last of ``axes`` keeps frequencies 0 … n//2, which tell the others."""

    axes: Axes
    norm: str
    kind = "FftR2CBackward0"
    reads_operands = reads_results = False

    def types(self, x: Any) -> Any:
        shape = list(x.shape)
        shape[self.axes[-1]] = shape[self.axes[-1]] // 2 + 1
        return ((tuple(shape), dtypes.complex_of(x.dtype)),)

    def __call__(self, x: Any) -> Any:
        return (np.fft.rfftn(x, axes=self.axes, norm=self.norm),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """The whole transform's adjoint, of a cotangent that is 0 at the other frequencies."""
        g, shape, last = cotangents[0], operands[0].shape, self.axes[-1]
        high = [0] * len(shape)
        high[last] = shape[last] - g.shape[last]
        whole = pad(g, (0,) * len(shape), high)
        return [real(Complex(self.axes, True, OTHER[self.norm]).of(whole))]


@dataclass(frozen=True)
class FromHalf(HostCall):
    """Frequencies 0 … n//2 of the last of ``axes`` to n = ``size`` real values."""

    axes: Axes
    size: int
    norm: str
    kind = "FftC2RBackward0"
    reads_operands = reads_results = False

    def types(self, x: Any) -> Any:
        shape = list(x.shape)
        shape[self.axes[-1]] = self.size
        return ((tuple(shape), dtypes.real_of(x.dtype)),)

    def __call__(self, x: Any) -> Any:
        sizes = [x.shape[a] for a in self.axes[:-1]] + [self.size]
        return (np.fft.irfftn(x, sizes, self.axes, self.norm),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """The forward transform; frequencies that stand for two count twice."""
        g, last = ToHalf(self.axes, OTHER[self.norm]).of(cotangents[0]), self.axes[-1]
        place = iota(tuple(g.shape), last, int64)
        twice = bitwise_and(ge(place, 1), le(place, self.size - g.shape[last]))
        return [where(twice, mul(g, 2.0), g)]
