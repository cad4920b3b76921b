"""Padded pieces that tile a value are put side by side."""

import numpy as np

from graphgrad import dtypes, interpret, ir, lang
from graphgrad.ir import Graph, node
from graphgrad.passes.simplify import simplify


def padded(x, low, high):
    return lang.pad(x, (0, low), (0, high))


def test_pads_that_tile_are_a_concat():
    a, b, c = (ir.input((2, n), dtypes.float32) for n in (3, 1, 2))
    total = node("add", node("add", padded(b, 3, 2), padded(a, 0, 3)), padded(c, 4, 0))
    graph = Graph([a, b, c], [total])
    after = simplify(graph)
    assert [x.op.name for x in after.nodes if x.op.name != "input"] == ["concat"]
    arrays = [np.arange(x.size, dtype=np.float32).reshape(x.shape) for x in graph.inputs]
    np.testing.assert_array_equal(interpret.run(graph, arrays)[0], interpret.run(after, arrays)[0])


def test_pads_that_overlap_or_leave_gaps_are_added():
    a, b = (ir.input((2, n), dtypes.float32) for n in (3, 2))
    for low, high in ((2, 2), (4, 0)):
        total = node("add", padded(a, 0, 3), padded(b, low, high))
        assert simplify(Graph([a, b], [total])).outputs[0].op.name == "add"
