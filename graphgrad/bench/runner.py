"""Contestants in turns: every one runs a short block, then the next, for several rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad.bench.contestants import PEERS, Contestant, available, cores, ours, rivals
from graphgrad.bench.report import Row, Table
from graphgrad.bench.workload import Step, Workload
from graphgrad.bench.workloads import GROUPS
from graphgrad.config import config
from graphgrad.profiler.machine import core_flops

_ROUNDS = 9
_BLOCK_SECONDS = 0.08
# Compiling a program in the block that is timed would make it look long and its steps few: what is
# written is compiled only after config.promote_after runs.
_WARM_UP = 8
_WARM_UP_SECONDS = 1.0
_CHECKED_STEPS = 3


def run(
    only: Sequence[str] = (),
    peers: Sequence[str] = tuple(PEERS),
    threads: int = 0,
    group: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Table:
    """Measure a group of workloads, or those with one of ``only`` in their name.

    ``threads`` (0: every core) goes to all contestants alike. Peers that are not installed
    are left out and named in the table. Raises ValueError for an unknown peer or group or a name
    that matches nothing, AssertionError when contestants disagree on a result.
    """
    chosen = choose(only, group)
    threads = threads or available()
    with cores(threads):
        others, absent = rivals(peers, threads)
        table = Table(threads, [], absent)
        for workload in chosen:
            progress(workload.name)
            runners = [c for c in others if c.label not in workload.without]
            table.rows.append(_measure(workload, [*ours(workload.ways), *runners], threads))
    return table


def choose(only: Sequence[str], group: str) -> list[Workload]:
    """The workloads of a group (default: the main one, or any if there are names to look for)."""
    if group and group not in GROUPS:
        raise ValueError(f"unknown group {group!r}; groups are {', '.join(GROUPS)}")
    groups = [group] if group else GROUPS if only else ["main"]
    found = [w for name in groups for w in GROUPS[name]]
    chosen = [w for w in found if not only or any(o.lower() in w.name.lower() for o in only)]
    if not chosen:
        names = ", ".join(w.name for w in found)
        raise ValueError(f"no workload is called {' or '.join(only)!r}; there are: {names}")
    return chosen


def _measure(workload: Workload, contestants: Sequence[Contestant], threads: int) -> Row:
    prepared = {c.label: c.prepare(workload) for c in contestants}
    steps = {label: step for label, step in prepared.items() if step}
    _check(workload, steps)
    counts = {label: block_length(step) for label, step in steps.items()}
    times: dict[str, list[float]] = {label: [] for label in steps}
    peak = 0.0
    for _ in range(_ROUNDS):
        for label, step in steps.items():
            times[label].append(block(step, counts[label]))
        if workload.flops:
            # In turns too: a shared machine's clock changes within seconds.
            peak = max(peak, threads * core_flops())
    medians = {label: statistics.median(blocks) for label, blocks in times.items()}
    best = {label: min(blocks) for label, blocks in times.items()}
    return Row(workload.name, medians, best, workload.flops, peak)


def _check(workload: Workload, steps: dict[str, Step]) -> None:
    """The first steps must give everybody the same values."""
    for number in range(_CHECKED_STEPS):
        values = {label: _values(step()) for label, step in steps.items()}
        first = next(iter(values))
        for label, value in values.items():
            np.testing.assert_allclose(
                value,
                values[first],
                rtol=workload.rtol,
                atol=workload.rtol * float(np.abs(values[first]).max()),
                err_msg=f"{workload.name}: {label} and {first} differ at step {number}",
            )


def _values(result: Any) -> np.ndarray:
    """A copy of what a step returned: a tensor, or an array."""
    return np.array(result.detach().numpy() if hasattr(result, "detach") else result)


def block_length(step: Step) -> int:
    """How many steps fill a block, once everything is warm."""
    start = time.perf_counter()
    for done in range(_WARM_UP):
        if done > config.promote_after and time.perf_counter() - start > _WARM_UP_SECONDS:
            break
        step()
    count = 1
    while (seconds := block(step, count) * count) < _BLOCK_SECONDS / 2:
        count *= 2
    return max(1, round(count * _BLOCK_SECONDS / seconds))


def block(step: Step, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count
