"""``graphgrad bench --cold``: how long the first compiled step takes, in processes of their own.

    print(run(only=["lenet"], peers=["jax"], threads=1))

Each contestant runs twice with one cache folder: first it is empty, then it is not. Times leave
out the making of the model and its data, which nobody compiles, and that of Python's bytecode,
which installing a package (or its first import) does once. *Start-up* is what the first step takes
beyond a step that is not among the first.
"""

from __future__ import annotations

import compileall
import importlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphgrad.bench.contestants import available, missing
from graphgrad.bench.fresh import in_process
from graphgrad.bench.runner import choose
from graphgrad.profiler.tables import duration, markdown

# What only runs operation by operation has nothing to wait for.
COMPILERS = ("torch.compile", "jax")
_PROCESSES = ("first", "second")


def _folders(folder: str) -> dict[str, str]:
    """Everybody's cache in one folder; bytecode where Python puts it."""
    return {
        "PYTHONDONTWRITEBYTECODE": "",
        "GRAPHGRAD_CACHE_DIR": folder,
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@dataclass(frozen=True)
class Start:
    """Seconds of one process, and how many kernels it compiled (ours only).

    ``step`` is the first one, ``warm`` one that is not among the first.
    """

    imports: float
    model: float
    step: float
    warm: float
    kernels: int | None

    @property
    def start_up(self) -> float:
        """What the first step takes beyond what every step does."""
        return max(self.step - self.warm, 0.0)

    @property
    def in_all(self) -> float:
        """From the start of the process to the first result, the model's making left out."""
        return self.imports + self.step


@dataclass(frozen=True)
class Row:
    """One workload: the starts of each contestant, by process."""

    name: str
    starts: dict[str, dict[str, Start]]

    def ratio(self, process: str, peer: str, what: Callable[[Start], float]) -> float | None:
        """Ours over the peer's."""
        mine, other = (self.starts.get(label, {}).get(process) for label in ("compiled", peer))
        return what(mine) / what(other) if mine and other else None


@dataclass(frozen=True)
class Cold:
    """All starts; ``print`` them as one table a process."""

    threads: int
    rows: list[Row]
    absent: list[str]

    def __str__(self) -> str:
        parts = [part for process in _PROCESSES for part in self._part(process)]
        parts += [f"{name} is not installed: its column is left out." for name in self.absent]
        return "\n".join(parts)

    def _part(self, process: str) -> list[str]:
        labels = list(dict.fromkeys(label for row in self.rows for label in row.starts))
        heads = [process, *(f"{label} {what}" for label in labels for what in _COLUMNS)]
        pairs = [(label, what) for label in labels for what in _COLUMNS.values()]
        cells = [[row.name, *(_shown(row, k, process, f) for k, f in pairs)] for row in self.rows]
        lines = [*markdown([heads, *cells]), ""]
        for peer in labels[1:]:
            means = [f"{self._mean(process, peer, f):.2f} {what}" for what, f in _MEASURES.items()]
            lines.append(f"compiled ÷ {peer}, geometric mean: {', '.join(means)}.")
        compiled = sum(row.starts["compiled"][process].kernels or 0 for row in self.rows)
        return [*lines, f"Kernels graphgrad compiled: {compiled}.", ""]

    def _mean(self, process: str, peer: str, what: Callable[[Start], float]) -> float:
        ratios = [r for row in self.rows if (r := row.ratio(process, peer, what)) is not None]
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan

    def json(self) -> str:
        """Every number."""
        return json.dumps(asdict(self), indent=1)


_MEASURES: dict[str, Callable[[Start], float]] = {
    "step": lambda start: start.step,
    "with imports": lambda start: start.in_all,
}
_COLUMNS = {"start-up": lambda start: start.start_up, **_MEASURES}


def _shown(row: Row, label: str, process: str, what: Callable[[Start], float]) -> str:
    start = row.starts.get(label, {}).get(process)
    return duration(what(start) if start else None)


def run(
    only: Sequence[str] = (),
    peers: Sequence[str] = COMPILERS,
    threads: int = 0,
    group: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Cold:
    """Start every contestant twice for every workload; arguments as in ``bench.run``."""
    threads = threads or available()
    absent = missing(peers)
    labels = ["compiled", *(p for p in peers if p in COMPILERS and p not in absent)]
    _make_bytecode()
    rows = []
    for workload in choose(only, group):
        starts: dict[str, Any] = {}
        for label in labels:
            if label not in workload.without:
                progress(f"{workload.name}: {label}")
                starts[label] = _starts(workload.name, label, threads)
        rows.append(Row(workload.name, starts))
    return Cold(threads, rows, absent)


def _make_bytecode() -> None:
    """What was installed from an archive has it already."""
    for name in ("graphgrad", "graphgrad.kernels", "graphgrad.viz"):
        folder = os.path.dirname(str(importlib.import_module(name).__file__))
        compileall.compile_dir(folder, quiet=2)


def _starts(workload: str, label: str, threads: int) -> dict[str, Start]:
    with tempfile.TemporaryDirectory() as folder:
        options = {"workload": workload, "label": label, "threads": threads}
        return {
            process: Start(**in_process("first_step", _folders(folder), **options))
            for process in _PROCESSES
        }
