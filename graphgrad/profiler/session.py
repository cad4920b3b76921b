"""profile(): everything that compiled code does in a stretch of a program, as in torch.profiler.

with profile() as prof:
    for batch in batches:
        with record_function("step"):
            step(batch)
        prof.step()
print(prof.key_averages().table(row_limit=10))
prof.export_chrome_trace("trace.json")
"""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.profiler.tables import duration, markdown
from graphgrad.profiler.trace import Span, chrome_trace, total, write


class ProfilerActivity(enum.Enum):
    """Where things happen; compiled programs on CPUs are what is timed."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What a profiler does in one step of a schedule."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0
) -> Callable[[int], ProfilerAction]:
    """Skip ``skip_first`` steps, then ``repeat`` times (0: for ever) wait, warm up, record."""
    if min(wait, warmup, repeat, skip_first) < 0 or active < 1:
        raise ValueError(
            "wait, warmup, repeat and skip_first must be at least 0, active at least 1"
        )
    turn = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        at = step - skip_first
        if at < 0 or (repeat and at >= repeat * turn):
            return ProfilerAction.NONE
        at %= turn
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        last = at == turn - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
_open: list[profile] = []


@dataclass(frozen=True)
class Average:
    """All spans of one name. Times are seconds."""

    key: str
    count: int
    cpu_time_total: float

    @property
    def cpu_time(self) -> float:
        """The mean of one."""
        return self.cpu_time_total / self.count


class Averages(list[Average]):
    """What ``key_averages`` returns; ``print`` its table."""

    def table(self, sort_by: str | None = "cpu_time_total", row_limit: int = 100) -> str:
        """Markdown; ``sort_by``: count, cpu_time or cpu_time_total, with ``self_`` or without."""
        key = (sort_by or "cpu_time_total").removeprefix("self_")
        if key not in ("count", "cpu_time", "cpu_time_total"):
            raise ValueError(f"sort_by={sort_by!r}: there are count, cpu_time, cpu_time_total")
        rows = sorted(self, key=lambda row: -getattr(row, key))
        whole = sum(row.cpu_time_total for row in self) or 1.0
        cells = [["Name", "CPU %", "CPU total", "CPU time avg", "# of Calls"]]
        cells += [_cells(row, whole) for row in rows[: row_limit if row_limit >= 0 else None]]
        return "\n".join(markdown(cells))

    def __str__(self) -> str:
        return self.table()


def _cells(row: Average, whole: float) -> list[str]:
    share = f"{row.cpu_time_total / whole:.1%}"
    return [row.key, share, duration(row.cpu_time_total), duration(row.cpu_time), str(row.count)]


class profile:
    """Records, while it is open, every kernel of every compiled program of this process.

    What runs as written in NumPy has no kernels; ``record_function`` gives any stretch of code a
    span of its own. Programs run row by row meanwhile, some 0.3 µs slower a row. ``schedule`` and
    ``step()`` choose which steps are recorded; ``on_trace_ready(profiler)`` is called when one
    recording ends. The other options of torch.profiler change nothing.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        use_cuda: bool | None = None,
    ) -> None:
        self._schedule, self._ready = schedule, on_trace_ready
        self.step_num = 0
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        self._exit: contextlib.ExitStack | None = None
        self._began = 0.0

    # ---- when

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, as ``with`` does; RuntimeError when it has begun."""
        if self._exit is not None:
            raise RuntimeError("this profiler is open already")
        self._exit = contextlib.ExitStack()
        _open.append(self)
        self._listen()

    def stop(self) -> None:
        """End, as ``with`` does."""
        if self._exit is None:
            raise RuntimeError("this profiler is not open")
        recording = self._action() in _RECORDING
        self._exit.close()
        self._exit = None
        _open.remove(self)
        if recording:
            self._done()

    def step(self) -> None:
        """The next step of a schedule begins."""
        before = self._action()
        if before in _RECORDING:
            self.add(
                Span(f"ProfilerStep#{self.step_num}", self._began, time.perf_counter(), "step")
            )
        if before is ProfilerAction.RECORD_AND_SAVE and self._schedule is not None:
            self._done()
            self._spans = []
        self.step_num += 1
        if self._exit is not None:
            self._exit.close()
            self._listen()

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self._schedule is None else self._schedule(self.step_num)

    def _listen(self) -> None:
        from graphgrad.kernels.executor import timing_all

        self._began = time.perf_counter()
        if self._exit is not None and self._action() in _RECORDING:
            self._exit.enter_context(timing_all(self._heard))

    def _heard(self, program: Any, timings: Sequence[Any]) -> None:
        for timing in timings:
            for begin, end in timing.spans:
                self.add(Span(timing.name, begin, end, "kernel", {"row": timing.row}))

    def _done(self) -> None:
        if self._ready is not None:
            self._ready(self)

    def add(self, span: Span) -> None:
        """One span more, while something is recorded."""
        if self._action() in _RECORDING:
            with self._lock:
                self._spans.append(span)

    # ---- what

    def events(self) -> list[Span]:
        """Every span, in the order they ended."""
        return list(self._spans)

    def key_averages(self, group_by_input_shape: bool = False) -> Averages:
        """Kernels and recorded functions by name."""
        by_name: dict[str, list[Span]] = {}
        for span in self._spans:
            by_name.setdefault(span.name, []).append(span)
        return Averages(Average(k, len(spans), total(spans)) for k, spans in by_name.items())

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write all spans for Perfetto or chrome://tracing; GraphError where that cannot be."""
        write(path, chrome_trace(sorted(self._spans, key=lambda s: s.begin), "profile"))


class record_function(contextlib.ContextDecorator):
    """A stretch of code, or a decorated function, as a span of that name in open profilers."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: Any) -> None:
        span = Span(self.name, self._began, time.perf_counter(), "user")
        for profiler in _open:
            profiler.add(span)


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For ``on_trace_ready``: a file ``WORKER.STEP.pt.trace.json`` in a folder each time."""
    if use_gzip:
        raise NotImplementedError("use_gzip: traces are written as plain JSON")
    return functools.partial(_save, pathlib.Path(dir_name), worker_name or f"worker_{os.getpid()}")


def _save(folder: pathlib.Path, worker: str, profiler: profile) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(folder / f"{worker}.{profiler.step_num}.pt.trace.json")
