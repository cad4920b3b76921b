"""``graphgrad bench --profile``: a compiled step kernel by kernel, on the machine's roofline.

print(profile("LeNet-5, SGD", threads=1))            # a line a kernel, slowest first
print(profile("LeNet-5, SGD", threads=1).by_row())   # a line a row of the program, in order
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import graphgrad
from graphgrad.bench.contestants import Compiler, available, cores
from graphgrad.bench.machine import Machine, measured
from graphgrad.bench.report import duration, markdown
from graphgrad.bench.workload import Step, Workload

_WARM_UP, _REPEATS = 3, 7


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
    """The rows of one compiled step; ``print`` it as a table of its kernels."""

    name: str
    machine: Machine
    step_seconds: float
    rows: list[Line]

    def __str__(self) -> str:
        kernels: dict[str, list[Line]] = {}
        for row in self.rows:
            kernels.setdefault(row.kernel, []).append(row)
        lines = [_together(name, rows) for name, rows in kernels.items()]
        return self._table(sorted(lines, key=lambda line: -line.seconds), "launches", _launches)

    def by_row(self) -> str:
        """A line a row of the program, in the order they run."""
        return self._table(self.rows, "result", lambda line: line.what)

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
            f"{line.seconds / total:.1%}",
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


def profile(workload: Workload, threads: int) -> Profile:
    """Build a workload, run it compiled until it is warm, and time its rows."""
    from graphgrad.kernels.profile import recording

    threads = threads or available()
    with cores(threads):
        machine = measured(threads)
        compiler = Compiler()
        step = workload.build(graphgrad, compiler)
        for _ in range(_WARM_UP):
            step()
        plain = statistics.median(_timed(step) for _ in range(_REPEATS))
        (program,) = compiler.programs()
        with recording(program) as record:
            for _ in range(_REPEATS):
                step()
    return Profile(workload.name, machine, plain, [_line(row, machine) for row in record.rows()])


def _timed(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _line(row: Any, machine: Machine) -> Line:
    return Line(
        row.name,
        _described(row.regions),
        row.runs,
        row.seconds,
        row.flops,
        row.nbytes,
        machine.least_seconds(row.flops, row.nbytes),
    )


def _described(regions: Sequence[Any]) -> str:
    """Results of the first region, how many more there are, and the user's line."""
    if not regions:
        return ""
    first = regions[0]
    shapes = ", ".join(f"{y.dtype.name}{list(y.shape)}" for y in first.outputs[:2])
    more = f" … ({len(first.outputs)} results)" if len(first.outputs) > 2 else ""
    others = f" and {len(regions) - 1} regions like it" if len(regions) > 1 else ""
    lines = dict.fromkeys(str(y.origin) for y in first.outputs if y.origin.code)
    return f"{shapes}{more}{others} {' '.join(list(lines)[:2])}".rstrip()


def as_json(profiles: Sequence[Profile]) -> str:
    """Every number of some profiles."""
    return json.dumps([asdict(p) for p in profiles], indent=1)
