"""Programs of the emulator: CPU programs over the host memory that its devices are made of."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from graphgrad.device import device as Device

from ..compiled import Compiled, Report
from ..executor import Runner, Timing
from ..memory import array_at
from .memory import DeviceArray, empty


class EmulatedProgram(Compiled):
    """A Compiled over DeviceArrays; run-time numbers are NumPy's, as on the CPU."""

    def __init__(self, device: Device, *parts: Any) -> None:
        super().__init__(*parts)
        self.device = device
        new = functools.partial(empty, device=device)
        self._new = [(new, shape, dtype) for shape, dtype in self.types]

    def explain(self) -> Report:
        """Counts, sizes and files of the program, and where it runs."""
        return replace(super().explain(), device=f"{self.device}, emulated")

    def _runner(self) -> _HostRunner:
        return _HostRunner(super()._runner())


class _HostRunner:
    """A Runner that looks at DeviceArrays as the host memory they are."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner

    def __call__(self, *buffers: Any) -> None:
        """Run over the inputs, then the outputs."""
        self.inner(*map(_host, buffers))

    def profile(self, *buffers: Any) -> list[Timing]:
        """Run row by row, timed."""
        return self.inner.profile(*map(_host, buffers))


def _host(x: Any) -> Any:
    if x.__class__ is DeviceArray:
        return array_at(x.pointer, x.shape, x.dtype.numpy)
    return x
