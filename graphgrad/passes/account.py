"""What became of every node: kept, moved, merged, rewritten by which rule, or removed by which.

    book = Account()
    with book.listening():
        with book.stage("cse", graph):           # a graph on its way through a pass
            graph = cse(graph)
        ...
    book.close(graph.nodes)                      # those there are in the end
    book.journey(x)                              # [(pass, Fate), …] from the first stage on
    book.final(x), book.removal(x)               # what it ended as, or (pass, rules) that ended it
    book.first(y)                                # the nodes of the first stage that y comes from

Passes tell it through ``ir.became`` which node stands for which; nobody listens otherwise. What a
rule made beside its result is put down to the node it was made for. Nodes in the bodies of control
flow are nodes like any others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from graphgrad import ir
from graphgrad.ir import Graph, Node, subgraphs

KEPT, MOVED, MERGED, REWRITTEN, REMOVED = "kept", "moved", "merged", "rewritten", "removed"
# Rules under which several nodes become one that was there.
_MERGING = frozenset({"cse", "merge_scans"})


@dataclass(frozen=True)
class Fate:
    """What one pass did to a node.

    kind    kept: the same node; moved: the same operation over other operands; merged, rewritten:
            others stand for it; removed: nothing does
    rules   what did it: rules of ``simplify`` by name, else the pass
    into    the nodes that stand for it after the pass
    """

    kind: str
    rules: tuple[str, ...] = ()
    into: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, ", ".join(self.rules))))


def all_nodes(graphs: Iterable[Graph]) -> dict[Node, None]:
    """The nodes of some graphs and of the graphs inside them, in their order."""
    found: dict[Node, None] = {}
    stack = list(graphs)[::-1]
    while stack:
        graph = stack.pop()
        for x in graph.nodes:
            if x not in found:
                found[x] = None
                stack.extend(subgraphs(x))
    return found


@dataclass(eq=False)
class Step:
    """One pass: the nodes before it, those after it, and what was said in between."""

    name: str
    before: dict[Node, None]
    said: list[tuple[Node, Node, str]] = field(default_factory=list)
    after: dict[Node, None] = field(default_factory=dict)

    @cached_property
    def _next(self) -> dict[Node, dict[Node, str]]:
        found: dict[Node, dict[Node, str]] = {}
        for old, new, rule in self.said:
            found.setdefault(old, {})[new] = rule or found.get(old, {}).get(new, "")
        return found

    @cached_property
    def fates(self) -> dict[Node, Fate]:
        """What became of each node that was there before."""
        ways = {x: self._way(x) for x in self.before}
        found: dict[Node, Fate] = {}
        for x in reversed(self.before):  # users first: a reason may lie with them
            into, rules = ways[x]
            if not into:
                found[x] = Fate(REMOVED, rules or self._reason(x, found))
            elif x in self.after and not rules:
                found[x] = Fate(KEPT, (), into)
            else:
                found[x] = Fate(self._kind(x, into, rules), rules, into)
        return found

    @cached_property
    def sources(self) -> dict[Node, tuple[Node, ...]]:
        """The nodes before that each node after comes from, or was made for."""
        back: dict[Node, dict[Node, None]] = {}
        for old, new, _ in self.said:
            back.setdefault(new, {})[old] = None
        made = self._made(back)
        found: dict[Node, tuple[Node, ...]] = {}
        for y in self.after:
            roots: dict[Node, None] = {}
            seen, stack = {y}, [y]
            while stack:
                x = stack.pop()
                if x in self.before:
                    roots[x] = None
                earlier = [*back.get(x, ()), *([made[x]] if x in made else [])]
                stack.extend(o for o in earlier if o not in seen)
                seen.update(earlier)
            found[y] = tuple(roots)
        return found

    def _way(self, x: Node) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        """The nodes after the pass that stand for ``x``, and the rules on the way there."""
        into: dict[Node, None] = {}
        rules: dict[str, None] = {}
        seen, stack = {x}, [x]
        while stack:
            y = stack.pop()
            if y in self.after:
                into[y] = None
            for z, rule in self._next.get(y, {}).items():
                if rule:
                    rules[rule] = None
                if z not in seen:
                    seen.add(z)
                    stack.append(z)
        return tuple(into), tuple(rules)

    def _kind(self, x: Node, into: tuple[Node, ...], rules: tuple[str, ...]) -> str:
        if not rules:
            return MOVED
        if x in into:
            return KEPT
        return MERGED if _MERGING.issuperset(rules) else REWRITTEN

    @cached_property
    def _readers(self) -> dict[Node, list[Node]]:
        found: dict[Node, list[Node]] = {}
        for y in self.before:
            bodies = [o for graph in subgraphs(y) for o in (*graph.outputs, *graph.nodes)]
            for x in dict.fromkeys((*y.inputs, *bodies)):
                found.setdefault(x, []).append(y)
        return found

    def _reason(self, x: Node, known: dict[Node, Fate]) -> tuple[str, ...]:
        """Why nothing stands for a node that no rule was about: what its readers became."""
        readers = (known[y] for y in self._readers.get(x, ()) if y in known)
        rules = dict.fromkeys(rule for fate in readers for rule in fate.rules)
        return tuple(rules) or (self.name,)

    def _made(self, back: dict[Node, dict[Node, None]]) -> dict[Node, Node]:
        """What rules made on the way to their results: for which node each was made."""
        made: dict[Node, Node] = {}
        for old, new, rule in self.said:
            stack = [new] if rule else []
            while stack:
                inputs = stack.pop().inputs
                fresh = [i for i in inputs if i not in back and i not in self.before]
                for i in fresh:
                    if i not in made:
                        made[i] = old
                        stack.append(i)
        return made


class Account:
    """What every pass did, from the graph as traced to the nodes that kernels compute."""

    def __init__(self) -> None:
        self.graphs: list[tuple[str, Graph]] = []
        self.steps: list[Step] = []

    @contextlib.contextmanager
    def listening(self) -> Iterator[Account]:
        """While open, passes in this process are heard; stages are opened inside."""
        before = ir.set_listener(self._hear)
        try:
            yield self
        finally:
            ir.set_listener(before)

    def stage(self, name: str, graph: Graph) -> None:
        """Pass ``name`` is about to change ``graph``: what the one before it left."""
        nodes = all_nodes([graph])
        self._end(nodes)
        self.graphs.append((name, graph))
        self.steps.append(Step(name, nodes))

    def close(self, nodes: Iterable[Node]) -> None:
        """The last pass is done: these nodes are what it left."""
        self._end(dict.fromkeys(nodes))

    def _end(self, nodes: dict[Node, None]) -> None:
        if self.steps:
            self.steps[-1].after = nodes

    def _hear(self, old: Node, new: Node, rule: str) -> None:
        if self.steps:
            self.steps[-1].said.append((old, new, rule))

    # ------------------------------------------------------------------------------------- asking

    @property
    def traced(self) -> dict[Node, None]:
        """Every operation of the first stage, in its order."""
        return {x: None for x in self.steps[0].before if x.op.name != "input"}

    def journey(self, x: Node) -> list[tuple[str, Fate]]:
        """Of a traced node: what each pass did to it, or to what stands for it."""
        found: list[tuple[str, Fate]] = []
        now: tuple[Node, ...] = (x,)
        for step in self.steps:
            if not now:
                break
            fates = [step.fates[y] for y in now if y in step.fates]
            found.append((step.name, fates[0] if len(fates) == 1 else _together(fates)))
            now = found[-1][1].into
        return found

    def final(self, x: Node) -> tuple[Node, ...]:
        """The nodes that stand for a traced node in the end; none where it was removed."""
        last = self.journey(x)[-1]
        return last[1].into if len(self.journey(x)) == len(self.steps) else ()

    def removal(self, x: Node) -> tuple[str, tuple[str, ...]] | None:
        """The pass and the rules that removed a traced node, or found that an input is its value.

        None for one that is still computed.
        """
        journey = self.journey(x)
        name, fate = journey[-1]
        if fate.kind == REMOVED:
            return name, fate.rules
        if any(y.op.name != "input" for y in fate.into):
            return None
        name, fate = next(row for row in reversed(journey) if row[1].rules)
        return name, fate.rules

    def first(self, y: Node) -> tuple[Node, ...]:
        """The traced nodes that a node of the end comes from."""
        now: dict[Node, None] = {y: None}
        for step in reversed(self.steps):
            now = dict.fromkeys(x for z in now for x in step.sources.get(z, ()))
        return tuple(now)


def _together(fates: Iterable[Fate]) -> Fate:
    """What happened to several nodes that stand for one; removed only when all are."""
    fates = list(fates)
    into = tuple(dict.fromkeys(y for fate in fates for y in fate.into))
    rules = tuple(dict.fromkeys(rule for fate in fates for rule in fate.rules))
    if not into:
        return Fate(REMOVED, rules)
    changed = [fate for fate in fates if fate.kind not in (KEPT, REMOVED)]
    return Fate(changed[0].kind if changed else KEPT, rules, into)
