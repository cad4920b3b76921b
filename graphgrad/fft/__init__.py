"""Discrete Fourier transforms by their names in ``torch.fft``.

    gg.fft.rfft(x)          gg.fft.fft2(images, norm="ortho")          gg.stft(signal, 400)

NumPy computes them, as written and in compiled programs; each kind is the gradient of another, so
gradients of any order are transforms too.
"""

from __future__ import annotations

from graphgrad.fft import spectrogram as spectrogram
from graphgrad.fft.frequencies import fftfreq, fftshift, ifftshift, rfftfreq
from graphgrad.fft.transforms import TRANSFORMS
from graphgrad.nearest import names_of
from graphgrad.tensor import spelling

_HELPERS = {f.__name__: f for f in (fftfreq, fftshift, ifftshift, rfftfreq)}
globals().update(spelling.spelled({**TRANSFORMS, **_HELPERS}))

__all__ = sorted({**TRANSFORMS, **_HELPERS})

__getattr__ = names_of("graphgrad.fft", globals())
