"""Runs suites entry by entry, over several processes, and counts."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from graphgrad.config import config
from tests.conformance import modules, operators, optimizers
from tests.conformance.operators import Case
from tests.conformance.values import Uncarried, at

# A sample's verdicts; "uncarried" says nothing about an engine, so an entry may have such samples.
PASSED, MISSING, FAILED, UNCARRIED = "passed", "missing", "failed", "uncarried"


@dataclasses.dataclass(frozen=True)
class Suite:
    """A row of the table: what is run, how, and what is counted."""

    title: str
    names: Callable[[torch.dtype], list[str]]
    cases: Callable[[str, torch.dtype], Iterator[Case]]
    counts: str  # entries with every sample right, or cases
    tier: str = "interpret"


SUITES = {
    "ops": Suite("operators, outputs and gradients", operators.names, operators.samples, "entries"),
    "order2": Suite(
        "operators, gradients of gradients",
        operators.twice_differentiable,
        partial(operators.samples, order=2),
        "entries",
    ),
    "interpreted": Suite(
        "operators, one sample each",
        operators.names,
        partial(operators.samples, limit=1),
        "entries",
    ),
    "compiled": Suite(
        "the same, `compiled` tier",
        operators.names,
        partial(operators.samples, limit=1),
        "entries",
        "compiled",
    ),
    "errors": Suite("inputs that must raise", operators.names, operators.mistakes, "cases"),
    "modules": Suite("modules", modules.names, modules.samples, "cases"),
    "some_modules": Suite(
        "modules, five cases each", modules.names, partial(modules.samples, limit=5), "cases"
    ),
    "optim": Suite("optimizers", optimizers.names, optimizers.samples, "cases"),
}


@dataclasses.dataclass
class Entry:
    """What came out of an entry's cases: how many of each verdict, and the first thing wrong."""

    suite: str
    name: str
    verdicts: dict[str, int]
    wrong: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing was wrong or missing, and something was compared."""
        bad = self.verdicts.get(FAILED, 0) + self.verdicts.get(MISSING, 0)
        return not bad and PASSED in self.verdicts


def run(
    suites: Sequence[str],
    only: Sequence[str] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Iterator[Entry]:
    """Every entry of some suites (whose name contains one of `only`), as they finish."""
    tasks = [
        (key, name, device, dtype)
        for key in suites
        for name in SUITES[key].names(dtype)
        if not only or any(part in name for part in only)
    ]
    workers = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(_entry, tasks, chunksize=4)


def entry(suite: str, name: str, device: str = "cpu", dtype: torch.dtype = torch.float64) -> Entry:
    """One entry of a suite, in this process, our tensors on a device."""
    verdicts: collections.Counter[str] = collections.Counter()
    wrong = ""
    with config.scope(tier=SUITES[suite].tier), warnings.catch_warnings(), at(device):
        warnings.simplefilter("ignore")
        for label, case in SUITES[suite].cases(name, dtype):
            verdict, why = _verdict(case)
            verdicts[verdict] += 1
            wrong = wrong or (why and f"{label}: {why}")
    return Entry(suite, name, dict(verdicts), wrong)


def _entry(task: tuple[str, str, str, torch.dtype]) -> Entry:
    torch.set_num_threads(1)
    return entry(*task)


def _verdict(case: Callable[[], None]) -> tuple[str, str]:
    try:
        case()
    except NotImplementedError as error:
        return MISSING, _line(error)
    except Uncarried:
        return UNCARRIED, ""
    except Exception as error:  # whatever an engine may raise is a finding, and is printed
        return FAILED, f"{type(error).__name__}: {_line(error)}"
    return PASSED, ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def tallied(suite: Suite, entries: Sequence[Entry]) -> tuple[int, int]:
    """How many are right, of how many."""
    if suite.counts == "entries":
        return sum(e.right for e in entries), len(entries)
    passed = sum(e.verdicts.get(PASSED, 0) for e in entries)
    return passed, sum(n for e in entries for v, n in e.verdicts.items() if v != UNCARRIED)
