"""cuDNN is not used: its switches keep what scripts set, and change nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN can be used: no."""
    return False


def version() -> int | None:
    """No version, for it is not there."""
    return None


@contextlib.contextmanager
def flags(**switches: bool) -> Iterator[None]:
    """Switches inside a ``with`` block."""
    before = {name: globals()[name] for name in switches}
    globals().update(switches)
    try:
        yield
    finally:
        globals().update(before)
