"""Values that are computed again wherever they are read, rather than written to memory.

    inlined = Inlined(graph, memory)
    x in inlined

These are literals and counters; arithmetic on 0-d values; cheap functions of positions alone, as
masks are; and cheap elementwise values of which every reader takes another slice (LSTM gates).
"""

from __future__ import annotations

from collections.abc import Container

from graphgrad.choices import settle
from graphgrad.ir import Graph, Node
from graphgrad.views import VIEWS, path

CHEAP = frozenset(
    "neg abs sign add sub mul maximum minimum eq ne lt le gt ge where cast bitcast identity "
    "logical_not bitwise_not bitwise_and bitwise_or bitwise_xor shift_left shift_right".split()
)
PICKS = frozenset({"slice", "flip", "window"})

MAX_SCALAR = 16  # operations on 0-d values that are repeated in every reader
MAX_MASK = 6
MAX_PICKED = 6


def is_complex(x: Node) -> bool:
    """Whether ``x`` computes with complex numbers, for which there are no kernels: NumPy does."""
    if x.op.results or x.op.kind == "source":
        return False
    return x.dtype.is_complex or any(not i.op.results and i.dtype.is_complex for i in x.inputs)


class Inlined:
    """The set of nodes to recompute; ``cost`` counts the operations repeated for each."""

    def __init__(self, graph: Graph, memory: Container[Node]) -> None:
        self.memory, self.outputs = memory, frozenset(graph.outputs)
        self.users = graph.users()
        self.cost: dict[Node, int] = {}
        for x in graph.nodes:
            if x.op.name in ("scalar", "iota"):
                self.cost[x] = 0
            elif x.op.kind == "elementwise" and x not in self.outputs and not is_complex(x):
                cost = self._cost(x)
                if cost is not None:
                    self.cost[x] = cost

    def __contains__(self, x: object) -> bool:
        return x in self.cost and x not in self.outputs

    def _cost(self, x: Node) -> int | None:
        """How much is repeated if ``x`` is inlined; None if it should not be."""
        total, reads = 1, 0
        for y in x.inputs:
            base, views = path(y)
            # Which loops a reshape needs is found out for computed values only.
            if any(v.op.name == "reshape" for v in views) and base.size > 1:
                return None
            total += self.cost.get(base, 0)
            reads += base not in self
        if all(self._is_small(y) for y in x.inputs) and not x.shape:
            return total if total <= MAX_SCALAR else None
        if x.op.name not in CHEAP:
            return None
        if not reads:
            return total if total <= MAX_MASK else None
        return total if total <= MAX_PICKED and self._is_picked(x) else None

    def _is_small(self, y: Node) -> bool:
        """Whether a 0-d operand is at hand before any kernel ran, or inlined itself."""
        base, _ = path(y)
        return base.size == 1 and (base in self or base in self.memory)

    def _is_picked(self, x: Node) -> bool:
        """Whether readers only ever take parts of ``x``, together hardly more than all of it."""
        taken, stack = 0, [(user, False) for user in self.users[x]]
        while stack:
            user, picked = stack.pop()
            if user in self.outputs and not (picked and user.op.kind == "elementwise"):
                return False
            if user.op.name in VIEWS:
                picked = picked or user.op.name in PICKS
                if picked and user.op.name == "reshape":
                    return False
                taken += user.size if user.op.name in PICKS else 0
                stack.extend((u, picked) for u in self.users[user])
            elif not picked and user.op.name in CHEAP and user.shape == x.shape:
                stack.extend((u, False) for u in self.users[user])
            elif not picked or user.op.kind not in ("elementwise", "reduce"):
                return False
        return settle("picked", 2 * taken <= 3 * x.size)
