"""Generated sources are a product: read the diff, then run pytest with --update-golden."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

import pytest
from graphgrad.kernels import codegen
from graphgrad.kernels.lower import KernelCall, lower_region

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.passes.fuse import fuse

F = dtypes.float32
Build = Callable[..., list[Node]]


def scalar(value: float) -> Node:
    return node("scalar", value=value, dtype=F)


def keep(y: Node) -> Node:
    return node("reshape", y, shape=(*y.shape, 1))


def bias_gelu(x: Node, b: Node) -> list[Node]:
    y = node("add", x, b)
    cdf = node("add", node("erf", node("mul", y, scalar(0.7071067811865476))), scalar(1.0))
    return [node("mul", node("mul", y, scalar(0.5)), cdf)]


def softmax(x: Node) -> list[Node]:
    e = node("exp", node("sub", x, keep(node("max", x, axes=(1,)))))
    return [node("div", e, keep(node("sum", e, axes=(1,))))]


def layer_norm(x: Node, w: Node, b: Node) -> list[Node]:
    count = scalar(1 / x.shape[1])
    d = node("sub", x, keep(node("mul", node("sum", x, axes=(1,)), count)))
    var = node("mul", node("sum", node("mul", d, d), axes=(1,)), count)
    y = node("mul", d, keep(node("rsqrt", node("add", var, scalar(1e-5)))))
    return [node("add", node("mul", y, w), b)]


def column_sums(x: Node) -> list[Node]:
    return [node("sum", node("mul", x, x), axes=(0,))]


def total(x: Node) -> list[Node]:
    return [node("sum", node("abs", x), axes=(0, 1))]


def transposed(x: Node) -> list[Node]:
    return [node("permute", x, axes=(1, 0))]


def max_pool(x: Node) -> list[Node]:
    attrs = {"axes": (2, 3), "size": (2, 2), "stride": (2, 2), "dilation": (1, 1)}
    return [node("max", node("window", x, **attrs), axes=(4, 5))]


def embedding(table: Node, index: Node) -> list[Node]:
    rows = node("expand", node("reshape", index, shape=(8, 1)), shape=(8, 64))
    return [node("gather", table, rows, axis=0)]


def calls(build: Build, *types) -> list[KernelCall]:
    inputs = [ir.input(*t) if isinstance(t[0], tuple) else ir.input(t, F) for t in types]
    plan = fuse(Graph(inputs, build(*inputs)))
    return [call for region in plan for call in lower_region(region)]


CASES: dict[str, tuple] = {
    "bias_gelu": (bias_gelu, (64, 256), (256,)),
    "softmax": (softmax, (64, 256)),
    "layer_norm": (layer_norm, (64, 256), (256,), (256,)),
    "column_sums": (column_sums, (64, 256)),
    "total": (total, (512, 512)),
    "transposed": (transposed, (300, 200)),
    "max_pool": (max_pool, (2, 3, 32, 32)),
    "embedding": (embedding, (100, 64), ((8,), dtypes.int64)),
}


@pytest.mark.parametrize("name", CASES)
def test_source(name, golden):
    golden(f"{name}.py", "\n\n".join(call.source for call in calls(*CASES[name])))


def assembly(call: KernelCall, folder) -> str:
    path = folder / f"{call.name}.py"
    path.write_text(call.source)
    spec = importlib.util.spec_from_file_location(call.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return codegen.assembly(codegen.kernel_module(getattr(module, call.name), call.name))


@pytest.mark.parametrize("name", ["bias_gelu", "softmax", "layer_norm", "column_sums", "total"])
def test_inner_loops_use_whole_vectors(name, tmp_path):
    """As many packed instructions on the widest registers as the machine has them."""
    features = codegen.host()[1]
    widest = "zmm" if "+avx512f" in features else "ymm" if "+avx2" in features else None
    if widest is None:
        pytest.skip("knows the registers of x86 only")
    text = assembly(calls(*CASES[name])[0], tmp_path)
    arithmetic = r"v(?:add|mul|sub|max|fmadd\w+|fnmadd\w+)ps\s[^\n]*" + widest
    assert len(re.findall(arithmetic, text)) >= 1
    assert not set(re.findall(r"call\w*\s+(\w+)", text)) - {"memset", "memcpy"}
