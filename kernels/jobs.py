"""Work that is done once, by whichever thread comes first: `Job`, and `share` for many of them.

share(jobs, helpers=3)      # other threads begin; more may be shared while they work
finish(jobs)                # results in order: what nobody has begun is done here
"""

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

    @property
    def is_begun(self) -> bool:
        """Whether it is done, or a thread is at it."""
        return self._result is not None or self._lock.locked()

    def result(self) -> Result:
        """Made now, if no other thread has made it or is about to."""
        if self._result is None:
            with self._lock:
                if self._result is None:
                    self._result = self._make()
        return self._result


class _Helpers:
    """The threads that take jobs from one heap, those shared last first."""

    def __init__(self) -> None:
        self.todo: list[Job] = []
        self.lock = threading.Lock()
        self.active = 0

    def share(self, jobs: Iterable[Job], most: int) -> None:
        with self.lock:
            self.todo += [job for job in jobs if not job.is_begun]
            missing = min(most, self.active + len(self.todo)) - self.active
            for _ in range(missing):
                self.active += 1
                threading.Thread(target=self._help, name="graphgrad-compile").start()

    def _help(self) -> None:
        while (job := self._next()) is not None:
            # Whoever needs the result makes it again and gets the error.
            with contextlib.suppress(Exception):
                job.result()

    def _next(self) -> Job | None:
        with self.lock:
            while self.todo:
                if not (job := self.todo.pop()).is_begun:
                    return job
            self.active -= 1
            return None


_helpers = _Helpers()


def share(jobs: Iterable[Job], helpers: int) -> None:
    """Let at most `helpers` threads do jobs, beginning with the last; returns at once."""
    _helpers.share(jobs, helpers)


def finish(jobs: Iterable[Job[Result]]) -> list[Result]:
    """The results of all jobs; no job is waited for while there is one to begin."""
    jobs = list(jobs)
    for job in jobs:
        if not job.is_begun:
            job.result()
    return [job.result() for job in jobs]


def forget() -> None:
    """In a child made by fork: the threads that were at work are not here."""
    global _helpers
    _helpers = _Helpers()
