"""Who takes part: graphgrad as written and compiled, PyTorch both ways, and JAX where installed.

A contestant prepares a workload: it returns the step to time. JAX has programs of its own
(``jax_workloads.py``), everybody else runs the same lines.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import graphgrad
from graphgrad.bench.workload import Step, Workload
from graphgrad.config import config

# The module each peer needs.
PEERS = {"torch": "torch", "torch.compile": "torch", "jax": "jax"}


@dataclass(frozen=True)
class Contestant:
    """A label and how it prepares a workload; None says that it has no program for it."""

    label: str
    prepare: Callable[[Workload], Step | None]


class Compiler:
    """``graphgrad.compile`` that remembers what it made."""

    def __init__(self) -> None:
        self.functions: list[Any] = []

    def __call__(self, function: Any) -> Any:
        self.functions.append(graphgrad.compile(function))
        return self.functions[-1]

    def programs(self) -> list[Any]:
        """The program of each function's busiest trace."""
        traces = [[e for group in f.entries.values() for e in group] for f in self.functions]
        busiest = [max(entries, key=lambda e: e.calls) for entries in traces if entries]
        return [entry.executable.program for entry in busiest]


def ours(ways: Sequence[str]) -> list[Contestant]:
    """graphgrad, in each of the ``ways``."""
    decorators = {"written": _as_written, "compiled": graphgrad.compile}
    return [_same_lines(way, graphgrad, decorators[way]) for way in ways]


def rivals(names: Sequence[str], threads: int) -> tuple[list[Contestant], list[str]]:
    """The peers of these names, each with ``threads`` threads, and the names of absent ones.

    Raises ValueError for a name that is none.
    """
    absent = missing(names)
    makers = {"torch": _torch, "torch.compile": _torch_compile, "jax": _jax}
    return [makers[name](threads) for name in names if name not in absent], absent


def missing(names: Sequence[str]) -> list[str]:
    """Those of the peers that are not installed; ValueError for a name that is no peer."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"unknown peer {name!r}; peers are {', '.join(PEERS)}")
    return [name for name in names if not importlib.util.find_spec(PEERS[name])]


def available() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Inside, the process has ``count`` cores and graphgrad ``count`` threads.

    XLA has no option for its threads: it starts as many as there are cores when it first runs.
    """
    with contextlib.ExitStack() as stack:
        if hasattr(os, "sched_setaffinity"):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(before)[-count:])
            stack.callback(os.sched_setaffinity, 0, before)
        stack.enter_context(config.scope(threads=count))
        yield


def _same_lines(label: str, namespace: Any, decorator: Callable[[Any], Any]) -> Contestant:
    return Contestant(label, lambda workload: workload.build(namespace, decorator))


def _as_written(function: Any) -> Any:
    return function


def _torch(threads: int) -> Contestant:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    return _same_lines("torch", torch, _as_written)


def _torch_compile(threads: int) -> Contestant:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)

    def prepare(workload: Workload) -> Step:
        # Steps share their code: without this, one workload's versions count against the next's.
        torch.compiler.reset()
        return workload.build(torch, torch.compile)

    return Contestant("torch.compile", prepare)


def _jax(threads: int) -> Contestant:
    importlib.import_module("graphgrad.bench.jax_training").start(threads)
    programs = importlib.import_module("graphgrad.bench.jax_workloads")

    def prepare(workload: Workload) -> Step | None:
        build = programs.PROGRAMS.get(workload.name)
        return build and build()

    return Contestant("jax", prepare)
