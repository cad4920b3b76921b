"""Finding the NaN: anomaly mode, by PyTorch's names.

    with gg.autograd.detect_anomaly():
        loss = step(images, labels)      # written or compiled

The first operation whose result has a NaN is an error that names it. Backward, every function's
outputs are looked at, as in PyTorch; forward, where PyTorch looks at nothing, every result is. To
move a NaN that was there before (a view, a gather, ``where``) is no anomaly, to compute with it is,
and the error says who held it. Infinities are none (masks are made of them), but where one led to
the NaN, the error names it.

A compiled function is judged by what it returns and writes: one masked by ``where`` inside changes
nothing that anybody sees. On an error all that the call would have changed is as it was before. As
written, ``log(-1)`` raises although the next line may mask it: nobody knows that line yet.
"""

from __future__ import annotations

from typing import Any

from graphgrad.tensor.state import state
from graphgrad.tensor.watch import Watch


class set_detect_anomaly:
    """Switch anomaly mode on or off, at once; as a context manager, restore it afterwards.

    With ``check_nan=False`` nothing is checked, and is_anomaly_enabled() still says True.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = (state.anomaly, state.check_nan)
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        set_anomaly_enabled(*self.before)


class detect_anomaly:
    """Anomaly mode inside a ``with`` block."""

    def __init__(self, check_nan: bool = True) -> None:
        self.before = (state.anomaly, state.check_nan)
        self.check_nan = check_nan

    def __enter__(self) -> None:
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *_: Any) -> None:
        set_anomaly_enabled(*self.before)


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switch this thread's anomaly mode, and whether it looks for NaN."""
    state.anomaly, state.check_nan = bool(mode), bool(check_nan)
    wanted = state.anomaly and state.check_nan
    if wanted is not (state.watch is not None):
        state.set_watch(Watch() if wanted else None)


def is_anomaly_enabled() -> bool:
    """Whether this thread is in anomaly mode."""
    return state.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return state.check_nan
