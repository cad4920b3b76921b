"""Scans compute themselves what is cheap at every step, rather than read it.

    before  zs = x @ u + b;  scan(f, h, zs, wᵀ)       zs is written and read; wᵀ is copied
    after   scan(f', h, x @ u, b, w)                  f' adds b, and views w

What the body never reads is no operand any more.
"""

from __future__ import annotations

from graphgrad import ir, lang
from graphgrad.ir import Graph, Node
from graphgrad.passes.inline import CHEAP
from graphgrad.passes.loop import Loop, Replacement, replace_scans, scans_of


def take_in(graph: Graph) -> Graph:
    """Rewrite the scans of a graph; see the module."""
    for x in scans_of(graph):
        loop = _TakenIn(graph, x).loop()
        if (loop.sequences, loop.constants) != (Loop.of(x).sequences, Loop.of(x).constants):
            return take_in(replace_scans(graph, {x: _by(loop.node(x.origins))}, "take_in"))
    return graph


def _by(new: Node) -> Replacement:
    return lambda _loop, _origins: lambda i: lang.result(new, i)


class _TakenIn:
    """One scan, on its way to other operands; they are keyed by the nodes outside."""

    def __init__(self, graph: Graph, x: Node) -> None:
        self.old = Loop.of(x)
        self.users, self.outputs = graph.users(), set(graph.outputs)
        self.inside = self.old.body.users()
        self.sequences: dict[Node, Node] = {}
        self.constants: dict[Node, Node] = {}

    def loop(self) -> Loop:
        """The same scan over what its operands are made of."""
        old, body = self.old, self.old.body
        count, split = len(old.carries), len(old.carries) + len(old.sequences)
        new: dict[Node, Node] = {x: x for x in body.inputs[:count]}
        for operand, inner in zip(old.sequences, body.inputs[count:split], strict=True):
            if self._is_read(inner):
                new[inner] = self._step(operand)
        for operand, inner in zip(old.constants, body.inputs[split:], strict=True):
            if self._is_read(inner):
                only_products = all(y.op.name == "dot_general" for y in self.inside[inner])
                new[inner] = self._fixed(operand, only_products)
        for x in body.nodes:
            if x not in new:
                new[x] = x.with_inputs([new[i] for i in x.inputs])
        ir.all_became(new)
        inputs = [*body.inputs[:count], *self.sequences.values(), *self.constants.values()]
        inner_graph = Graph(inputs, [new[y] for y in body.outputs], body.name)
        parts = old.carries, tuple(self.sequences), tuple(self.constants)
        return Loop(*parts, inner_graph, old.length, old.reverse)

    def _is_read(self, inner: Node) -> bool:
        return bool(self.inside[inner]) or inner in self.old.body.outputs

    # ---- what changes from step to step

    def _step(self, x: Node) -> Node:
        """The value at one step of something with a row for each."""
        if self._is_cheap(x):
            rows = [self._row(y, x) for y in x.inputs]
            inside = ir.node(x.op.name, *rows, origins=x.origins, **x.attrs)
            ir.became(x, inside, "take_in")
            return inside
        if _repeats(x):
            (y,) = x.inputs
            inner = self._fixed(_without_steps(y, x))
            inside = ir.node("expand", inner, shape=x.shape[1:], origins=x.origins)
            ir.became(x, inside, "take_in")
            return inside
        if x not in self.sequences:
            self.sequences[x] = ir.input(x.shape[1:], x.dtype)
        return self.sequences[x]

    def _row(self, y: Node, x: Node) -> Node:
        """The share of an elementwise node's operand in one step of it."""
        if len(y.shape) == len(x.shape) and y.shape[0] == x.shape[0]:
            return self._step(y)
        return self._fixed(_without_steps(y, x))

    def _is_cheap(self, x: Node) -> bool:
        """Whether a step computes its row of ``x`` from what is no larger than that row."""
        if x.op.name not in CHEAP or x.op.kind != "elementwise" or x in self.outputs:
            return False
        if any(user.op.name != "scan" for user in self.users[x]) or x.shape[0] == 1:
            return False
        full = [y for y in x.inputs if len(y.shape) == len(x.shape) and y.shape[0] == x.shape[0]]
        return len(full) == 1 and full[0].nbytes <= x.nbytes

    # ---- what is the same at every step

    def _fixed(self, x: Node, moved: bool = True) -> Node:
        """The same value inside; ``moved``: also where it is read in another order."""
        if x.op.name == "scalar":
            return x
        if x.op.name == "expand" or (moved and x.op.name == "permute"):
            inside = x.with_inputs([self._fixed(x.inputs[0], moved)])
            ir.became(x, inside, "take_in")
            return inside
        if x not in self.constants:
            self.constants[x] = ir.like(x)
        return self.constants[x]


def _repeats(x: Node) -> bool:
    """Whether an expanded value is the same at every step."""
    if x.op.name != "expand":
        return False
    (y,) = x.inputs
    return len(y.shape) < len(x.shape) or (y.shape[0] == 1 != x.shape[0])


def _without_steps(y: Node, x: Node) -> Node:
    """An operand that broadcasts along the steps of ``x``, without a dimension for them."""
    return lang.reshape(y, y.shape[1:]) if len(y.shape) == len(x.shape) else y
