"""Pages to look at: workloads' train steps and awkward programs, each written once."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from typing import Any

import graphgrad as gg
from graphgrad import nn
from graphgrad.bench.contestants import Compiler
from graphgrad.bench.workloads import MAIN
from graphgrad.exploring import explore

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="graphgrad-pages-"))
HOSTILE = "</script><script>hacked = 1</script>"


@functools.cache
def workload(name: str) -> Any:
    """The compiled step of a workload, traced and not run."""
    (found,) = (w for w in MAIN if w.name.startswith(name))
    compiler = Compiler()
    found.build(gg, compiler)
    (step,) = compiler.functions
    step.trace()
    return step


@functools.cache
def page(name: str) -> pathlib.Path:
    """The page of a workload, or of a function below."""
    path = FOLDER / f"{name}.html"
    return explore(OTHERS[name]() if name in OTHERS else workload(name), path)


def hostile() -> Any:
    """A module whose name would end the element that it stands in, and more."""
    net = nn.ModuleDict({HOSTILE: nn.Linear(4, 3), "a\"quoted'one": nn.ReLU(), "日本": nn.Tanh()})

    @gg.compile
    def step(x: Any) -> Any:
        text = "</script><script>hacked = 2</script>"  # in the source line, too
        for layer in net.values():
            x = layer(x) + len(text[:0])
        return x.exp()  # "</script>" <!-- &amp; --> hacked = 3

    step(gg.ones(2, 4))
    return step


def empty() -> Any:
    """A program without operations."""
    step = gg.compile(lambda x: x)
    step.trace(gg.ones(3))
    return step


def long() -> Any:
    """20,000 operations in no module."""

    @gg.compile
    def step(x: Any) -> Any:
        for i in range(10_000):
            x = (x + float(i % 7 + 1)).sin()
        return x

    step.trace(gg.ones(4, 4))
    return step


OTHERS = {"hostile": hostile, "empty": empty, "long": long}
