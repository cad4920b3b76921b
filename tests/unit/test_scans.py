"""Scans that do less compute the same."""

import numpy as np

from graphgrad import dtypes, interpret, ir, lang
from graphgrad.autodiff import vjp_nodes
from graphgrad.ir import Graph, node
from graphgrad.passes.cse import cse
from graphgrad.passes.dce import dce
from graphgrad.passes.scans import merge_scans, shorten_scans, sum_afterwards

F = dtypes.float32


def tensor(*shape):
    return ir.input(shape, F)


def rnn_gradient(length=5, batch=3, size=4):
    """Final state and gradients of h = tanh(x @ u + h @ w + b) over a sequence."""
    h, x, w, b = tensor(batch, size), tensor(batch, size), tensor(size, size), tensor(size)
    product = lang.dot_general(h, w, ((1,), (0,)))
    new = node("tanh", node("add", node("add", x, product), b))
    body = Graph([h, x, w, b], [new, new])
    operands = tensor(batch, size), tensor(length, batch, size), tensor(size, size), tensor(size)
    attrs = {"carries": 1, "sequences": 1, "length": length, "reverse": False}
    scan = node("scan", *operands, body=body, **attrs)
    last, stack = lang.result(scan, 0), lang.result(scan, 1)
    loss = node("add", lang.sum_(last, (0, 1)), lang.sum_(node("sin", stack), (0, 1, 2)))
    grads = vjp_nodes([loss], [lang.scalar(1.0, F)], operands)
    return Graph(operands, [loss, *grads])


def agree(before, after):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(x.shape).astype(np.float32) for x in before.inputs]
    left, right = interpret.run(before, arrays), interpret.run(after.verify(), arrays)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def scans(graph):
    return [x for x in graph.nodes if x.op.name == "scan"]


def products(graph):
    return [sum(y.op.name == "dot_general" for y in x.attrs["body"].nodes) for x in scans(graph)]


def test_a_recurrent_gradient_has_one_product_a_step_in_each_direction():
    before = dce(cse(rnn_gradient()))
    after = dce(shorten_scans(before))
    assert products(after) == [1, 1]
    assert sum(products(before)) > 2
    agree(before, after)


def test_scans_with_the_same_carries_are_one():
    h, x = tensor(3), tensor(3)
    new = node("add", h, x)
    start, xs = tensor(3), tensor(5, 3)
    attrs = {"carries": 1, "sequences": 1, "length": 5, "reverse": False}
    one = node("scan", start, xs, body=Graph([h, x], [new, new]), **attrs)
    two = node("scan", start, xs, body=Graph([h, x], [new, h, new]), **attrs)
    other = node("scan", start, xs, body=Graph([h, x], [node("sub", h, x), h]), **attrs)
    results = [lang.result(one, 1), *(lang.result(two, i) for i in (0, 1, 2))]
    graph = Graph([start, xs], [*results, lang.result(other, 1)])
    after = merge_scans(graph)
    assert len(scans(after)) == 2
    agree(graph, after)


def test_sums_are_taken_after_the_loop():
    total, bias, x = tensor(4, 4), tensor(1, 4), tensor(3, 4)
    y = node("tanh", x)
    grown = node("add", lang.dot_general(y, x, ((0,), (0,))), total)
    more = node("add", bias, lang.reshape(lang.sum_(y, (0,)), (1, 4)))
    body = Graph([total, bias, x], [grown, more])
    operands = tensor(4, 4), tensor(1, 4), tensor(5, 3, 4)
    attrs = {"carries": 2, "sequences": 1, "length": 5, "reverse": True}
    scan = node("scan", *operands, body=body, **attrs)
    graph = Graph(operands, [lang.result(scan, 0), lang.result(scan, 1)])
    after = sum_afterwards(graph)
    assert [x.attrs["carries"] for x in scans(after)] == [0]
    agree(graph, after)


def test_a_carry_that_is_read_stays():
    total, x = tensor(4), tensor(3, 4)
    grown = node("add", total, lang.sum_(node("mul", x, total), (0,)))
    operands = tensor(4), tensor(5, 3, 4)
    attrs = {"carries": 1, "sequences": 1, "length": 5, "reverse": False}
    scan = node("scan", *operands, body=Graph([total, x], [grown]), **attrs)
    graph = Graph(operands, [lang.result(scan, 0)])
    assert sum_afterwards(graph) is graph
