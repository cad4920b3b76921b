"""Scattering one element a row, as a comparison: it then fuses with what is computed of the rows.

    before   scatter_add(zeros [n, c], index [n, 1], g)     where index also gathers from [n, c]
    after    where(iota == index, g, 0)

This is the gradient of picking a target's log-probability. The gather is what checks the index.
"""

from __future__ import annotations

from graphgrad import dtypes, ir, lang
from graphgrad.ir import Graph, Node
from graphgrad.views import path

MAX_ROW = 2**31


def one_hot(graph: Graph) -> Graph:
    """Replace scatters of one element a row into zeros by comparisons."""
    picked = {_picked(x) for x in graph.nodes if x.op.name == "gather"}
    if not any(x.op.name == "scatter_add" and _picked(x) in picked for x in graph.nodes):
        return graph

    def rule(x: Node) -> Node | None:
        if x.op.name == "scatter_add" and _picked(x) in picked and _is_one_hot(x):
            return _compared(x)
        return None

    return ir.replace(graph, rule, "one_hot")


def _picked(x: Node) -> tuple[Node, int, int]:
    axis = x.attrs["axis"]
    return x.inputs[1], axis, x.inputs[0].shape[axis]


def _is_one_hot(x: Node) -> bool:
    zeros, index, source = x.inputs
    axis = x.attrs["axis"]
    base, _ = path(zeros)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    blank = base.op.name == "scalar" and base.attrs["value"] == 0
    return blank and index.shape == source.shape == shape and x.shape[axis] < MAX_ROW


def _compared(x: Node) -> Node:
    _, index, source = x.inputs
    place = ir.node("iota", shape=x.shape, axis=x.attrs["axis"], dtype=dtypes.int32)
    hit = ir.node("eq", place, lang.cast(index, dtypes.int32), origins=x.origins)
    zero = lang.scalar(0, x.dtype)
    return ir.node("where", hit, source, zero, origins=x.origins)
