"""Pictures of graphs: what was traced, what was fused, what backward will do.

    gg.draw(loss)                      # the grad_fn records, in PyTorch's names
    gg.draw(compiled, "step.svg")      # the kernels a compiled function runs
    gg.draw(compiled, "step.html")     # the graph as traced, simplified and fused, to zoom into

Every picture stands alone: hover over a box for the line of your program it came from.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from graphgrad.errors import user_frame
from graphgrad.ir import Graph
from graphgrad.regions import Plan

from .compiled import NONE, Labels, labels
from .graphs import graph_scene, plan_scene
from .page import page
from .picture import Picture, write
from .records import names_around, record_scene
from .scene import Scene

__all__ = ["Picture", "draw"]


def draw(
    target: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    stage: str = "kernels",
    params: Mapping[str, Any] | None = None,
) -> Picture:
    """A Picture of a tensor's history, a Graph, a Plan or a compiled function.

    ``path`` also saves it: ``.svg``, ``.html`` with every stage of a compiled function, or ``.dot``
    for the source. ``stage`` of a compiled function: "traced", "simplified" or "kernels".
    ``params`` names leaves, as in ``dict(model.named_parameters())``; others are named after the
    variables, and the parameters of modules in variables, of the caller and its callers. Raises
    TypeError for what has no picture, ValueError for an unknown stage, GraphError where the file
    cannot be written or no layout program is installed.
    """
    names = names_around(user_frame())
    names |= {id(tensor): name for name, tensor in (params or {}).items()}
    stages = [(name, Picture(scene)) for name, scene in _stages(target, names)]
    known = dict(stages)
    if len(known) > 1 and stage not in known:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(known)}")
    picture = known.get(stage, stages[-1][1])
    if path is not None and pathlib.Path(path).suffix.lower() == ".html":
        write(path, page(stages))
    elif path is not None:
        picture.save(path)
    return picture


def _stages(target: Any, names: Mapping[int, str], known: Labels = NONE) -> list[tuple[str, Scene]]:
    """The target's scene and, for a compiled function, those of what it was before."""
    if getattr(target, "entries", None):
        # A compiled function: the program of its newest signature, the trace that ran last.
        newest = list(target.entries.values())[-1][0]
        return _stages(newest.executable, names, labels(target.__wrapped__, newest))
    if isinstance(getattr(target, "plan", None), Plan):
        passes = target.trace or [("traced", target.graph), ("simplified", target.optimised)]
        scenes = [(name, graph_scene(graph, known)) for name, graph in passes]
        return [*scenes, ("kernels", plan_scene(target.plan, known))]
    if isinstance(target, Graph):
        return [("graph", graph_scene(target))]
    if isinstance(target, Plan):
        return [("kernels", plan_scene(target))]
    if hasattr(target, "grad_fn") or hasattr(target, "next_functions"):
        return [("history", record_scene(target, names))]
    raise TypeError(
        f"cannot draw a {type(target).__name__}: draw a tensor, a Graph, or a compiled function "
        "that has run at least once"
    )
