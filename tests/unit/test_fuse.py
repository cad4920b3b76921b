"""Fusion: which nodes become one region, and that every plan is sound."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.passes.fuse import fuse
from graphgrad.regions import CONTRACT, HOST, LOOP, Plan
from graphgrad.views import VIEWS

sys.path.append(str(Path(__file__).parent.parent / "backend"))
from growing import grow

F = dtypes.float32


def x_(*shape: int) -> Node:
    return ir.input(shape, F)


def scalar(value: float) -> Node:
    return node("scalar", value=value, dtype=F)


def keep(y: Node) -> Node:
    return node("reshape", y, shape=(*y.shape, 1))


def plan(*outputs: Node) -> Plan:
    inputs = [x for x in ir.topological(outputs) if x.op.name == "input"]
    return assert_sound(fuse(Graph(inputs, outputs)))


def names(made: Plan) -> list[str]:
    return [region.name for region in made]


def assert_sound(made: Plan) -> Plan:
    """Regions read only what was written before, and all that is needed is written once."""
    literals = {x for x in made.graph.nodes if x.op.name in ("constant", "scalar")}
    written = set(made.graph.inputs) | (literals - set(made.graph.outputs))
    for region in made:
        assert set(region.inputs) <= written, region
        assert not set(region.outputs) & written, region
        assert region.outputs
        assert not set(region.inputs) & set(region.nodes)
        for x in region.nodes:
            assert set(x.inputs) <= {*region.nodes, *region.inputs}, x
        written |= set(region.outputs)
    assert set(made.graph.outputs) <= written
    return made


@settings(
    deadline=None, derandomize=True, max_examples=200, suppress_health_check=list(HealthCheck)
)
@given(st.integers(0, 10**6))
def test_plans_of_random_graphs_are_sound(seed):
    assert_sound(fuse(grow(seed, steps=14)[0]))


def test_a_chain_is_one_region():
    x = x_(8, 16)
    y = node("exp", node("mul", node("add", x, x_(16)), x))
    assert names(plan(y)) == ["add_mul_exp"]


def test_a_path_that_leaves_and_returns_is_not_closed():
    """a feeds a product and d; the product feeds d: a and d cannot be one region."""
    x, w = x_(8, 8), x_(8, 8)
    a = node("exp", x)
    product = node("dot_general", a, w, contract=((1,), (0,)), batch=((), ()))
    d = node("mul", a, product)
    assert [r.kind for r in plan(d)] == [LOOP, CONTRACT, LOOP]


def test_a_value_read_two_ways_is_written():
    x = x_(8, 8)
    a = node("exp", x)
    y = node("add", a, node("permute", a, axes=(1, 0)))
    assert names(plan(y)) == ["exp", "add"]


def test_values_in_memory_are_read_any_way():
    x = x_(8, 8)
    y = node("add", node("exp", x), node("permute", x, axes=(1, 0)))
    assert names(plan(y)) == ["exp_add"]


def test_reshapes_do_not_separate():
    x = x_(4, 6)
    y = node("neg", node("reshape", node("exp", x), shape=(24,)))
    z = node("abs", node("reshape", y, shape=(2, 2, 6)))
    assert names(plan(z)) == ["exp_neg_abs"]


def test_reshapes_whose_factors_cross_are_read_from_memory():
    x = x_(4, 6)
    y = node("neg", node("reshape", node("exp", x), shape=(3, 8)))
    assert names(plan(y)) == ["exp", "neg"]


def test_softmax_and_its_loss_are_one_region():
    """Picking the target's log-probability, and the gradient of that, need nothing in memory."""
    n, c = 8, 10
    x, target = x_(n, c), ir.input((n, 1), dtypes.int64)
    d = node("sub", x, keep(node("max", x, axes=(1,))))
    e = node("exp", d)
    total = node("sum", e, axes=(1,))
    logp = node("sub", d, keep(node("log", total)))
    loss = node("neg", node("gather", logp, target, axis=1))
    zeros = node("expand", scalar(0.0), shape=(n, c))
    hot = node("scatter_add", zeros, target, node("expand", scalar(1.0), shape=(n, 1)), axis=1)
    gradient = node("sub", node("div", e, keep(total)), hot)
    (region,) = plan(loss, gradient)
    assert region.outputs == (region.outputs[0], region.outputs[1])


def test_as_many_passes_over_a_row_as_it_takes():
    """Softmax of a layer norm and its gradient: seven reductions, each waiting for the last."""
    x = y = x_(64, 128)
    for _ in range(7):
        y = node("sub", y, keep(node("sum", node("exp", y), axes=(1,))))
    (region,) = plan(y)
    assert region.inputs == (x,)


