"""What a workload is, and what all share: equal data, equal parameters, the tutorials' step.

A builder receives a ``torch``-like namespace and a decorator (``compile``, or the identity) and
returns the step to time; what the step returns is compared between contestants first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], Any]
Builder = Callable[[Any, Callable[[Any], Any]], Step]


@dataclass(frozen=True)
class Workload:
    """One row.

    ways     "written" runs the lines as they are, "compiled" under the namespace's compile
    rtol     how far results of two contestants may be apart
    flops    multiplications and additions of one step, where these are all it does
    without  labels of peers that cannot run it
    """

    name: str
    build: Builder
    ways: tuple[str, ...] = ("written", "compiled")
    rtol: float = 1e-3
    flops: float = 0.0
    without: tuple[str, ...] = ()


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """The same standard-normal float32 arrays for every contestant."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def labels(count: int, classes: int) -> np.ndarray:
    """The same class numbers for every contestant."""
    return np.random.default_rng(2).integers(0, classes, count)


def seeded(t: Any, module: Any) -> Any:
    """A module whose parameters are equal for every contestant: matrices uniform in ±1/√fan_in.

    Vectors are near what layers start with: norms' weights near 1, everything else near 0.
    """
    rng = np.random.default_rng(1)
    with t.no_grad():
        for name, parameter in module.named_parameters():
            matrix = len(parameter.shape) > 1
            bound = 1 / math.sqrt(max(math.prod(parameter.shape[1:]), 1)) if matrix else 0.1
            values = rng.uniform(-bound, bound, tuple(parameter.shape))
            if not matrix and "bias" not in name:
                values += 1
            parameter.copy_(t.from_numpy(values.astype(np.float32)))
    return module


def trainer(optimizer: Any, loss_of: Callable[[], Any], compile: Callable[[Any], Any]) -> Step:
    """The step of every tutorial."""

    @compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def classifier(t: Any, net: Any, optimizer: Any, x: Any, y: Any, compile: Any) -> Step:
    """A training step by cross entropy."""
    return trainer(optimizer, lambda: t.nn.functional.cross_entropy(net(x), y), compile)
