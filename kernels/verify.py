"""Kernels against the interpreter, region by region: who is the first to disagree?

    verify = Verifier(plan, planner)
    verify(arrays)              # VerificationError names op, line and difference

Every region is interpreted on the values the kernels computed before it, so rounding does not pile
up and a difference belongs to the region it is found in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad.errors import VerificationError
from graphgrad.ir import Graph, Node
from graphgrad.regions import Plan, Region

from .build import build
from .draft import Planner
from .host import interpret_region, literal
from .target import CPU, Target

# Largest difference allowed, relative to the largest magnitude of the value.
TOLERANCE = {
    "float16": 1e-2,
    "bfloat16": 8e-2,
    "float32": 2e-4,
    "float64": 1e-9,
    "complex64": 2e-4,
    "complex128": 1e-9,
}


class Verifier:
    """A plan's kernels with every region's outputs kept."""

    def __init__(self, plan: Plan, planner: Planner, target: Target = CPU) -> None:
        self.plan, self.target = plan, target
        self.values = [y for region in plan for y in region.outputs]
        whole = Plan(Graph(plan.graph.inputs, self.values), plan.regions)
        self.compiled = build(whole, planner, target=target)

    def __call__(self, arrays: Sequence[np.ndarray]) -> None:
        """Run on copies of ``arrays`` and compare each value with its meaning."""
        results = self.compiled([self.target.placed(x.copy()) for x in arrays])
        if self.target is not CPU:
            results = [y.host() for y in results]
        nodes = (*self.plan.graph.inputs, *self.values)
        known = dict(zip(nodes, (*arrays, *results), strict=True))
        for region in self.plan:
            operands = [known[x] if x in known else literal(x) for x in region.inputs]
            expected = interpret_region(region, operands)
            for y, right in zip(region.outputs, expected, strict=True):
                _compare(region, y, known[y], right)


def _compare(region: Region, y: Node, actual: Any, expected: Any) -> None:
    with np.errstate(all="ignore"):
        same = (actual == expected) | ((actual != actual) & (expected != expected))
        if np.all(same):
            return
        difference = np.where(same, 0, np.abs(np.subtract(actual, expected, dtype=_wide(y))))
        finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max(initial=0)) or 1.0
    worst = float(np.max(difference)) if not np.isnan(difference).any() else float("nan")
    if worst <= TOLERANCE.get(y.dtype.name, 0) * scale:
        return
    nodes = ", ".join(x.op.name for x in region.nodes)
    raise VerificationError(
        f"a kernel disagrees with the interpreter: {y!r}\n"
        f'  at: "{y.origin.file}", line {y.origin.line}\n'
        f"  region: {nodes}\n"
        f"  largest difference: {worst:g} where values reach {scale:g}, "
        f"in {int(np.sum(~same))} of {same.size} elements"
    )


def _wide(y: Node) -> type:
    return np.complex128 if y.dtype.is_complex else np.float64
