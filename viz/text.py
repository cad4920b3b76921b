"""Graphs compared as text: what a pass, or a change of the program, did.

    print(gg.diff(before, after))     # two Graphs
    print(gg.diff(step))              # a compiled function: pass after pass

Nodes are the same when they compute the same from the same. Of what remains, a node and one of the
same operation from the same line are one that was changed; others were removed or added.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from graphgrad.ir import Graph, Node, attr_key, line_of, names


@dataclass(frozen=True)
class Difference:
    """What one graph has and the other has not; ``changed`` are pairs of nodes.

    Printed, a line for each node: ``-`` removed, ``+`` added, ``~`` changed, with where it is from.
    """

    name: str
    before: Graph
    after: Graph
    added: tuple[Node, ...]
    removed: tuple[Node, ...]
    changed: tuple[tuple[Node, Node], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def summary(self) -> str:
        """``simplify: 161 → 154 nodes, 2 added, 9 removed, 4 changed``"""
        sizes = f"{len(self.before)} → {len(self.after)} nodes"
        counts = [
            f"{len(what)} {word}"
            for what, word in (
                (self.added, "added"),
                (self.removed, "removed"),
                (self.changed, "changed"),
            )
            if what
        ]
        return f"{self.name}: {', '.join([sizes, *counts]) if counts else 'nothing changed'}"

    def __str__(self) -> str:
        return "\n".join([self.summary, *self._lines()])

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        """Removed and changed nodes in the order of the first graph, then the added ones."""
        old, new = names(self.before), names(self.after)
        successor = dict(self.changed)
        removed = set(self.removed)
        for x in dict.fromkeys((*self.before.inputs, *self.before.nodes)):
            if x in removed:
                yield f"  - {line_of(x, old)}"
            elif x in successor:
                yield f"  ~ {line_of(x, old)}"
                yield f"  → {line_of(successor[x], new)}"
        yield from (f"  + {line_of(x, new)}" for x in self.added)


def diff(before: Any, after: Graph | None = None) -> Difference | Differences:
    """What ``after`` has and ``before`` has not, and the other way round.

    Of a compiled function alone: what each pass did. Raises TypeError for what is no graph and no
    compiled function that has run.
    """
    if isinstance(before, Graph) and isinstance(after, Graph):
        return _difference(after.name or "diff", before, after)
    executable = _executable(before)
    if after is not None or executable is None:
        what = type(before if executable is None else after).__name__
        raise TypeError(f"cannot compare a {what}: give two Graphs, or a compiled function")
    stages = executable.passes()
    return Differences(_difference(name, x, y) for (_, x), (name, y) in pairwise(stages))


class Differences(tuple[Difference, ...]):
    """One Difference for each pass; printed, only those that did something in full."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(str(d) for d in self)

    __repr__ = __str__


def _executable(target: Any) -> Any:
    if getattr(target, "entries", None):
        return list(target.entries.values())[-1][0].executable
    return target if hasattr(target, "passes") else None


def _difference(name: str, before: Graph, after: Graph) -> Difference:
    matched = _same(before, after)
    taken = set(matched.values())
    left = [x for x in _nodes(before) if x not in matched]
    right = [y for y in _nodes(after) if y not in taken]
    # First what kept its type, then what at least does the same thing for the same line.
    for key in (lambda x: (x.op, _type(x), _place(x)), lambda x: (x.op, _place(x))):
        for x, y in _paired(left, right, key):
            matched[x] = y
        taken = set(matched.values())
        left = [x for x in left if x not in matched]
        right = [y for y in right if y not in taken]
    changed = tuple((x, y) for x, y in matched.items() if _is_changed(x, y, matched))
    return Difference(name, before, after, tuple(right), tuple(left), changed)


def _nodes(graph: Graph) -> list[Node]:
    return list(dict.fromkeys((*graph.inputs, *graph.nodes)))


def _same(before: Graph, after: Graph) -> dict[Node, Node]:
    """Pairs that compute the same: inputs by place, then equal operations of equal operands."""
    number: dict[Hashable, int] = {}

    def keys(graph: Graph) -> dict[Node, int]:
        found: dict[Node, int] = {}
        for i, x in enumerate(_nodes(graph)):
            key: Hashable
            if x.op.name == "input":
                key = ("input", i if x in graph.inputs else id(x), _type(x))
            else:
                key = (x.op.name, _type(x), attr_key(x), *(found[y] for y in x.inputs))
            found[x] = number.setdefault(key, len(number))
        return found

    waiting: dict[int, list[Node]] = {}
    for y, key in keys(after).items():
        waiting.setdefault(key, []).append(y)
    old = keys(before)
    matched = {x: x for x, key in old.items() if x in waiting.get(key, ())}
    for x in matched:
        waiting[old[x]].remove(x)
    for x, key in old.items():
        if x not in matched and waiting.get(key):
            matched[x] = waiting[key].pop(0)
    return matched


def _paired(left: list[Node], right: list[Node], key: Any) -> Iterator[tuple[Node, Node]]:
    waiting: dict[Hashable, list[Node]] = {}
    for y in right:
        waiting.setdefault(key(y), []).append(y)
    for x in left:
        if found := waiting.get(key(x)):
            yield x, found.pop(0)


def _type(x: Node) -> Hashable:
    return x.results or (x.shape, x.dtype)


def _place(x: Node) -> Hashable:
    return (x.origin.code, x.origin.offset, x.origin.module, x.origin.record)


def _is_changed(x: Node, y: Node, matched: dict[Node, Node]) -> bool:
    """Whether it reads something else, or does it otherwise; not: what it reads has changed."""
    return (
        _type(x) != _type(y)
        or attr_key(x) != attr_key(y)
        or _ids(matched.get(i, i) for i in x.inputs) != _ids(y.inputs)
    )


def _ids(nodes: Iterable[Node]) -> list[int]:
    return [id(x) for x in nodes]
