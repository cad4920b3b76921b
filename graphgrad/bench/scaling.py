"""``graphgrad bench --scaling``: what a second thread brings.

    print(run(["gpt", "resnet"], threads=2))

One process; one thread and several take turns.
"""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from graphgrad.bench.contestants import available, cores, missing, ours, rivals
from graphgrad.bench.memory import DEFAULT
from graphgrad.bench.runner import block, block_length, choose
from graphgrad.bench.workload import Workload
from graphgrad.config import config
from graphgrad.profiler.tables import duration, markdown

_ROUNDS = 7


@dataclass(frozen=True)
class Row:
    """One workload: medians of each contestant's step, by number of threads."""

    name: str
    seconds: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Scaling:
    """All rows; ``print`` them as Markdown."""

    threads: int
    rows: list[Row]

    def __str__(self) -> str:
        labels = list(dict.fromkeys(label for row in self.rows for label in row.seconds))
        counts = (1, self.threads)
        heads = [""]
        for label in labels:
            heads += [*(f"{label}, {n}" for n in counts), "faster"]
        cells = []
        for row in self.rows:
            line = [row.name]
            for label in labels:
                one, several = (row.seconds[label][n] for n in counts)
                line += [duration(one), duration(several), f"{one / several:.2f}×"]
            cells.append(line)
        return "\n".join([*markdown([heads, *cells]), "", f"1 thread and {self.threads}."])

    def json(self) -> str:
        """Every number."""
        return json.dumps(asdict(self), indent=1)


def run(
    only: Sequence[str] = (),
    threads: int = 0,
    group: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Scaling:
    """Measure some workloads (none named: those of ``--memory``), compiled and in PyTorch."""
    threads = threads or available()
    if threads < 2:
        raise ValueError("one thread cannot be compared with itself: --threads 2 or more")
    found = Scaling(threads, [])
    with cores(threads):
        for workload in choose(only or DEFAULT, group):
            progress(workload.name)
            found.rows.append(_measure(workload, threads))
    return found


def _measure(workload: Workload, threads: int) -> Row:
    contestants = [
        *ours(["compiled"]),
        *rivals([] if missing(["torch"]) else ["torch"], threads)[0],
    ]
    steps = {c.label: step for c in contestants if (step := c.prepare(workload))}
    counts = {label: block_length(step) for label, step in steps.items()}
    times: dict[str, dict[int, list[float]]] = {k: {1: [], threads: []} for k in steps}
    for _ in range(_ROUNDS):
        for label, step in steps.items():
            for number, blocks in times[label].items():
                _use_threads(label, number)
                step()
                blocks.append(block(step, counts[label]))
    medians = {k: {n: statistics.median(b) for n, b in rows.items()} for k, rows in times.items()}
    return Row(workload.name, medians)


def _use_threads(label: str, number: int) -> None:
    if label == "torch":
        importlib.import_module("torch").set_num_threads(number)
    else:
        config.threads = number
