"""Constant folding: what depends on literals alone is computed once, by the interpreter."""

from __future__ import annotations

from graphgrad import interpret, ir
from graphgrad.choices import settle
from graphgrad.ir import Constant, Graph, Node

# Larger results stay operations: storing them would only trade a kernel for memory traffic.
_LARGEST = 1024
_LITERALS = frozenset({"scalar", "constant"})
_KEPT = frozenset({"identity", "custom_call", "input", "result"})


def fold(graph: Graph) -> Graph:
    """Evaluate small operations over literals.

    before  a = scalar(2.0);  b = sqrt(a);  return x * b
    after   b = scalar(1.4142135);          return x * b
    """
    return ir.rewrite(graph, _evaluate, "fold")


def _evaluate(x: Node) -> Node | None:
    if not x.inputs or x.op.results or x.op.name in _KEPT:
        return None
    # A broadcast literal is cheaper to make than to load.
    if x.op.name == "expand" or any(i.op.name not in _LITERALS for i in x.inputs):
        return None
    if settle("too large", x.size > _LARGEST, binding=x.size > 64 * _LARGEST):
        return None
    operands = [interpret.RULES[i.op.name](**i.attrs) for i in x.inputs]
    value = interpret.evaluate(x, operands)
    if x.shape == ():
        return ir.node("scalar", value=value.item(), dtype=x.dtype, origins=x.origins)
    return ir.node("constant", array=Constant(value), origins=x.origins)
