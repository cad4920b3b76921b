"""Operations as they were written: which nodes one call made, and which backward undoes it.

    units(graph, phases)[node]         # Unit("Convolution", ("LeNet5", "conv1"), pair="…")

A trace inlines ``conv2d`` into five nodes and its gradient into seven more. Their origins say which
call they come from and which record of PyTorch's they stand for, so the two can be drawn as one
box each, side by side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphgrad.ir import Graph, Node
from graphgrad.regions import Plan

from .scene import Path

_BACKWARD = re.compile(r"Backward\d*$")


@dataclass(frozen=True)
class Unit:
    """One call: ``key`` tells it from others, ``pair`` is shared with the other direction's."""

    key: str
    name: str
    path: Path = ()
    pair: str = ""
    order: float = -1.0


def units(graph: Graph, phases: Mapping[Node, str]) -> dict[Node, Unit]:
    """The call that every operation with a known line comes from."""
    work = [x for x in graph.nodes if x.op.name != "input" and x.origin.code is not None]
    work.sort(key=lambda x: x.origin.sequence)
    forward = [x for x in work if phases.get(x, "forward") == "forward"]
    backward = [x for x in work if phases.get(x) == "backward"]
    paths = instances((x, x.origin.module) for x in forward)
    calls = _calls(forward, "f", paths)
    found = {x: unit for nodes, unit in calls for x in nodes}
    partners = _Partners(calls)
    for nodes in _runs(backward, lambda x: (_place(x), x.origin.record)):
        unit = partners.unit(nodes[0])
        found.update(dict.fromkeys(nodes, unit))
    named = {u.pair: unsuffixed(u.name) for u in found.values() if u.key[0] == "b"}
    return {
        x: replace(u, name=named.get(u.pair, u.name)) if u.key[0] == "f" else u
        for x, u in found.items()
    }


def unsuffixed(record: str) -> str:
    """``AddmmBackward0`` is the backward function of ``Addmm``."""
    return _BACKWARD.sub("", record)


def instances(calls: Iterable[tuple[Any, str]]) -> dict[Any, Path]:
    """The frames of things called in this order in modules ``a.b``: each call has its own.

    A module that is called again is ``act#2``, so that its frame does not drag together what lies
    far apart.
    """
    found: dict[Any, Path] = {}
    seen: dict[Path, int] = {}
    names: Path = ()
    open_: Path = ()
    for thing, module in calls:
        wanted = tuple(filter(None, module.split(".")))
        same = 0
        while same < min(len(wanted), len(names)) and wanted[same] == names[same]:
            same += 1
        open_ = open_[:same]
        for name in wanted[same:]:
            number = seen[*open_, name] = seen.get((*open_, name), 0) + 1
            open_ = (*open_, name if number == 1 else f"{name}#{number}")
        names = wanted
        found[thing] = open_
    return found


def _calls(
    nodes: list[Node], letter: str, paths: Mapping[Node, Path]
) -> list[tuple[list[Node], Unit]]:
    calls = []
    runs = _runs(nodes, lambda x: (_place(x), x.origin.composite, paths[x]), _is_again)
    for i, run in enumerate(runs):
        unit = Unit(f"{letter}{i}", _name(run), paths[run[0]], f"p{i}", i)
        calls.append((run, unit))
    return calls


def _runs(nodes: list[Node], key: Any, is_again: Any = None) -> list[list[Node]]:
    """Nodes of one key that were made one after the other."""
    runs: list[list[Node]] = []
    last: Hashable = None
    for x in nodes:
        if key(x) != last or (is_again is not None and is_again(runs[-1], x)):
            runs.append([])
            last = key(x)
        runs[-1].append(x)
    return runs


def _is_again(run: list[Node], x: Node) -> bool:
    """A line that a loop runs again: a single operation that reads its own last result."""
    return not x.origin.composite and x.op is run[-1].op and run[-1] in x.inputs


def _place(x: Node) -> tuple[str, Any, int]:
    return x.origin.module, x.origin.code, x.origin.offset


def _name(nodes: list[Node]) -> str:
    if nodes[0].origin.composite:
        return nodes[0].origin.composite
    work = [x for x in nodes if x.op.kind not in ("movement", "project", "source")] or nodes
    return work[0].op.name


class _Partners:
    """Finds the forward call of backward nodes: at the same place, by name, the last one first."""

    def __init__(self, calls: list[tuple[list[Node], Unit]]) -> None:
        self.at: dict[Any, list[tuple[str, Unit]]] = {}
        for nodes, unit in calls:
            row = (nodes[0].origin.composite, unit)
            self.at.setdefault(_place(nodes[0]), []).append(row)
        self.used: dict[tuple[Any, str], int] = {}
        self.count = 0

    def unit(self, x: Node) -> Unit:
        """The unit of a run of backward nodes that starts with ``x``."""
        record = x.origin.record or "backward"
        base = unsuffixed(record)
        here = self.at.get(_place(x), [])
        named = [unit for composite, unit in here if composite == base]
        plain = [unit for composite, unit in here if not composite]
        choice = named or plain or [unit for _, unit in here]
        self.count += 1
        key = f"b{self.count}"
        if not choice:
            path = tuple(filter(None, x.origin.module.split(".")))
            return Unit(key, record, path, pair=key)
        place = (_place(x), base)
        turn = self.used[place] = self.used.get(place, -1) + 1
        partner = choice[-1 - turn % len(choice)]
        return Unit(f"b-{partner.key}-{record}", record, partner.path, partner.pair, partner.order)


def kernel_pairs(
    plan: Plan, phases: Sequence[str], calls: Mapping[Node, Unit]
) -> list[tuple[str, float]]:
    """For every kernel a mark, which a forward one shares with what undoes most of it; its place.

    Backward kernels that have no partner stand near the forward kernel they undo most of, and in
    the order they run, upwards.
    """
    pairs = [{calls[x].pair for x in r.nodes if x in calls} for r in plan.regions]
    marks = [(f"k{i}", float(i)) for i in range(len(pairs))]
    owners: dict[str, list[int]] = {}
    for i, phase in enumerate(phases):
        for pair in pairs[i] if phase == "forward" else ():
            owners.setdefault(pair, []).append(i)
    taken: dict[int, int] = {}
    for j in (j for j, phase in enumerate(phases) if phase == "backward"):
        tally = Counter(i for pair in sorted(pairs[j]) for i in owners.get(pair, ()))
        near = [i for i, _ in tally.most_common()]
        if near and near[0] not in taken:
            taken[near[0]] = j
            marks[j] = marks[near[0]]
        elif near:
            # After the partner's own: above it, for backward climbs.
            marks[j] = (f"k{j}", near[0] - (j - taken[near[0]]) / len(phases))
    return marks


def most(paths: Sequence[Path]) -> Path:
    """The path of most; of none, nowhere."""
    return Counter(paths).most_common(1)[0][0] if paths else ()
