"""gg.profile: a compiled function kernel by kernel, on the machine's roofline.

found = gg.profile(step, images, labels)     # runs it some twenty times
print(found)                                 # a line a kernel, slowest first
print(found.by_row())                        # a line a row of the program, in order
found.export_chrome_trace("step.json")       # one call, for Perfetto or chrome://tracing
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from graphgrad.config import config
from graphgrad.jit import Compiled, compile
from graphgrad.profiler.machine import Machine, measured
from graphgrad.profiler.tables import duration, markdown
from graphgrad.profiler.trace import Span, chrome_trace, write

WARM_UP, REPEATS = 3, 7


@dataclass(frozen=True)
class Line:
    """Rows taken together: their kernel, what they compute and where that was written.

    ``least`` is the time the machine needs at least for such operations and bytes, row after row.
    """

    kernel: str
    what: str
    launches: int
    seconds: float
    flops: int
    nbytes: int
    least: float


@dataclass(frozen=True)
class Profile:
    """The rows of one compiled step; ``print`` it as a table of its kernels.

    ``step_seconds`` is the median of undisturbed calls, each row's time the median of calls that
    ran row by row. ``work`` are those rows with their regions, ``spans`` those of the last call.
    """

    name: str
    machine: Machine
    step_seconds: float
    rows: list[Line]
    work: Sequence[Any] = field(default=(), repr=False)
    spans: Sequence[Span] = field(default=(), repr=False)

    def __str__(self) -> str:
        kernels: dict[str, list[Line]] = {}
        for row in self.rows:
            kernels.setdefault(row.kernel, []).append(row)
        lines = [_together(name, rows) for name, rows in kernels.items()]
        return self._table(sorted(lines, key=lambda line: -line.seconds), "launches", _launches)

    def by_row(self) -> str:
        """A line a row of the program, in the order they run."""
        return self._table(self.rows, "result", lambda line: line.what)

    def chrome_trace(self) -> str:
        """One call as JSON in the Trace Event Format, which Perfetto and chrome://tracing open."""
        return chrome_trace(self.spans, self.name, {"machine": str(self.machine)})

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write ``chrome_trace()``; GraphError where that cannot be."""
        write(path, self.chrome_trace())

    def numbers(self) -> dict[str, Any]:
        """Every number, for JSON."""
        return {
            "name": self.name,
            "machine": asdict(self.machine),
            "step_seconds": self.step_seconds,
            "rows": [asdict(row) for row in self.rows],
        }

    def _table(self, lines: Sequence[Line], head: str, second: Callable[[Line], str]) -> str:
        total = sum(line.seconds for line in lines)
        heads = ["kernel", head, "time", "share", "GFLOP/s", "GB/s", "roofline"]
        cells = [[line.kernel, second(line), *self._numbers(line, total)] for line in lines]
        work = _together("all rows", lines)
        cells.append([work.kernel, "", *self._numbers(work, total)])
        title = f"{self.name}: {duration(self.step_seconds)} a step, {self.machine}"
        legend = (
            "roofline: the least time for a row's operations and bytes ÷ its time. "
            "Timing row by row adds about 0.3 µs a launch."
        )
        return "\n".join([title, "", *markdown([heads, *cells]), "", legend])

    def _numbers(self, line: Line, total: float) -> list[str]:
        return [
            duration(line.seconds),
            f"{line.seconds / total:.1%}" if total else "–",
            f"{line.flops / line.seconds / 1e9:.1f}" if line.flops else "–",
            f"{line.nbytes / line.seconds / 1e9:.1f}" if line.nbytes else "–",
            f"{line.least / line.seconds:.0%}" if line.least else "–",
        ]


def _launches(line: Line) -> str:
    return str(line.launches)


def _together(name: str, lines: Sequence[Line]) -> Line:
    return Line(
        name,
        "",
        sum(line.launches for line in lines),
        sum(line.seconds for line in lines),
        sum(line.flops for line in lines),
        sum(line.nbytes for line in lines),
        sum(line.least for line in lines),
    )


def profile(
    function: Any, *args: Any, repeats: int = REPEATS, warm_up: int = WARM_UP, **kwargs: Any
) -> Profile:
    """Time the kernels of ``function(*args, **kwargs)``, compiled if it is not yet.

    The function is called ``warm_up + 2 * repeats`` times, with all its effects: a training step
    trains. The machine's peak is measured once a process (about a second, half a gigabyte).

    Raises ValueError where nothing would be compiled (``config.tier``), NotImplementedError for
    programs on a GPU.
    """
    compiled = function if isinstance(function, Compiled) else compile(function)

    def step() -> Any:
        return compiled(*args, **kwargs)

    def program() -> Any:
        executable = compiled.trace(*args, **kwargs).executable
        if executable.ready() is None:
            raise ValueError(f"there are no kernels to time: config.tier is {config.tier!r}")
        return executable.program

    return profile_step(compiled.name.rpartition("<locals>.")[2], step, program, repeats, warm_up)


def profile_step(
    name: str,
    step: Callable[[], Any],
    program: Callable[[], Any],
    repeats: int = REPEATS,
    warm_up: int = WARM_UP,
) -> Profile:
    """Time the rows of what ``program()`` is once ``step`` was called, which calls it."""
    from graphgrad.kernels.profile import recording

    if repeats < 1 or warm_up < 1:
        raise ValueError(f"repeats={repeats} and warm_up={warm_up} must be positive")
    for _ in range(warm_up):
        step()
    timed = program()
    if not hasattr(timed.runner, "profile"):
        raise NotImplementedError(f"{name} runs on {timed.device}: only programs on CPUs are timed")
    plain = statistics.median(_timed(step) for _ in range(repeats))
    with recording(timed) as record:
        for _ in range(repeats):
            step()
    machine = measured(config.threads or _cores())
    work = record.rows()
    lines = [_line(row, machine) for row in work]
    return Profile(name, machine, plain, lines, tuple(work), _spans(record.calls[-1], work))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timed(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _line(row: Any, machine: Machine) -> Line:
    return Line(
        row.name,
        described(row.regions),
        row.runs,
        row.seconds,
        row.flops,
        row.nbytes,
        machine.least_seconds(row.flops, row.nbytes),
    )


def _spans(timings: Sequence[Any], work: Sequence[Any]) -> tuple[Span, ...]:
    """Every run of every row of one call, in their order."""
    known = {row.row: row for row in work}
    spans = []
    for timing in timings:
        row = known[timing.row]
        details = {
            "row": row.row,
            "result": described(row.regions),
            "flops": row.flops // max(row.runs, 1),
            "bytes": row.nbytes // max(row.runs, 1),
        }
        spans += [Span(timing.name, begin, end, "kernel", details) for begin, end in timing.spans]
    return tuple(sorted(spans, key=lambda span: span.begin))


def described(regions: Sequence[Any]) -> str:
    """Results of the first region, how many more there are, and the user's line."""
    if not regions:
        return ""
    first = regions[0]
    shapes = ", ".join(f"{y.dtype.name}{list(y.shape)}" for y in first.outputs[:2])
    more = f" … ({len(first.outputs)} results)" if len(first.outputs) > 2 else ""
    others = f" and {len(regions) - 1} regions like it" if len(regions) > 1 else ""
    lines = dict.fromkeys(str(y.origin) for y in first.outputs if y.origin.code)
    return f"{shapes}{more}{others} {' '.join(list(lines)[:2])}".rstrip()
