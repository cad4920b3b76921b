"""A Program on a GPU, with the calling convention of an Executable."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from graphgrad.device import device as Device

from ..compiled import Compiled, Report
from .memory import empty
from .runner import DeviceRunner
from .spares import Spares


class DeviceProgram(Compiled):
    """A Compiled over DeviceArrays whose kernels are launched on a GPU."""

    def __init__(self, device: Device, *parts: Any) -> None:
        self.device = device
        super().__init__(*parts)
        new = functools.partial(empty, device=device)
        self._new = [(new, shape, dtype) for shape, dtype in self.types]

    @property
    def results(self) -> list[Any]:
        """As of any program; arrays that nobody holds any more are handed out again."""
        rows = super().results
        return [x if isinstance(x, int) else (Spares(x[0]), *x[1:]) for x in rows]

    def explain(self) -> Report:
        """Counts, sizes and files of the program, and where it runs."""
        return replace(super().explain(), device=f"{self.device}")

    def _runner(self) -> DeviceRunner:
        kernels = {kernel.address: kernel.keep for kernel in self.program.kernels}
        written = frozenset(source for _, source in self.aliases)
        return DeviceRunner(self.program, kernels, self.device, written, self._explain_failure)
