"""A trace is a graph of what Python did: writes are functional, nothing outside changes."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import interpret
from graphgrad.ir import Graph
from graphgrad.trace import Trace, suspended


def traced(function, *arrays):
    """Trace ``function`` over inputs like ``arrays``, run the graph: results, graph, trace."""
    tensors = [gg.tensor(a) for a in arrays]
    with Trace() as trace:
        inputs = [trace.input(x.shape, x.dtype) for x in tensors]
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        nodes = [trace.node(y) for y in outputs]
        leading = [trace.node(x) for x in inputs]
    graph = Graph([*leading, *(n for _, n in trace.captured)], nodes).verify()
    values = [x.numpy() for x in tensors] + [t.detach().numpy() for t, _ in trace.captured]
    return interpret.run(graph, values), graph, trace


def assert_same(function, *arrays):
    """The traced function gives what the eager one gives."""
    results, graph, _ = traced(function, *arrays)
    expected = function(*(gg.tensor(a) for a in arrays))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-5, atol=1e-6)
    return graph


A = np.arange(6, dtype=np.float32).reshape(2, 3) / 4


def _fill_rows(x):
    out = gg.zeros(3, 2)
    for i in range(3):
        out[i] = x[:, i] * (i + 1)
    return out


def _write_through_views(x):
    y = x * 1
    flat, turned = y.view(-1), y.t()
    turned[0] += 10
    flat[1::2] *= 2
    y.add_(1)
    return y, flat, turned


def _detached(x):
    y = x.clone()
    y.detach()[0].zero_()
    return y


PROGRAMS = {
    "arithmetic": lambda x: (x * 2 + x.sin()).sum(1),
    "views": lambda x: x.t().reshape(-1)[1:4].unsqueeze(0),
    "fill rows": _fill_rows,
    "writes through views": _write_through_views,
    "detached alias": _detached,
    "creation": lambda x: x + gg.arange(3) + gg.ones(2, 1) + gg.tensor([1.0, 2.0, 3.0]),
    "masks": lambda x: x.masked_fill(x > 0.5, 0.0) + gg.where(x > 1, x, 1.0),
    "mask assignment": lambda x: x.clone().index_put((gg.tensor([0, 1]),), gg.ones(2, 3)),
    "indexing": lambda x: x[gg.tensor([1, 0]), gg.tensor([2, 2])],
    "sorting": lambda x: (*x.sort(1, descending=True), x.topk(2).values),
    "composites": lambda x: gg.nn.functional.log_softmax(x, -1),
    "in place": lambda x: x.clone().add_(1).mul_(x).clamp_(max=2).relu_(),
    "matmul": lambda x: x @ x.t(),
    "triangles": lambda x: x.tril() + x.triu(1),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_traced_means_eager(name):
    assert_same(PROGRAMS[name], A)


def test_tensors_from_outside_are_captured_once():
    w = gg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    view = w[1:]
    results, _, trace = traced(lambda x: x + w + view.sum(), A)
    assert [t for t, _ in trace.captured] == [w]
    assert trace.captured[0][1].attrs["role"] == "parameter"
    np.testing.assert_allclose(results[0], A + np.arange(6, 9))


def test_writes_to_outside_tensors_are_logged_not_done():
    count, buffer = gg.zeros(()), gg.zeros(2, 2)
    row = buffer[0]

    def step(x):
        count.add_(1)
        row.copy_(x[0, :2])
        return buffer + count

    results, _, trace = traced(step, A)
    assert count.item() == 0 and buffer.sum().item() == 0
    assert [t for t, _ in trace.mutated] == [count, buffer]
    np.testing.assert_allclose(results[0], np.array([[0, 0.25], [0, 0]]) + 1)


def test_backward_inside_a_trace():
    w = gg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def step(x):
        w.grad = None
        (x * w * w).sum().backward()
        return w.grad * 1

    results, _, trace = traced(step, A)
    np.testing.assert_allclose(results[0], 2 * w.detach().numpy() * A.sum(0))
    assert list(trace.grads) == [w] and trace.grads[w] is not None
    assert w.grad is None and trace.grad_reads == {}


def test_reading_a_gradient_is_noted():
    w = gg.tensor([1.0], requires_grad=True)
    w.grad = gg.tensor([5.0])
    _, _, trace = traced(lambda x: x.sum() + w.grad, A)
    assert trace.grad_reads == {w: w.grad}


def test_gradients_of_gradients_inside_a_trace():
    def step(x):
        (g,) = gg.autograd.grad((x**3).sum(), x, create_graph=True)
        (h,) = gg.autograd.grad(g.sum(), x)
        return g, h

    def program(x):
        x.requires_grad_()
        return step(x)

    results, _, _ = traced(program, A)
    np.testing.assert_allclose(results[0], 3 * A**2, rtol=1e-6)
    np.testing.assert_allclose(results[1], 6 * A, rtol=1e-6)


VALUES = {
    "bool": lambda x: bool(x.sum() > 0),
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "print": lambda x: repr(x),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "contains": lambda x: 1.0 in x,
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_asked_for_in_vain(name):
    with pytest.raises(gg.TraceError) as error:
        traced(VALUES[name], A)
    assert len(str(error.value).split("\n")) <= 10
    assert "test_trace.py" in str(error.value)


def test_tracers_die_with_their_trace():
    kept = []
    traced(lambda x: kept.append(x) or x, A)
    with pytest.raises(gg.TraceError, match="after its trace has ended"):
        kept[0] + 1
    with pytest.raises(gg.TraceError, match="after its trace has ended"):
        kept[0].numpy()


def test_records_from_outside_are_refused():
    w = gg.tensor([1.0], requires_grad=True)
    loss = (w * w).sum()
    with pytest.raises(gg.TraceError, match="recorded outside"):
        traced(lambda x: loss.backward() or x, A)


def test_suspended_code_is_eager():
    def step(x):
        with suspended():
            assert gg.ones(2).sum().item() == 2
        return x * 2

    assert_same(step, A)


def test_random_state_is_an_input_that_is_written():
    gg.manual_seed(3)
    results, _, trace = traced(lambda x: x + gg.randn(2, 3), A)
    state = gg.default_generator.state
    assert [t for t, _ in trace.mutated] == [state]
    gg.manual_seed(3)
    np.testing.assert_allclose(results[0], (gg.tensor(A) + gg.randn(2, 3)).numpy(), rtol=1e-6)


def test_run_time_numbers():
    rate = [0.5]
    with Trace() as trace:
        x = trace.input((2,), gg.float32)
        y = trace.node(x * trace.scalar(lambda: rate[0]))
        ((getter, node),) = trace.scalars
        graph = Graph([trace.node(x), node], [y])
    rate[0] = 3.0
    arrays = [np.ones(2, np.float32), np.asarray(getter(), np.float32)]
    assert interpret.run(graph, arrays)[0].tolist() == [3, 3]


# --------------------------------------------------------------------------------- control flow


def test_scan_cond_and_while_eagerly_and_traced():
    def program(x):
        w = gg.tensor([2.0, 1.0, 0.5])
        carry, ys = gg.scan(lambda c, row: (c * w + row, c.sum()), gg.zeros(3), x)
        back, _ = gg.scan(lambda c, row: (c - row, c), gg.zeros(3), x, reverse=True)
        chosen = gg.cond(x.sum() > 0, lambda v: v * 2, lambda v: v - 1, (x,))
        n, grown = gg.while_loop(
            lambda n, v: (v < 100).all(), lambda n, v: (n + 1, v * 2), (gg.tensor(0), x + 1)
        )
        return carry, ys, back, chosen, n, grown

    graph = assert_same(program, A)
    assert sum(x.op.name == "scan" for x in graph) == 2


def test_gradient_of_a_scan_is_that_of_the_loop():
    def scanned(w, x):
        return gg.scan(lambda c, row: ((c * w + row).tanh(), c), gg.zeros(3), x)[0]

    def looped(w, x):
        c = gg.zeros(3)
        for row in x:
            c = (c * w + row).tanh()
        return c

    grads = []
    for f in (scanned, looped):
        w = gg.tensor([0.5, 0.1, -0.3], requires_grad=True)
        x = gg.tensor(A, requires_grad=True)
        f(w, x).sum().backward()
        grads.append((w.grad.numpy(), x.grad.numpy()))
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_bodies_cannot_write_outside():
    count = gg.zeros(())
    with pytest.raises(gg.TraceError, match="writes in place to a tensor from outside"):
        gg.scan(lambda c, x: (c, count.add_(1)), gg.zeros(()), gg.ones(3))
