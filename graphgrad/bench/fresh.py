"""What needs a process of its own: ``in_process(task, ...)`` runs it there and returns its numbers.

The tasks are functions of this module. A child's clock starts when its parent starts it; whatever
it imports, whenever it does, is told apart from the rest by ``ImportClock``.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import graphgrad
from graphgrad.bench.contestants import Compiler, Contestant, cores, ours, rivals
from graphgrad.bench.workload import Step, Workload
from graphgrad.bench.workloads import GROUPS
from graphgrad.config import config

# NumPy is everybody's, so its time is too; what is imported next is ours alone.
_START = (
    "import time, numpy; at = time.monotonic(); from graphgrad.bench import fresh; fresh.main(at)"
)
WAYS = ("written", "compiled")
TINY = "own layer, Adam"


def in_process(task: str, environment: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Run ``task(**options)`` in a new process; raises RuntimeError with its last words."""
    request = json.dumps({"task": task, "began": time.monotonic(), "options": options})
    done = subprocess.run(
        [sys.executable, "-c", _START, request],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{task} of {options} failed: {last[0]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(ready: float) -> None:
    """The child: NumPy was imported at ``ready``, graphgrad's names just now."""
    request = json.loads(sys.argv[1])
    start = {"python": ready - request["began"], "graphgrad": time.monotonic() - ready}
    print(json.dumps(TASKS[request["task"]](start, **request["options"])))


class ImportClock:
    """While open, adds up the time that imports take, the outermost of nested ones."""

    def __enter__(self) -> ImportClock:
        self.seconds, self._inside = 0.0, False
        self._before = builtins.__import__, importlib.import_module
        builtins.__import__ = self._timed(builtins.__import__)
        importlib.import_module = self._timed(importlib.import_module)  # type: ignore[assignment]
        return self

    def __exit__(self, *reason: object) -> None:
        builtins.__import__, importlib.import_module = self._before  # type: ignore[assignment]

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside, start = True, time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.monotonic() - start
                self._inside = False

        return timed


def first_step(start: dict[str, float], workload: str, label: str, threads: int) -> dict[str, Any]:
    """Seconds of imports, of making the model, of the first step, which compiles, and of others."""
    own = label in WAYS
    with cores(threads), ImportClock() as clock:
        began = time.monotonic()
        contestant = _contestant(label, threads)
        step = _prepared(contestant, workload)
        imported, made = clock.seconds, time.monotonic()
        with config.scope(tier="compiled"):
            step()
            done, late = time.monotonic(), clock.seconds - imported
            warm = _usual(step)
    # A peer does not need graphgrad, only this module does.
    imports = start["python"] + (start["graphgrad"] if own else 0.0) + imported + late
    result = {"imports": imports, "model": made - began - imported, "step": done - made - late}
    return result | {"warm": warm, "kernels": _compiled_kernels() if own else None}


def _usual(step: Step) -> float:
    """Seconds that a step takes once it is no longer among the first ones."""
    taken = []
    for _ in range(5):
        began = time.monotonic()
        step()
        taken.append(time.monotonic() - began)
    return min(taken[2:])


def step_memory(start: dict[str, float], workload: str, label: str, threads: int) -> dict[str, Any]:
    """Resident bytes of the process that has imported, that has trained a tiny model, at a peak.

    The tiny model makes everybody import and load the rest of what they need. ``planned`` is what
    graphgrad meant to need.
    """
    compiler = Compiler()
    with cores(threads):
        contestant = _contestant(label, threads)
        if label == "compiled":
            contestant = Contestant(label, lambda w: w.build(graphgrad, compiler))
        if label in WAYS:
            importlib.import_module("graphgrad.kernels.build")
        imported = _resident("VmRSS")
        _warmed(contestant, TINY)
        compiler.functions.clear()
        _trim()
        idle = _resident("VmRSS")
        step = _warmed(contestant, workload)
        _trim()
        with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
            refs.write("5")  # the peak starts again at what is resident now
        for _ in range(2):
            step()
        peak = _resident("VmHWM")
    usages = [program.explain().memory for program in compiler.programs()]
    planned = sum(usage.inputs + usage.planned for usage in usages)
    return {"imported": imported, "idle": idle, "peak": peak, "planned": planned}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "first_step": first_step,
    "step_memory": step_memory,
}


def _contestant(label: str, threads: int) -> Contestant:
    found = ours([label]) if label in WAYS else rivals([label], threads)[0]
    return found[0]


def _prepared(contestant: Contestant, name: str) -> Step:
    step = contestant.prepare(named(name))
    assert step is not None, f"{contestant.label} has no program for {name}"
    return step


def _warmed(contestant: Contestant, name: str) -> Step:
    """A step that ran often enough to do now what it will always do."""
    step = _prepared(contestant, name)
    for _ in range(config.promote_after + 2):
        step()
    return step


def named(name: str) -> Workload:
    """The workload of this name, of any group."""
    for workload in (w for group in GROUPS.values() for w in group):
        if workload.name == name:
            return workload
    raise ValueError(f"no workload is called {name!r}")


def _compiled_kernels() -> int:
    from graphgrad.kernels.cache import stats

    return stats.compiled


def _trim() -> None:
    """Give what building left behind back to the system: it is no step's either."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not everybody's malloc keeps what was freed
        ctypes.CDLL(None).malloc_trim(0)


def _resident(key: str) -> int:
    """A line of Linux's account of this process's memory, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(key))
