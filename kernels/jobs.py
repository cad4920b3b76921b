"""Work that is done once, by whichever thread comes first: `Job`, and `share` for many of them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Result = TypeVar("Result")


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Job(Generic[Result]):
    """`job.result()` is what `make()` returns, or raises; a result is kept."""

    __slots__ = ("_lock", "_make", "_result")

    def __init__(self, make: Callable[[], Result]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._result: Result | None = None

    @property
    def is_done(self) -> bool:
        return self._result is not None

    def result(self) -> Result:
        """Made now, if no other thread has made it or is about to."""
        if self._result is None:
            with self._lock:
                if self._result is None:
                    self._result = self._make()
        return self._result


def share(jobs: Iterable[Job], helpers: int) -> None:
    """Let at most `helpers` threads do jobs, beginning with the last; returns at once.

    A caller that asks for the results in order meets them in the middle.
    """
    todo = [job for job in jobs if not job.is_done]
    for _ in range(min(helpers, len(todo))):
        threading.Thread(target=_help, args=(todo,), name="graphgrad-compile").start()


def _help(todo: list[Job]) -> None:
    with contextlib.suppress(IndexError):  # another helper took the last one
        while todo:
            job = todo.pop()
            # Whoever needs the result makes it again and gets the error.
            with contextlib.suppress(Exception):
                job.result()
