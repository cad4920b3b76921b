"""``graphgrad bench --device cuda``: correctness, then speed, on the GPU that is there.

    run = run(only=["lenet"], check=True)
    print(run)                       # the card, what was checked, the table
    run.json()

``check`` trains every model on the CPU and on the device and compares, before anything is timed.
Contestants are graphgrad as written and compiled, PyTorch both ways where it is installed with
CUDA; they take turns on one card, and are timed by events. On the emulator nothing is timed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphgrad
from graphgrad.bench import cuda_card, models
from graphgrad.bench.contestants import Contestant
from graphgrad.bench.cuda_card import seconds_of
from graphgrad.bench.cuda_report import Check, DeviceRow, Run
from graphgrad.bench.cuda_workloads import CHECKED, memory_rows, placed, product_rows, rows
from graphgrad.bench.workload import Step, Workload

PEERS = ("torch", "torch.compile")
ROUNDS = 9
BLOCK_SECONDS = 0.05
WARM_UP = 4
STEPS = 3
TOLERANCE = 1e-4


def run(
    only: Sequence[str] = (),
    peers: Sequence[str] = PEERS,
    check: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Run:
    """Compare and measure the workloads with one of ``only`` in their name, or all.

    Raises RuntimeError that says what is missing where there is neither GPU nor emulator,
    ValueError for a name that matches nothing.
    """
    graphgrad.cuda.init()
    emulated = graphgrad.config.cuda == "emulate"
    card = cuda_card.measured()
    progress(str(card))
    checks = []
    if check:
        with _small_models() if emulated else contextlib.nullcontext():
            checks = list(_checks(_chosen(_checked(emulated), only), progress))
    if emulated:
        return Run(card, checks, [], [])
    others, absent = _rivals(peers)
    measured = []
    for workload in _chosen(rows(), only):
        progress(workload.name)
        measured.append(_measure(placed(workload), others))
    return Run(card, checks, measured, absent)


def _chosen(workloads: Sequence[Workload], only: Sequence[str]) -> list[Workload]:
    chosen = [w for w in workloads if not only or any(o.lower() in w.name.lower() for o in only)]
    if not chosen:
        names = ", ".join(w.name for w in workloads)
        raise ValueError(f"no workload is called {' or '.join(only)!r}; there are: {names}")
    return chosen


# ---- correctness ---------------------------------------------------------------------------------


def _checked(emulated: bool) -> list[Workload]:
    """What is compared with the CPU: on the emulator, lines and products of moderate size."""
    if not emulated:
        return [*memory_rows(1 << 22), *product_rows(512), *CHECKED]
    small = [w for w in CHECKED if "ResNet" not in w.name and "4M" not in w.name]
    return [*memory_rows(1 << 16), *product_rows(128), *small]


@contextlib.contextmanager
def _small_models() -> Iterator[None]:
    """A GPT that an emulator can wait for."""
    small = {"GPT_LENGTH": 32, "GPT_WIDTH": 64, "GPT_BLOCKS": 2}
    before = {name: getattr(models, name) for name in small}
    vars(models).update(small)
    try:
        yield
    finally:
        vars(models).update(before)


def _checks(workloads: Sequence[Workload], progress: Callable[[str], None]) -> Iterator[Check]:
    """The first steps of every workload on the CPU and on the device, compiled."""
    for workload in workloads:
        progress(f"checking {workload.name}")
        yield checked(workload)


def checked(workload: Workload) -> Check:
    """How far the device's results are from the CPU's, relative to their largest."""
    try:
        here = workload.build(graphgrad, graphgrad.compile)
        there = placed(workload).build(graphgrad, graphgrad.compile)
        differences = [_difference(_values(there()), _values(here())) for _ in range(STEPS)]
    except Exception as error:
        # One workload that cannot run must not hide what the others do.
        return Check(workload.name, STEPS, float("nan"), False, f"{type(error).__name__}: {error}")
    worst = max(differences)
    return Check(workload.name, STEPS, worst, worst <= TOLERANCE)


def _difference(value: np.ndarray, right: np.ndarray) -> float:
    scale = float(np.abs(right).max(initial=0)) or 1.0
    difference = float(np.abs(value - right).max(initial=0)) / scale
    return difference if np.isfinite(value).all() else float("inf")


def _values(result: Any) -> np.ndarray:
    return np.array(result.detach().cpu().numpy(), np.float64)


# ---- speed ---------------------------------------------------------------------------------------


def _rivals(names: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """PyTorch both ways, as far as it is installed for CUDA, and what is not."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"unknown peer {name!r}; on a GPU peers are {', '.join(PEERS)}")
    if not names or not _has_torch():
        return [], list(names)
    torch = importlib.import_module("torch")

    def compiled(workload: Workload) -> Step:
        torch.compiler.reset()
        return workload.build(torch, torch.compile)

    ways: dict[str, Callable[[Workload], Step]] = {
        "torch": lambda workload: workload.build(torch, lambda function: function),
        "torch.compile": compiled,
    }
    return [Contestant(name, ways[name]) for name in names], []


def _has_torch() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


def _ours(workload: Workload) -> list[Contestant]:
    decorators: dict[str, Callable[[Any], Any]] = {
        "written": lambda function: function,
        "compiled": graphgrad.compile,
    }
    return [
        Contestant(way, lambda w, way=way: w.build(graphgrad, decorators[way]))  # type: ignore[misc]
        for way in workload.ways
    ]


def _measure(workload: Workload, others: Sequence[Contestant]) -> DeviceRow:
    """Everybody's first steps compared, then blocks in turns."""
    prepared = {c.label: c.prepare(workload) for c in (*_ours(workload), *others)}
    steps = {label: step for label, step in prepared.items() if step}
    apart = _apart(workload, steps)
    counts = {label: _block_length(step) for label, step in steps.items()}
    times: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(ROUNDS):
        for label, step in steps.items():
            times[label].append(seconds_of(step, counts[label]))
    medians = {label: statistics.median(blocks) for label, blocks in times.items()}
    best = {label: min(blocks) for label, blocks in times.items()}
    nbytes = getattr(workload, "nbytes", 0)
    return DeviceRow(workload.name, medians, best, workload.flops, nbytes, apart)


def _apart(workload: Workload, steps: dict[str, Step]) -> dict[str, float]:
    """How far everybody's results are from the compiled step's, over some steps."""
    worst = dict.fromkeys(steps, 0.0)
    for _ in range(STEPS):
        values = {label: _values(step()) for label, step in steps.items()}
        for label, value in values.items():
            worst[label] = max(worst[label], _difference(value, values["compiled"]))
    return worst


def _block_length(step: Step) -> int:
    """How many steps fill a block, once everything is warm."""
    for _ in range(WARM_UP):
        step()
    graphgrad.cuda.synchronize()
    count = 1
    while (seconds := seconds_of(step, count) * count) < BLOCK_SECONDS / 2:
        count *= 2
    return max(1, round(count * BLOCK_SECONDS / seconds))