def test_reductions_over_different_axes_are_apart():
    x = node("exp", x_(8, 16))
    rows, columns = node("sum", x, axes=(1,)), node("sum", x, axes=(0,))
    assert len(plan(rows, columns).regions) == 2


def test_gates_are_sliced_out_of_nothing():
    """Four readers of four parts: the sum of the products is computed where it is read."""
    a, b = x_(8, 64), x_(8, 64)
    gates = node("add", a, b)

    def gate(i):
        return node("slice", gates, start=(0, 16 * i), stop=(8, 16 * i + 16), step=(1, 1))

    names_ = ["sigmoid", "sigmoid", "tanh", "sigmoid"]
    i, f, g, o = (node(name, gate(k)) for k, name in enumerate(names_))
    c = node("add", node("mul", f, x_(8, 16)), node("mul", i, g))
    (region,) = plan(c, node("mul", o, node("tanh", c)))
    assert gates not in region.outputs


def test_masks_are_computed_where_they_are_used():
    i, j = (node("iota", shape=(8, 8), axis=a, dtype=dtypes.int64) for a in (0, 1))
    mask = node("ge", i, j)
    x, w = x_(8, 8), x_(8, 8)
    scores = node("dot_general", x, w, contract=((1,), (1,)), batch=((), ()))
    y = node("where", mask, scores, scalar(float("-inf")))
    again = node("where", mask, node("exp", x), scalar(0.0))
    assert all(mask not in r.outputs for r in plan(y, again))


def test_a_value_is_computed_again_from_one_of_its_size_and_one_number_a_row():
    x, w, v = x_(256, 64), x_(64, 64), x_(64, 64)
    product = node("dot_general", x, w, contract=((1,), (0,)), batch=((), ()))
    mean = node("reshape", node("sum", product, axes=(1,)), shape=(256, 1))
    centred = node("sub", product, mean)
    y = node("dot_general", node("exp", centred), v, contract=((1,), (0,)), batch=((), ()))
    made = plan(node("mul", y, centred))
    assert all(centred not in region.outputs for region in made)
    assert {product, y} < set(made.regions[-1].inputs)


def test_concat_computes_its_parts():
    x = x_(4, 4)
    y = node("concat", node("exp", x), node("neg", x), axis=0)
    assert len(plan(y).regions) == 1


def test_equal_work_on_one_value_is_shared():
    x = x_(64, 64)
    mean, square = node("sum", x, axes=(1,)), node("sum", node("mul", x, x), axes=(1,))
    assert len(plan(mean, square).regions) == 1


def test_outputs_that_are_inputs_views_or_literals():
    x = x_(3, 4)
    made = plan(x, node("permute", x, axes=(1, 0)), scalar(2.0), node("reshape", x, shape=(12,)))
    assert all(r.kind == LOOP for r in made)


def test_complex_numbers_leave_real_ones_to_kernels():
    x = x_(3, 3)
    z = node("cast", node("exp", x), dtype=dtypes.complex64)
    y = node("neg", node("abs", node("mul", z, z)))
    assert [r.kind for r in plan(y)] == [LOOP, HOST, HOST, HOST, LOOP]


def test_host_calls_stand_alone():
    x = x_(3, 3)
    call = node("custom_call", node("exp", x), function=len, types=(((3, 3), F),))
    y = node("neg", node("result", call, index=0))
    assert [r.kind for r in plan(y)] == [LOOP, HOST, LOOP]


def test_products_read_views():
    x, w = x_(3, 4), x_(5, 4)
    y = node(
        "dot_general", node("permute", x, axes=(1, 0)), w, contract=((0,), (1,)), batch=((), ())
    )
    (region,) = plan(y)
    assert {v.op.name for v in region.nodes} & VIEWS


def deep(layers: int) -> Graph:
    x, h = x_(8, 8), x_(8, 8)
    graph_inputs, w = [x, h], x_(8, 8)
    for _ in range(layers):
        y = node("dot_general", h, w, contract=((1,), (0,)), batch=((), ()))
        y = node("tanh", node("add", y, x))
        total = keep(node("sum", y, axes=(1,)))
        h = node("add", node("mul", y, scalar(0.5)), node("div", h, total))
    return Graph([*graph_inputs, w], [h])


@pytest.mark.parametrize("layers", [300])
def test_time_is_nearly_linear(layers):
    def seconds(n):
        graph = deep(n)
        start = time.process_time()
        fuse(graph)
        return time.process_time() - start

    seconds(10)
    assert min(seconds(4 * layers), seconds(4 * layers)) < 12 * max(seconds(layers), 0.05)
