"""Contestants in turns: every one runs a short block, then the next, for several rounds."""

from __future__ import annotations

import importlib
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphgrad
from graphgrad.bench.report import Row, Table
from graphgrad.bench.workloads import WORKLOADS, Step, Workload
from graphgrad.config import config

PEERS = ("torch",)
_ROUNDS = 9
_BLOCK_SECONDS = 0.08
# Compiling a program in the block that is timed would make it look long and its steps few.
_WARM_UP = 8
_CHECKED_STEPS = 3


@dataclass(frozen=True)
class Contestant:
    """A namespace and how it runs a workload."""

    label: str
    namespace: Any
    compiled: bool = False

    def prepare(self, workload: Workload) -> Step:
        compile = self.namespace.compile if self.compiled else lambda function: function
        return workload.build(self.namespace, compile)


def run(
    only: str = "",
    peers: Sequence[str] = PEERS,
    threads: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Table:
    """Measure the workloads whose name contains ``only``; returns a printable Table.

    ``threads`` (0: every core) goes to all contestants alike. Peers that are not installed
    are left out and named in the table. Raises ValueError for an unknown peer or a name that
    matches nothing, AssertionError when contestants disagree on a result.
    """
    chosen = [w for w in WORKLOADS if only.lower() in w.name.lower()]
    if not chosen:
        names = ", ".join(w.name for w in WORKLOADS)
        raise ValueError(f"no workload is called {only!r}; there are: {names}")
    threads = threads or len(os.sched_getaffinity(0))
    rivals, absent = _rivals(peers)
    table = Table(threads, [], absent)
    for workload in chosen:
        progress(workload.name)
        count = workload.threads or threads
        for rival in rivals:
            rival.namespace.set_num_threads(count)
        with config.scope(threads=count):
            table.rows.append(_measure(workload, rivals, count))
    return table


def _core_peak() -> float:
    """What the multiply-add units of one core can do, in operations a second."""
    from graphgrad.kernels.contract.peak import measure_fma_peak

    return measure_fma_peak("float32")


def _rivals(peers: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    rivals, absent = [], []
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"unknown peer {name!r}; peers are {', '.join(PEERS)}")
        if importlib.util.find_spec(name):
            rivals.append(Contestant(name, importlib.import_module(name)))
        else:
            absent.append(name)
    return rivals, absent


def _measure(workload: Workload, rivals: Sequence[Contestant], threads: int) -> Row:
    ours = [Contestant(way, graphgrad, way == "compiled") for way in workload.ways]
    contestants = [*ours, *rivals] if workload.peers else ours
    steps = {c.label: c.prepare(workload) for c in contestants}
    _check(workload, steps)
    counts = {label: _block_length(step) for label, step in steps.items()}
    times: dict[str, list[float]] = {label: [] for label in steps}
    peak = 0.0
    for _ in range(_ROUNDS):
        for label, step in steps.items():
            times[label].append(_block(step, counts[label]))
        if workload.flops:
            # In turns too: a shared machine's clock changes within seconds.
            peak = max(peak, threads * _core_peak())
    medians = {label: statistics.median(blocks) for label, blocks in times.items()}
    best = {label: min(blocks) for label, blocks in times.items()}
    return Row(workload.name, medians, best, workload.flops, peak)


def _check(workload: Workload, steps: dict[str, Step]) -> None:
    """The first steps must give everybody the same values."""
    for number in range(_CHECKED_STEPS):
        values = {label: step().detach().numpy().copy() for label, step in steps.items()}
        first = next(iter(values))
        for label, value in values.items():
            np.testing.assert_allclose(
                value,
                values[first],
                rtol=workload.rtol,
                atol=workload.rtol * float(np.abs(values[first]).max()),
                err_msg=f"{workload.name}: {label} and {first} differ at step {number}",
            )


def _block_length(step: Step) -> int:
    """How many steps fill a block, once everything is warm."""
    for _ in range(_WARM_UP):
        step()
    count = 1
    while (seconds := _block(step, count) * count) < _BLOCK_SECONDS / 2:
        count *= 2
    return max(1, round(count * _BLOCK_SECONDS / seconds))


def _block(step: Step, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count
