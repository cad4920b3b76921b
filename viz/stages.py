"""What can be drawn of a thing, by name: a tensor's history, a graph, every stage of a program.

scenes(compiled, names)["simplified"]()      # the scene, made when asked for
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from graphgrad.ir import Graph
from graphgrad.regions import Plan

from .compiled import NONE, Labels, labels
from .dims import Sizes, compared_sizes, named_sizes, plain
from .graphs import graph_scene, plan_scene
from .records import record_scene
from .scene import Scene

Scenes = dict[str, Callable[[], Scene]]


def scenes(
    target: Any,
    names: Mapping[int, str],
    dims: Mapping[str, int] | None = None,
    types: Mapping[str, str] | None = None,
) -> Scenes:
    """The target's scenes by stage.

    ``names`` of leaves are by ``id``, ``dims`` names sizes, ``types`` are classes of modules.
    Raises TypeError for what has no picture.
    """
    sizes = named_sizes(dims) if dims else plain
    if getattr(target, "entries", None):
        return _program_scenes(target, dims or {})
    if isinstance(getattr(target, "plan", None), Plan):
        return _executable_scenes(target, NONE, lambda _, stage: sizes)
    if isinstance(target, Graph):
        return {"graph": partial(graph_scene, target, NONE, sizes)}
    if isinstance(target, Plan):
        return {"kernels": partial(plan_scene, target, NONE, sizes)}
    if hasattr(target, "grad_fn") or hasattr(target, "next_functions"):
        return {"history": partial(record_scene, target, names, sizes, types)}
    raise TypeError(
        f"cannot draw a {type(target).__name__}: draw a tensor, a Graph, a compiled function that "
        "has run at least once, or a Module or function with inputs=(example, …)"
    )


def _program_scenes(compiled: Any, dims: Mapping[str, int]) -> Scenes:
    """The program of the newest signature, the trace that ran last."""
    groups = list(compiled.entries.values())
    newest = groups[-1][0]
    others = [e for group in groups for e in group if e is not newest]

    def sizes(graph: Graph, stage: str) -> Sizes:
        for other in others:
            traced = other.executable.graph
            if _shapes(traced) != _shapes(newest.executable.graph):
                twin = traced if stage == "traced" else other.executable.optimised
                if found := compared_sizes(graph, twin, dims):
                    return found
        return named_sizes(dims) if dims else plain

    return _executable_scenes(newest.executable, labels(compiled.__wrapped__, newest), sizes)


def _shapes(graph: Graph) -> Sequence[tuple[int, ...]]:
    return [x.shape for x in graph.inputs]


def _executable_scenes(
    executable: Any, known: Labels, sizes: Callable[[Graph, str], Sizes]
) -> Scenes:
    def drawn(stage: str, graph: Graph) -> Scene:
        return graph_scene(graph, known, sizes(graph, stage))

    def planned() -> Scene:
        return plan_scene(executable.plan, known, sizes(executable.plan.graph, "kernels"))

    passes = dict(executable.trace) or {"traced": executable.graph}
    found: Scenes = {name: partial(drawn, name, graph) for name, graph in passes.items()}
    if len(found) == 1:
        # No pass was recorded: what all of them make of it, when somebody asks.
        found["simplified"] = lambda: drawn("simplified", executable.optimised)
    return found | {"kernels": planned}
