"""Which frames a node stands in: the pass, then modules from the outside in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphgrad.ir import Node

from ..graphs import _phases
from ..units import units
from .material import Material
from .stages import Stages

Path = tuple[str, ...]
UPDATE = "update"
MANY = 60  # calls of one name in one module: a loop, whose turns are no frames


def homes_of(material: Material, stages: Stages) -> tuple[dict[int, Path], dict[int, str]]:
    """Frames and phase of every node, by its number."""
    phases = _phases_of(material, stages)
    homes: dict[int, Path] = {}
    calls = calls_of(material)
    for n, x in enumerate(stages.shown):
        call = calls.get(x.origin.sequence)
        modules = tuple(x.origin.module.split(".")) if x.origin.module else ()
        frames = modules if call is None else call.path
        lead = (phases[n],) if n in phases else ()
        homes[n] = lead if phases.get(n) == UPDATE else (*lead, *frames)
    _adopt_inputs(material, stages, homes, phases)
    _split_updates(material, stages, homes, phases)
    for n, owner in sorted(stages.around.items()):
        homes[n] = (*homes[owner], f"{stages.shown[owner].op.name} {owner}")
    return homes, phases


@dataclass(frozen=True)
class Call:
    """An operation as it was written: its frames, and a number shared with its gradient's."""

    path: Path
    pair: int


def calls_of(material: Material) -> dict[int, Call]:
    """The call of every traced node, by the number of its origin, which passes hand on.

    A call of several nodes (``softmax`` in a module) is a frame in the frames of its modules.
    """
    graph = material.book.graphs[0][1]
    known = units(graph, _phases(graph, material.labels))
    sizes = Counter(unit.key for unit in known.values())
    calls = Counter((u.path, u.name) for u in dict.fromkeys(known.values()))
    names: dict[tuple[Path, str], list[str]] = {}
    pairs: dict[str, int] = {}
    found: dict[int, Call] = {}
    for x, unit in known.items():
        path = unit.path
        if sizes[unit.key] > 1 and calls[unit.path, unit.name] <= MANY:
            alike = names.setdefault((path, unit.name), [])
            if unit.key not in alike:
                alike.append(unit.key)
            number = alike.index(unit.key) + 1
            path = (*path, f"{unit.name} {number}" if number > 1 else unit.name)
        found[x.origin.sequence] = Call(path, pairs.setdefault(unit.pair, len(pairs) + 1))
    return found


def _phases_of(material: Material, stages: Stages) -> dict[int, str]:
    """forward, backward or update, as the first graph that has a node says."""
    found: dict[int, str] = {}
    graphs = [graph for _, graph in material.book.graphs]
    for graph in (*graphs, material.graph):
        for x, phase in _phases(graph, material.labels).items():
            found.setdefault(stages.number[x], phase)
    return found


def _adopt_inputs(
    material: Material, stages: Stages, homes: dict[int, Path], phases: dict[int, str]
) -> None:
    """What comes from outside stands beside its first reader: parameters in their own module."""
    readers: dict[int, list[int]] = {}
    for operands in (stages.operands[0], stages.operands[-1]):
        for n, sources in operands.items():
            for i in sources:
                readers.setdefault(i, []).append(n)
    graph = material.book.graphs[0][1]
    names = dict(zip(graph.inputs, material.labels.inputs, strict=False))
    for x in graph.inputs:
        n = stages.number[x]
        known = [r for r in readers.get(n, ()) if homes[r]]
        if not known:
            continue
        modules = tuple((names.get(x) or x.attrs["name"]).split(".")[:-1])
        own = [homes[r] for r in known if modules and homes[r][-len(modules) :] == modules]
        first = next((r for r in known if phases.get(r) == "forward"), known[0])
        kept = x.attrs["role"] in ("parameter", "buffer", "state")
        homes[n] = own[0] if own else homes[first] if kept else homes[first][:1] if phases else ()
        if first in phases:
            phases[n] = phases[first]


def _split_updates(
    material: Material, stages: Stages, homes: dict[int, Path], phases: dict[int, str]
) -> None:
    """The optimizer's work by parameter: what is connected, numbers apart."""
    members = {n for n, phase in phases.items() if phase == UPDATE and homes[n] == (UPDATE,)}
    parent = {n: n for n in members}

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = n = parent[parent[n]]
        return n

    large = {n for n in members if not _is_number(stages.shown[n])}
    for operands in stages.operands:
        for n, sources in operands.items():
            for i in sources:
                if n in large and i in large:
                    parent[root(n)] = root(i)
    names: dict[int, list[str]] = {}
    graph = material.book.graphs[0][1]
    for y, name in zip(graph.outputs, material.labels.outputs, strict=False):
        if stages.number[y] in large and name:
            names.setdefault(root(stages.number[y]), []).append(name.removesuffix(" updated"))
    labels = {r: min(found, key=len) for r, found in names.items()}
    repeated = Counter(labels.values())
    for n in members:
        label = labels.get(root(n), "") if n in large else "numbers"
        if label and repeated.get(label, 0) > 1:
            label = f"{label} ({root(n)})"
        homes[n] = (UPDATE, label) if label else (UPDATE,)


def _is_number(x: Node) -> bool:
    return bool(x.op.results) or x.size == 1
