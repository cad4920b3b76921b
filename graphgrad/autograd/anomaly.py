"""Finding the NaN: check every record's gradients during backward."""

from __future__ import annotations

from typing import Any

from graphgrad.tensor.state import state


class set_detect_anomaly:
    """Switch anomaly mode: backward raises at the first record whose gradient has a NaN.

    The error names the record and the user's line that recorded it. Usable as a context manager.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = state.anomaly
        state.anomaly = mode and check_nan

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        state.anomaly = self.before


class detect_anomaly(set_detect_anomaly):
    """Anomaly mode inside a ``with`` block."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def is_anomaly_enabled() -> bool:
    """Whether this thread checks for NaN during backward."""
    return state.anomaly
