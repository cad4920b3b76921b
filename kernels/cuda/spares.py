"""Results of a compiled function's calls, handed out again when nobody holds them any more.

    new = Spares(empty)
    y = new(shape, dtype)           # an array it made before, if that is idle

A step makes the same arrays every time, gradients above all, after the last ones were let go. That
they come back as the same objects saves making them, and graphs are captured once: they hold
addresses, which wander when the pool serves many such arrays in another order at each call.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from sys import getrefcount
from typing import Any

MOST = 3  # a loss that is read after the next call is one of two


class Spares:
    """Arrays of one result, the idle ones to the right."""

    def __init__(self, new: Callable[..., Any]) -> None:
        self._new = new
        self._made: deque[Any] = deque(maxlen=MOST)
        _all.add(self)

    def __call__(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array of undefined content."""
        made = self._made
        for _ in range(len(made)):
            # Out of the queue while we look: another thread then does not see it.
            array = made.pop()
            if _holders(array) == IDLE:
                made.append(array)
                return array
            made.appendleft(array)
        array = self._new(shape, dtype)
        made.append(array)
        return array

    def clear(self) -> None:
        """Let go of what is idle."""
        self._made.clear()


def _holders(array: Any) -> int:
    """References to an array and to its memory; views hold the one, exported memory the other."""
    return getrefcount(array) + getrefcount(array.owner)


class _Idle:
    """Stands for an array that only a queue's user holds."""

    def __init__(self) -> None:
        self.owner = _Owner()


class _Owner:
    """Stands for its memory."""


def _idle() -> int:
    """What `_holders` finds there, which is a matter of Python's version."""
    made = deque([_Idle()])
    array = made.pop()
    return _holders(array)


IDLE = _idle()
_all: weakref.WeakSet[Spares] = weakref.WeakSet()


def let_go() -> None:
    """Let go of all idle arrays: somebody needs the memory."""
    for spares in list(_all):
        spares.clear()
