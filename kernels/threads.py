"""The threads that share parallel rows: `team_cell()` is where compiled code finds them.

Threads are Python threads that never come back from compiled code (`engine.work`): they need no
library, hold no lock of the interpreter, spin for a moment after a job because the next is near,
and then sleep. A fork and join costs under a microsecond while they spin. The number of threads is
`config.threads`, by default the cores this process may use. A child made by fork runs everything
on the thread it has.
"""

import atexit
import ctypes
import os
import sys
import threading

import numpy as np

from graphgrad.config import config

from . import cache
from . import layout as at
from .jobs import cores
from .memory import new_block

SPINS = 5_000  # pauses, some 100 microseconds: the gap between two steps, not more
SYSTEM_BYTES = 128  # room for a pthread mutex or condition variable of any system
SYSTEM_CALLS = {
    at.LOCK: "pthread_mutex_lock",
    at.UNLOCK: "pthread_mutex_unlock",
    at.WAIT: "pthread_cond_wait",
    at.BROADCAST: "pthread_cond_broadcast",
    at.YIELD: "sched_yield",
}


class Team:
    """`size` threads, the caller's included, and the table they meet at."""

    def __init__(self, size: int) -> None:
        words = at.NEXT + at.LINE * size
        self.memory = new_block(8 * words + 2 * SYSTEM_BYTES)
        self.memory[:] = 0
        self.table = self.memory[: 8 * words].view(np.int64)
        self._prepare(size, mutex=self.memory.address + 8 * words)
        life = at.KERNEL_TYPE(cache.load_template(f"{__package__}.engine:work").address)
        table = ctypes.cast(self.memory.address, at.TABLE_TYPE)
        self.workers = [
            threading.Thread(target=life, args=(table, index, 0, 0), daemon=True)
            for index in range(1, size)
        ]
        for worker in self.workers:
            worker.start()

    def _prepare(self, size: int, mutex: int) -> None:
        self.library, condition = ctypes.CDLL(None), mutex + SYSTEM_BYTES
        self.library.pthread_mutex_init(ctypes.c_void_p(mutex), None)
        self.library.pthread_cond_init(ctypes.c_void_p(condition), None)
        self.table[at.SIZE] = size
        # Spinning pays when every thread has a core; otherwise it takes one from who works.
        self.table[at.SPINS] = SPINS if size <= cores() else 0
        self.table[at.MUTEX], self.table[at.COND] = mutex, condition
        for word, name in SYSTEM_CALLS.items():
            function = getattr(self.library, name)
            self.table[word] = ctypes.cast(function, ctypes.c_void_p).value or 0

    def stop(self) -> None:
        """Let the threads return, and wait for them: their code is about to be unmapped."""
        mutex, condition = (ctypes.c_void_p(int(self.table[w])) for w in (at.MUTEX, at.COND))
        for worker in self.workers:
            while worker.is_alive():  # a job that ends now closes OPEN once more
                self.table[at.OPEN] = at.STOP
                self.library.pthread_mutex_lock(mutex)
                self.library.pthread_cond_broadcast(condition)
                self.library.pthread_mutex_unlock(mutex)
                worker.join(timeout=0.05)


class _Teams:
    """The team of each size that was asked for; `cell` holds the address of the current one."""

    def __init__(self) -> None:
        self.cell = np.zeros(1, np.int64)
        self.address = self.cell.ctypes.data
        self.forget()

    def forget(self) -> None:
        """What a forked child does first: its parent's threads are not here."""
        self.lock = threading.Lock()
        self.by_size: dict[int, Team] = {}
        self.setting: int | None = None
        self.cell[0] = 0

    def stop(self) -> None:
        for team in self.by_size.values():
            team.stop()
        self.forget()


teams = _Teams()
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True
    teams.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(teams.stop)


def team_cell() -> int:
    """The address of a word that holds the team's address, 0 to run on one thread.

    Follows `config.threads`: ask again before every run (40 ns).
    """
    if config.threads != teams.setting:
        _choose_team()
    return teams.address


def _choose_team() -> None:
    with teams.lock:
        setting = config.threads
        size = setting or cores()
        # Windows has other primitives to sleep on, a child made by fork has no threads, and kernels
        # that run in plain Python have the interpreter's lock.
        if size > 1 and not (_forked or sys.platform == "win32" or cache.interpreting()):
            if size not in teams.by_size:
                teams.by_size[size] = Team(size)
            teams.cell[0] = teams.by_size[size].memory.address
        else:
            teams.cell[0] = 0
        teams.setting = setting
