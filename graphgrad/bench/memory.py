"""``graphgrad bench --memory``: how far a training step's peak lies above the idle process.

    print(run(["gpt", "resnet"], threads=1))

Every contestant runs in a process of its own, on Linux. What is planned is what graphgrad's program
needs, known before it runs: its inputs (parameters, optimizer state, data), outputs and arena.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphgrad.bench.contestants import available, missing
from graphgrad.bench.fresh import in_process
from graphgrad.bench.runner import choose
from graphgrad.profiler.tables import markdown

# The models that memory is asked of, where nothing is asked for.
DEFAULT = ("GPT", "ResNet")


@dataclass(frozen=True)
class Row:
    """One workload: bytes of each contestant's peak above its idle process, and those planned.

    ``growth`` is counted from a process that has loaded everything and trained a tiny model,
    ``since_import`` from one that has only imported, and imports the rest while it trains.
    """

    name: str
    growth: dict[str, int]
    since_import: dict[str, int]
    planned: int


@dataclass(frozen=True)
class Memory:
    """All rows; ``print`` them as Markdown."""

    threads: int
    rows: list[Row]
    absent: list[str]

    def __str__(self) -> str:
        labels = list(dict.fromkeys(label for row in self.rows for label in row.growth))
        heads = ["peak of a step", *labels, "planned", "compiled/planned"]
        heads += [f"{label} since import" for label in labels]
        cells = [
            [
                row.name,
                *(_megabytes(row.growth[label]) for label in labels),
                _megabytes(row.planned),
                f"{row.growth['compiled'] / row.planned:.2f}",
                *(_megabytes(row.since_import[label]) for label in labels),
            ]
            for row in self.rows
        ]
        lines = [
            "Growth over a process that has loaded everything and trained a tiny model;",
            "since import: over one that has only imported, and loads the rest on the way.",
            *(f"{name} is not installed: its column is left out." for name in self.absent),
        ]
        return "\n".join([*markdown([heads, *cells]), "", *lines])

    def json(self) -> str:
        """Every number."""
        return json.dumps(asdict(self), indent=1)


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


def run(
    only: Sequence[str] = (),
    threads: int = 0,
    group: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Memory:
    """Measure some workloads (none named: ``DEFAULT``) in fresh processes."""
    threads, absent = threads or available(), missing(["torch"])
    rows = []
    for workload in choose(only or DEFAULT, group):
        results = {}
        for label in ("compiled", *(["torch"] if not absent else [])):
            progress(f"{workload.name}: {label}")
            options: dict[str, Any] = {
                "workload": workload.name,
                "label": label,
                "threads": threads,
            }
            if label == "compiled":
                # A compiler's own memory is no step's: the second process finds its kernels made.
                in_process("step_memory", **options)
            results[label] = in_process("step_memory", **options)
        growth = {label: r["peak"] - r["idle"] for label, r in results.items()}
        since = {label: r["peak"] - r["imported"] for label, r in results.items()}
        rows.append(Row(workload.name, growth, since, results["compiled"]["planned"]))
    return Memory(threads, rows, absent)
