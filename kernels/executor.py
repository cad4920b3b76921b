"""Run Programs: `Runner(program)(*buffers)`, or row by row with `Runner(program).profile(...)`.

    runner = Runner(program)
    runner(x, y, out)      # inputs then outputs: plain ndarrays, floats, ints

A run works in a Context of its own, kept for the next run, so threads and re-entrant calls do not
meet. Nothing checks the arrays: their shapes, dtypes and contiguity are the caller's to guard.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from graphgrad.config import config

from . import layout as at
from .entry import enter, enter_briefly
from .layout import DONE, FAILED
from .memory import Block, array_at, borrow, give_back, new_block, size_class
from .program import HostCall, Program
from .threads import team_cell, teams

# An arena up to this size belongs to a context: lending it would cost more than its memory.
SMALL_ARENA = 1 << 14


class KernelError(RuntimeError):
    """A kernel wrote `code` to the error words in row `row`, named `name`."""

    def __init__(self, code: int, row: int, name: str) -> None:
        super().__init__(f"error {code} in {name} (row {row} of the program)")
        self.code, self.row, self.name = code, row, name


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class Context:
    """The words of one call: slots, bases, error words, loop stack. Large arenas are lent to it."""

    __slots__ = ("address", "arena", "args", "bases", "error", "program", "stack", "words")

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arena: Block | None = None
        if program.arena_bytes <= SMALL_ARENA:
            self.arena = new_block(size_class(program.arena_bytes))
        self.words = np.zeros(at.CONTEXT_WORDS, np.int64)
        self.args = program.args.copy()
        self.error = np.zeros(2, np.int64)
        self.stack = np.zeros(at.MAX_DEPTH * at.FRAME_WORDS, np.int64)
        self.stack[at.END] = -1  # outside of all loops no row ends a body
        variable = [0] * (1 + program.inputs + program.outputs)
        fixed = [*map(_address, program.constants), _address(self.error)]
        self.bases = np.array(variable + fixed, np.int64)
        tables = {
            at.ROWS: program.rows,
            at.ARGS: self.args,
            at.PATCHES: program.patches,
            at.BASES: self.bases,
            at.ERROR: self.error,
            at.STACK: self.stack,
        }
        for word, table in tables.items():
            self.words[word] = _address(table)
        self.words[at.ROW_COUNT] = len(program.rows)
        self.words[at.PATCH_COUNT] = len(program.patches)
        self.words[at.STEPS] = -1
        self.words[at.TEAM] = team_cell()
        self.address = _address(self.words)

    def reset(self) -> None:
        """Forget a run that did not reach its end."""
        self.args[:] = self.program.args
        self.error[:] = 0
        self.words[at.PC] = self.words[at.DEPTH] = 0
        self.words[at.STEPS] = -1

    def serve(self, row: int) -> None:
        """Make the host call of `row`."""
        host = self.program.hosts[int(self.program.rows[row, at.AUX0])]
        host.function(*self._operands(host))

    def _operands(self, host: HostCall) -> list[np.ndarray]:
        where = map(int, self.args[host.first : host.first + len(host.operands)])
        return [
            array_at(address, shape, dtype)
            for address, (shape, dtype) in zip(where, host.operands, strict=True)
        ]

    def failure(self) -> KernelError:
        """The error the run stopped at."""
        code, row = map(int, self.error)
        return KernelError(code, row, self.program.names[row])


@dataclass(frozen=True, slots=True)
class Timing:
    """One row of a profile: all its executions together, and from when to when each one was.

    ``spans`` are seconds of ``time.perf_counter``.
    """

    row: int
    name: str
    runs: int
    seconds: float
    spans: tuple[tuple[float, float], ...] = ()


class Runner:
    """Runs one Program; keeps the contexts of finished runs for the next ones."""

    __slots__ = ("_arena_bytes", "_failed", "enter", "idle", "program")

    def __init__(self, program: Program, failed: Callable[..., None] | None = None) -> None:
        """``failed(error, buffers)`` may raise another error than the KernelError."""
        self.program = program
        self._failed = failed
        self.idle: list[Context] = []
        self._arena_bytes = program.arena_bytes
        self.enter = enter_briefly() if program.brief else enter()

    def __call__(self, *buffers: np.ndarray | float | int) -> None:
        """Run over `buffers`, the inputs and then the outputs.

        Raises KernelError if a kernel reported one, and what a host call raises.
        """
        if config.threads != teams.setting:
            team_cell()
        context = self.idle.pop() if self.idle else Context(self.program)
        own = context.arena
        arena = borrow(self._arena_bytes) if own is None else own
        try:
            result = self.enter(context.address, arena.address, *buffers)
            while result != DONE:
                result = self._proceed(context, result, buffers)
        except BaseException:
            context.reset()
            raise
        finally:
            if own is None:
                give_back(arena)
            self.idle.append(context)

    @property
    def is_direct(self) -> bool:
        """Whether a call may be written out: brief (so on one thread), in an arena of its own.

            context = runner.idle.pop() if runner.idle else runner.context()
            if runner.enter(context.address, context.arena.address, *buffers) != DONE:
                runner.finish(context, buffers)
            runner.idle.append(context)

        Not while `timing` holds anything: then `runner` has to be called.
        """
        return self.program.brief and self._arena_bytes <= SMALL_ARENA

    def context(self) -> Context:
        """The words of another call."""
        return Context(self.program)

    def finish(self, context: Context, buffers: Sequence[Any]) -> None:
        """Do what is left after a call that is not done: it was stopped, and says why."""
        try:
            self._raise(context, buffers)
        finally:
            context.reset()
            self.idle.append(context)

    def _proceed(self, context: Context, result: int, buffers: Sequence[Any]) -> int:
        """Go on after a HOST row; raise after a failure."""
        if result == FAILED:
            self._raise(context, buffers)
        context.serve(result)
        return self.enter(context.address)

    def _raise(self, context: Context, buffers: Sequence[Any]) -> NoReturn:
        """Raise what the run stopped at, as whoever made the program explains it."""
        error = context.failure()
        if self._failed is not None:
            self._failed(error, buffers)
        raise error

    def profile(self, *buffers: np.ndarray | float | int) -> list[Timing]:
        """Run as a call does, but one row at a time, and say how long each took."""
        context, arena = Context(self.program), borrow(self._arena_bytes)
        context.words[at.STEPS] = 1
        spans: dict[int, list[tuple[float, float]]] = {}
        result = at.PAUSED
        try:
            while result not in (DONE, FAILED):
                row, begin = int(context.words[at.PC]), time.perf_counter()
                result = self.enter(context.address, arena.address, *buffers)
                if result >= 0:
                    context.serve(result)
                spans.setdefault(row, []).append((begin, time.perf_counter()))
        finally:
            give_back(arena)
        if result == FAILED:
            self._raise(context, buffers)
        return self._timings(spans)

    def _timings(self, spans: dict[int, list[tuple[float, float]]]) -> list[Timing]:
        names = self.program.names
        return [
            Timing(r, names[r], len(found), sum(end - begin for begin, end in found), tuple(found))
            for r, found in sorted(spans.items())
            if r < len(names)
        ]


# Who is told of every run; a call that is written out would not tell.
timing: list[Any] = []


@contextlib.contextmanager
def timing_all(listener: Callable[[Program, list[Timing]], None]) -> Iterator[None]:
    """While open, every program of this process runs row by row, and ``listener`` is told."""
    plain = Runner.__call__
    timing.append(listener)

    def timed(self: Runner, *buffers: np.ndarray | float | int) -> None:
        listener(self.program, self.profile(*buffers))

    Runner.__call__ = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Runner.__call__ = plain  # type: ignore[method-assign]
        timing.remove(listener)
