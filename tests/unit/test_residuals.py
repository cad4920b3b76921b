"""What a backward pass finds in memory: the least bytes, and the same numbers."""

import numpy as np
import pytest

from graphgrad import dtypes, errors, interpret, ir
from graphgrad.autodiff import vjp_nodes
from graphgrad.ir import Graph
from graphgrad.passes import residuals
from graphgrad.passes.fuse import fuse
from graphgrad.passes.residuals import Residuals, backward_nodes, keep_residuals
from graphgrad.passes.schedule import peak_bytes, schedule

ROWS, WIDTH = 256, 64


@pytest.fixture(autouse=True)
def everything_counts(monkeypatch):
    """Small graphs are cut as large ones are."""
    monkeypatch.setattr(residuals, "WORTH_IT", 0)
    monkeypatch.setattr(residuals, "SMALL", 4 * ROWS)


def matrix(name, shape=(ROWS, WIDTH)):
    return ir.input(shape, dtypes.float32, name)


def product(a, b):
    return ir.node("dot_general", a, b, contract=((1,), (0,)), batch=((), ()))


def gated(x):
    """x · sigmoid(x): its gradient needs x, the product after it its result."""
    return ir.node("mul", x, ir.node("sigmoid", x))


def normalised(x):
    mean = ir.node("mul", ir.node("sum", x, axes=(1,)), ir.node("scalar", **scalar(1 / WIDTH)))
    return ir.node("sub", x, spread(mean))


def scalar(value):
    return {"value": value, "dtype": dtypes.float32}


def spread(row):
    column = ir.node("reshape", row, shape=(ROWS, 1))
    return ir.node("expand", column, shape=(ROWS, WIDTH))


def trained(loss_of, *weights):
    """The graph of a loss and of its gradients, traced as a user's program is."""
    before = ir.set_origin(lambda: errors.Origin(compile("", "user.py", "exec"), 0))
    try:
        x = matrix("x")
        y = loss_of(x, *weights)
        loss = ir.node("sum", y, axes=(0, 1))
        grads = vjp_nodes([loss], [ir.node("scalar", **scalar(1.0))], [x, *weights])
    finally:
        ir.set_origin(before)
    return Graph([x, *weights], [loss, *grads])


def perceptron(activation, depth=4):
    weights = [matrix(f"w{i}", (WIDTH, WIDTH)) for i in range(depth)]

    def forward(x, *weights):
        for w in weights:
            x = activation(product(x, w))
        return x

    return trained(forward, *weights)


def read_late(found):
    """The large forward values that the backward pass reads."""
    late = found.late or backward_nodes(found.graph)
    reads = residuals._read_by(late, found.graph)
    return [x for x in reads if x.nbytes > residuals.SMALL]


def arrays(graph):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(x.shape).astype(np.float32) / 8 for x in graph.inputs]


def assert_same(a, b):
    for x, y in zip(interpret.run(a, arrays(a)), interpret.run(b, arrays(a)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("activation", [gated, lambda x: gated(normalised(x))])
def test_one_value_a_layer_is_kept(activation):
    graph = perceptron(activation, depth=4)
    kept = keep_residuals(graph)
    assert len(read_late(Residuals(graph))) >= 8
    assert len(read_late(kept)) == 4
    assert kept.again and kept.late >= kept.again
    kept.graph.verify()
    assert_same(graph, kept.graph)


def test_what_is_small_stays_as_it_is(monkeypatch):
    graph = perceptron(gated)
    monkeypatch.setattr(residuals, "WORTH_IT", 1 << 30)
    assert keep_residuals(graph).graph is graph


def test_a_forward_pass_alone_is_left_alone():
    x = matrix("x")
    graph = Graph([x], [gated(normalised(x))])
    assert keep_residuals(graph).graph is graph


def test_a_sum_of_two_products_is_kept_itself():
    def forward(x, w, v):
        both = ir.node("add", product(x, w), product(x, v))
        return gated(both)

    graph = trained(forward, matrix("w", (WIDTH, WIDTH)), matrix("v", (WIDTH, WIDTH)))
    assert [x.op.name for x in read_late(keep_residuals(graph))] == ["add"]


def test_outputs_are_never_made_twice():
    graph = perceptron(gated)
    kept_anyway = [x for x in read_late(Residuals(graph)) if x.op.name == "mul"]
    longer = Graph(graph.inputs, [*graph.outputs, *kept_anyway])
    found = keep_residuals(longer)
    assert set(kept_anyway) <= set(found.graph.outputs)
    assert_same(longer, found.graph)


def test_long_chains_are_not_repeated():
    def forward(x, w):
        x = product(x, w)
        for _ in range(20):
            x = ir.node("sin", x)
        return product(x, w)

    graph = trained(forward, matrix("w", (WIDTH, WIDTH)))
    kept = {x.op.name for x in read_late(keep_residuals(graph))}
    assert kept & {"sin", "cos"}
    assert_same(graph, keep_residuals(graph).graph)


def test_what_is_repeated_waits_for_the_backward_pass(monkeypatch):
    graph = perceptron(lambda x: gated(normalised(x)), depth=8)
    peak = peak_bytes(schedule(fuse(graph)))
    monkeypatch.setattr(residuals, "WORTH_IT", 1 << 40)
    assert peak <= 0.7 * peak_bytes(schedule(fuse(graph)))
