"""Generated CUDA sources are a product, too: read the diff, then run pytest with --update-golden."""

from __future__ import annotations

import pytest
from graphgrad.kernels.cuda.call import GridCall
from graphgrad.kernels.cuda.lower import lower_region
from test_kernel_sources import CASES

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.passes.fuse import fuse


def embedding_gradient(table: Node, index: Node, rows: Node) -> list[Node]:
    wide = node("expand", node("reshape", index, shape=(8, 1)), shape=(8, 64))
    return [node("scatter_add", table, wide, rows, axis=0)]


def running_sum(x: Node) -> list[Node]:
    return [node("cumsum", x, axis=1)]


NEW = {
    "embedding_gradient": (embedding_gradient, (100, 64), ((8,), dtypes.int64), (8, 64)),
    "running_sum": (running_sum, (8, 300)),
}
ALL = {**CASES, **NEW}


def calls(build, *types) -> list[GridCall]:
    inputs = [ir.input(*t) if isinstance(t[0], tuple) else ir.input(t, dtypes.float32) for t in types]
    plan = fuse(Graph(inputs, build(*inputs)))
    return [call for region in plan for call in lower_region(region)]


@pytest.mark.parametrize("name", ALL)
def test_source(name, golden):
    golden(f"cuda_{name}.py", "\n\n".join(call.source for call in calls(*ALL[name])))


def test_emulation(golden):
    (call,) = calls(*CASES["softmax"])
    golden("cuda_softmax_emulated.py", call.kernel.emulation[0])
