"""Scans that do less compute the same."""

import numpy as np

from graphgrad import dtypes, interpret, ir, lang
from graphgrad.autodiff import vjp_nodes
from graphgrad.ir import Graph, node
from graphgrad.passes.cse import cse
from graphgrad.passes.dce import dce
from graphgrad.passes.inward import take_in
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


def test_a_backward_scan_computes_nothing_dear_again():
    after = dce(shorten_scans(dce(cse(rnn_gradient()))))
    forward, backward = scans(after)
    names = [x.op.name for x in backward.attrs["body"].nodes]
    assert "tanh" not in names and "tanh" in [x.op.name for x in forward.attrs["body"].nodes]


def test_cotangents_nobody_gives_are_no_operands():
    h, x = tensor(4), tensor(4)
    new = node("mul", node("sin", h), x)
    operands = tensor(4), tensor(5, 4)
    attrs = {"carries": 1, "sequences": 1, "length": 5, "reverse": False}
    scan = node("scan", *operands, body=Graph([h, x], [new, new, h]), **attrs)
    last = lang.result(scan, 0)
    grads = vjp_nodes([last], [lang.full((4,), 1.0, F)], operands)
    (backward,) = [x for x in scans(Graph(operands, grads)) if x.attrs["reverse"]]
    assert backward.attrs["sequences"] == 2  # the carry's history and x


def taken_in(build, *shapes, carry=(3, 4), length=5):
    """A scan over what ``build`` makes of inputs, before and after; the scan after."""
    inputs = [tensor(*carry), *(tensor(*s) for s in shapes)]
    sequences, constants, step = build(*inputs[1:])
    inner = [tensor(*carry), *(tensor(*s.shape[1:]) for s in sequences)]
    inner += [tensor(*k.shape) for k in constants]
    new = node("tanh", step(*inner))
    attrs = {"carries": 1, "sequences": len(sequences), "length": length, "reverse": True}
    scan = node("scan", inputs[0], *sequences, *constants, body=Graph(inner, [new, new]), **attrs)
    before = Graph(inputs, [lang.result(scan, 0), lang.result(scan, 1)])
    after = take_in(before)
    agree(before, after)
    (scan,) = scans(after)
    return scan


def test_a_cheap_operand_is_computed_at_each_step():
    def build(z, b, row):
        first = node("add", node("add", z, b), lang.reshape(row, (1, 3, 4)))
        return [first], [], lambda h, x: node("mul", h, x)

    scan = taken_in(build, (5, 3, 4), (4,), (3, 4))
    assert [x.shape for x in scan.inputs] == [(3, 4), (5, 3, 4), (4,), (3, 4)]


def test_a_sequence_of_equal_rows_is_a_constant():
    def multiplied(h, *factors):
        for f in factors:
            h = node("mul", h, f)
        return h

    def build(x, y):
        wide = lang.expand(x, (5, 3, 4)), lang.expand(y, (5, 3, 4))
        return [*wide, lang.full((5, 3, 4), 2.0, F)], [], multiplied

    scan = taken_in(build, (4,), (1, 3, 1))
    assert scan.attrs["sequences"] == 0
    assert [x.shape for x in scan.inputs] == [(3, 4), (4,), (3, 1)]


def test_a_transposed_weight_is_viewed_inside_but_no_transposed_summand():
    def build(w, m):
        views = lang.permute(w, (1, 0)), lang.permute(m, (1, 0))

        def step(h, w, m):
            return node("add", lang.dot_general(h, w, ((1,), (0,))), m)

        return [], list(views), step

    scan = taken_in(build, (4, 4), (4, 3))
    weight, summand = scan.inputs[1:]
    assert weight.op.name == "input" and summand.op.name == "permute"


def test_operands_that_nobody_reads_are_dropped():
    def build(x, y, w):
        return [x, y], [w], lambda h, x, y, w: node("add", h, y)

    scan = taken_in(build, (5, 3, 4), (5, 3, 4), (2,))
    assert len(scan.inputs) == 2


def test_what_is_written_anyway_is_read():
    x = tensor(5, 4)
    doubled = node("add", x, x)
    h, d = tensor(4), tensor(4)
    body = Graph([h, d], [node("mul", h, d)])
    start = tensor(4)
    attrs = {"carries": 1, "sequences": 1, "length": 5, "reverse": False}
    scan = node("scan", start, doubled, body=body, **attrs)
    graph = Graph([start, x], [lang.result(scan, 0), doubled])
    assert take_in(graph) is graph
