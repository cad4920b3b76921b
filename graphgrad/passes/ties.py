"""Values that are compared with their own maximum: by argmax, by the gradients of max and pooling.

An element is the largest where it equals the maximum, so both must be the same bits. A value that
is computed twice, in two loops, need not be: LLVM may contract a product and a sum in one of them
and not in the other. So such a value is written once, and compared as it lies in memory.
"""

from __future__ import annotations

from graphgrad.ir import Graph, Node
from graphgrad.passes.inline import CHEAP
from graphgrad.views import path

_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
# What rounds: of the cheap operations, those that are more than a choice.
_ROUNDS_NOT = CHEAP - {"add", "sub", "mul"}


def tied(x: Node) -> Node | None:
    """The value below ``x``, a comparison with its own maximum, that rounds more than once."""
    if x.op.name in ("argmax", "argmin"):  # whose kernel finds the maximum first
        value = path(x.inputs[0])[0]
        return value if _rounds(value) > 1 else None
    if x.op.name not in _COMPARISONS:
        return None
    for y, z in (x.inputs, x.inputs[::-1]):
        top, value = path(z)[0], path(y)[0]
        if top.op.name in ("max", "min") and path(top.inputs[0])[0] is value and _rounds(value) > 1:
            return value
    return None


def all_tied(graph: Graph) -> set[Node]:
    """Every such value of a graph."""
    return {value for x in graph.nodes if (value := tied(x)) is not None}


def _rounds(x: Node, most: int = 2) -> int:
    """How many rounding operations, of ``most``, one after or beside the other make a value."""
    count, stack, seen = 0, [x], {x}
    while stack and count < most:
        y = stack.pop()
        if y.op.kind != "elementwise" or not y.dtype.is_floating_point:
            continue
        count += y.op.name not in _ROUNDS_NOT
        for base in (path(i)[0] for i in y.inputs):
            if base not in seen:
                seen.add(base)
                stack.append(base)
    return count
