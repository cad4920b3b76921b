"""``graphgrad.compiler``: what compiled code may ask, by the names of ``torch.compiler``."""

from __future__ import annotations

from graphgrad.tensor.state import state


def is_compiling() -> bool:
    """Whether this code is being traced."""
    return state.trace is not None


def is_exporting() -> bool:
    """Exported files are made from traces; nothing is traced differently for them."""
    return False


def reset() -> None:
    """Nothing to do: traces belong to what ``compile`` returned, and are forgotten with it."""


def cudagraph_mark_step_begin() -> None:
    """Nothing to do: results of a compiled call are never overwritten by the next one."""
