"""Whole graphs, compiled, against the interpreter: loops, products, control flow, state."""

import threading

import numpy as np
import pytest
from graphgrad.kernels import layout as at

from graphgrad import dtypes, interpret, ir, lang
from graphgrad.autodiff import vjp_nodes
from graphgrad.compile import Executable, compile_graph
from graphgrad.config import config
from graphgrad.errors import VerificationError
from graphgrad.ir import Graph, node

F = dtypes.float32


@pytest.fixture(autouse=True)
def _compiled_and_checked():
    with config.scope(tier="compiled", check=True):
        yield


def tensor(*shape, dtype=F, role="input"):
    return ir.input(shape, dtype, "", role)


def arrays_for(graph, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(x.shape).astype(x.dtype.numpy)
        if x.dtype.is_floating_point
        else rng.integers(0, 2, x.shape).astype(x.dtype.numpy)
        for x in graph.inputs
    ]


def check(graph, arrays=None, aliases=None, **options):
    """Compiled equals interpreted, twice; returns the Executable."""
    arrays = arrays_for(graph) if arrays is None else arrays
    expected = interpret.run(graph, [x.copy() for x in arrays])
    executable = Executable(graph, aliases, **options)
    for _ in range(2):
        actual = executable([x.copy() for x in arrays])
        for y, right, left in zip(graph.outputs, expected, actual, strict=True):
            assert (left.shape, left.dtype) == (y.shape, y.dtype.numpy) and left.flags.c_contiguous
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
    return executable


def matmul(a, b, contract=((1,), (0,)), batch=((), ())):
    return node("dot_general", a, b, contract=contract, batch=batch)


# -------------------------------------------------------------------------------- loops, products


def test_a_chain_of_operations_needs_no_interpreter():
    x, y = tensor(64, 32), tensor(32)
    z = node("tanh", node("add", node("mul", x, y), y))
    total = node("sum", z, axes=(1,))
    executable = check(Graph([x, y], [z, total]))
    assert executable.explain().interpreted == ()


PRODUCTS = {
    "matrices": ((64, 32), (32, 100), ((1,), (0,)), ((), ())),
    "batched": ((4, 8, 16), (4, 16, 5), ((2,), (1,)), ((0,), (0,))),
    "right transposed": ((8, 16), (5, 16), ((1,), (1,)), ((), ())),
    "left transposed": ((30, 4), (30, 5), ((0,), (0,)), ((), ())),
    "vectors": ((7,), (7,), ((0,), (0,)), ((), ())),
    "outer": ((3, 1), (1, 5), ((1,), (0,)), ((), ())),
    "two contracted": ((2, 3, 4, 5), (4, 5, 6), ((2, 3), (0, 1)), ((), ())),
    "nothing contracted": ((3, 0), (0, 5), ((1,), (0,)), ((), ())),
    "no rows": ((0, 4), (4, 5), ((1,), (0,)), ((), ())),
}


@pytest.mark.parametrize("dtype", [F, dtypes.float64, dtypes.int64], ids=lambda d: d.name)
@pytest.mark.parametrize("case", PRODUCTS)
def test_products(case, dtype):
    left, right, contract, batch = PRODUCTS[case]
    a, b = tensor(*left, dtype=dtype), tensor(*right, dtype=dtype)
    executable = check(Graph([a, b], [matmul(a, b, contract, batch)]))
    assert executable.explain().interpreted == ()


def convolution(x, w, stride, dilation=(1, 1)):
    """NCHW: a product over windows, permuted to NCHW."""
    window = node("window", x, axes=(2, 3), size=w.shape[2:], stride=stride, dilation=dilation)
    product = matmul(window, w, ((1, 4, 5), (1, 2, 3)))
    return node("permute", product, axes=(0, 3, 1, 2))


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_a_convolution_is_one_launch(stride):
    x, w = tensor(2, 3, 9, 11), tensor(5, 3, 3, 3)
    executable = check(Graph([x, w], [convolution(x, w, stride)]))
    report = executable.explain()
    assert report.launches == 1 and not report.interpreted


def test_a_padded_convolution_with_bias_and_relu():
    x, w, b = tensor(2, 3, 8, 8), tensor(4, 3, 3, 3), tensor(4)
    edge = (0, 0, 1, 1)
    padded = node("pad", x, low=edge, high=edge, interior=(0, 0, 0, 0), value=0.0)
    y = convolution(padded, w, (1, 1))
    zero = node("scalar", value=0.0, dtype=F)
    out = node("maximum", node("add", y, node("reshape", b, shape=(4, 1, 1))), zero)
    assert check(Graph([x, w, b], [out])).explain().interpreted == ()


def gates(*chosen):
    """Values of one loop, each of them a part of one concat or several, and read elsewhere too."""
    x = tensor(16, 96)
    pieces = [node("sin", x), node("mul", x, node("sin", x)), node("neg", node("exp", x))]
    return x, [pieces[i] for i in chosen]


@pytest.mark.parametrize("axis", [0, 1])
def test_values_of_one_loop_are_written_side_by_side(axis):
    x, pieces = gates(0, 1, 2)
    joined = node("concat", *pieces, axis=axis)
    w = tensor(*((288, 7) if axis else (96, 7)))
    executable = check(Graph([x, w], [matmul(joined, w), pieces[1]]))
    assert executable.explain().launches == 2
    again = node("concat", pieces[2], pieces[0], pieces[0], axis=axis)
    executable = check(Graph([x], [joined, again, pieces[1]]))
    assert executable.explain().launches == 1 and not executable.explain().interpreted


def test_a_concat_of_unlike_values_is_written_in_parts():
    x, pieces = gates(0, 1)
    y = tensor(16, 3)
    ends = node("slice", pieces[1], start=(0, 2), stop=(16, 9), step=(1, 1))
    results = [
        node("concat", pieces[0], y, axis=1),
        node("concat", pieces[0], ends, axis=1),
        node(
            "concat", node("sum", pieces[0], axes=(1,)), node("sum", pieces[1], axes=(1,)), axis=0
        ),
        node("concat", pieces[0], node("cos", y), axis=1),
    ]
    assert not check(Graph([x, y], [*results, pieces[1]])).explain().interpreted


def test_a_state_beside_a_concat_is_replaced_in_place():
    x, state = tensor(16, 96), tensor(16, 96)
    new = node("mul", node("add", state, x), node("sin", state))
    joined = node("concat", node("cos", new), node("mul", state, x), axis=1)
    executable = check(Graph([x, state], [joined, new]), aliases={1: 1})
    assert executable.explain().launches == 1


# ------------------------------------------------------------------------------------ control flow


def lstm_body(batch, hidden):
    h, c, x = (tensor(batch, hidden) for _ in range(3))
    w = tensor(hidden, hidden)
    gate = node("sigmoid", node("add", x, matmul(h, w)))
    new = node("add", node("mul", c, gate), node("tanh", x))
    out = node("mul", node("tanh", new), gate)
    return Graph([h, c, x, w], [out, new, out])


def lstm(length, reverse=False, batch=4, hidden=8):
    operands = [tensor(batch, hidden), tensor(batch, hidden)]
    operands += [tensor(length, batch, hidden), tensor(hidden, hidden)]
    scan = node(
        "scan",
        *operands,
        body=lstm_body(batch, hidden),
        carries=2,
        sequences=1,
        length=length,
        reverse=reverse,
    )
    return Graph(operands, [node("result", scan, index=i) for i in range(3)])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 7])
def test_scan(length, reverse):
    check(lstm(length, reverse))


def test_a_long_scan_is_the_program_of_a_short_one():
    short, long = check(lstm(8)), check(lstm(512))
    assert short.explain().kernels == long.explain().kernels
    assert len(short.program.program.rows) == len(long.program.program.rows)


def lstm_gradient(length):
    forward = lstm(length, batch=32, hidden=96)
    loss = lang.sum_(forward.outputs[2], (0, 1, 2))
    grads = vjp_nodes([loss], [lang.scalar(1.0, F)], forward.inputs)
    return Graph(forward.inputs, [loss, *grads])


def kernels_in_loops(executable):
    """The kernels of each loop's rows, in their order."""
    program = executable.program.program
    loops = [(i, row[at.AUX1]) for i, row in enumerate(program.rows) if row[0] == at.LOOP]
    return [program.names[i + 1 : i + 1 + count] for i, count in loops]


def test_a_long_gradient_runs_the_kernels_of_a_short_one_at_every_step():
    found = []
    for length in (8, 512):
        graph = lstm_gradient(length)
        values = [0.1 * x for x in arrays_for(graph)]
        executable = Executable(graph)
        expected = interpret.run(graph, values)
        for left, right in zip(executable(values), expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3 * np.abs(right).max())
        found.append(kernels_in_loops(executable))
    short, long = found
    assert short == long and [sum("contract" in x for x in rows) for rows in long] == [1, 1]


def packing(executable):
    """(rows that pack before the first loop, rows that pack in or after it)."""
    names = executable.program.program.names
    loop = next(i for i, name in enumerate(names) if name in ("scan", "while"))
    where = [i for i, name in enumerate(names) if name.startswith("pack_operand")]
    return sum(i < loop for i in where), sum(i > loop for i in where)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_what_stays_the_same_in_a_loop_is_packed_before_it(length, reverse):
    graph = lstm(length, reverse, batch=32, hidden=96)
    executable = check(graph)
    assert packing(executable) == (1, 0)
    # Packed at every call: the weights may be others by then.
    arrays = arrays_for(graph, seed=1)
    for left, right in zip(executable(arrays), interpret.run(graph, arrays), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_what_an_inner_loop_keeps_is_packed_before_that_loop():
    operands = [tensor(32, 96), tensor(32, 96), tensor(3, 32, 96), tensor(96, 96)]
    h, c, x, w = (tensor(*s) for s in ((32, 96), (32, 96), (4, 32, 96), (96, 96)))
    attrs = {"carries": 2, "sequences": 1, "reverse": False}
    inner = node("scan", h, c, x, w, body=lstm_body(32, 96), length=4, **attrs)
    outs = [node("result", inner, index=i) for i in (0, 1, 2)]
    scaled = node("mul", w, node("scalar", value=0.5, dtype=F))
    again = node("scan", *outs[:2], x, scaled, body=lstm_body(32, 96), length=4, **attrs)
    outs = [*(node("result", again, index=i) for i in (0, 1)), outs[2]]
    body = Graph([h, c, x, w], outs)
    operands[2] = tensor(3, 4, 32, 96)
    scan = node("scan", *operands, body=body, length=3, **attrs)
    executable = check(Graph(operands, [node("result", scan, index=i) for i in range(3)]))
    assert packing(executable) == (0, 2)


def test_a_while_loop_packs_before_it_too():
    n, x, w, limit = tensor(), tensor(32, 96), tensor(96, 96), tensor()
    test = Graph([n, x, w, limit], [node("lt", n, limit)])
    more = node("add", n, node("scalar", value=1.0, dtype=F))
    body = Graph([n, x, w, limit], [more, node("tanh", matmul(x, w))])
    operands = [tensor(), tensor(32, 96), tensor(96, 96), tensor()]
    loop = node("while_loop", *operands, test=test, body=body, carries=2)
    graph = Graph(operands, [node("result", loop, index=i) for i in (0, 1)])
    values = arrays_for(graph)
    values[0], values[3] = np.array(0, np.float32), np.array(5, np.float32)
    values[2] *= 0.1
    assert packing(check(graph, values)) == (1, 0)


def test_a_scan_inside_a_scan():
    c, row = tensor(), tensor(3)
    inner_c, inner_x = tensor(), tensor()
    inner = Graph([inner_c, inner_x], [node("add", inner_c, inner_x)] * 2)
    attrs = {"carries": 1, "sequences": 1, "reverse": False}
    inner_scan = node("scan", c, row, body=inner, length=3, **attrs)
    body = Graph([c, row], [node("result", inner_scan, index=i) for i in (0, 1)])
    start, rows = tensor(), tensor(4, 3)
    scan = node("scan", start, rows, body=body, length=4, **attrs)
    check(Graph([start, rows], [node("result", scan, index=i) for i in (0, 1)]))


def test_carries_that_trade_places():
    a, b, n = tensor(), tensor(), tensor()
    test = Graph([a, b, n], [node("lt", a, n)])
    body = Graph([a, b, n], [b, node("add", a, b)])
    operands = [tensor(), tensor(), tensor()]
    loop = node("while_loop", *operands, test=test, body=body, carries=2)
    graph = Graph(operands, [node("result", loop, index=i) for i in (0, 1)])
    values = [np.array(v, np.float32) for v in (0, 1, 50)]
    assert [float(y) for y in check(graph, values)(values)] == [55.0, 89.0]


@pytest.mark.parametrize("test", [False, True])
def test_cond(test):
    x = tensor(3)
    then = Graph([x], [node("exp", x), x])
    otherwise = Graph([x], [node("neg", x), node("sin", x)])
    flag, operand = tensor(dtype=dtypes.bool_), tensor(3)
    cond = node("cond", flag, operand, then=then, otherwise=otherwise)
    graph = Graph([flag, operand], [node("result", cond, index=i) for i in (0, 1)])
    check(graph, [np.array(test), np.arange(3, dtype=np.float32)])


# ----------------------------------------------------------------------------------- state, errors


def sgd(count, size=10):
    params = [tensor(size + i, role="parameter") for i in range(count)]
    grads = [tensor(size + i) for i in range(count)]
    rate = node("scalar", value=0.5, dtype=F)
    new = [node("sub", p, node("mul", g, rate)) for p, g in zip(params, grads, strict=True)]
    return Graph([*params, *grads], new)


def test_state_is_updated_in_its_own_array():
    graph = sgd(5)
    executable = Executable(graph, {i: i for i in range(5)})
    arrays = arrays_for(graph)
    expected = interpret.run(graph, [x.copy() for x in arrays])
    results = executable(arrays)
    for x, y, right in zip(arrays, results, expected, strict=False):
        assert x is y
        np.testing.assert_allclose(x, right, rtol=1e-6)


def test_equal_updates_are_one_launch():
    executable = Executable(sgd(5), {i: i for i in range(5)})
    assert executable.explain().launches == 1


def test_state_that_is_read_after_it_is_written():
    p, x = tensor(6), tensor(6)
    new = node("add", p, x)
    graph = Graph([p, x], [new, node("mul", p, node("sum", new, axes=(0,))), p])
    arrays = arrays_for(graph)
    expected = interpret.run(graph, [a.copy() for a in arrays])
    results = Executable(graph, {0: 0})(arrays)
    assert results[0] is arrays[0]
    for left, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6)


def test_a_bad_index_raises_at_the_users_line_and_commits_nothing():
    table, index, p = tensor(10, 1), tensor(3, 1, dtype=dtypes.int64), tensor(4)
    before = ir.set_origin(lambda: __import__("graphgrad.errors").errors.here())
    try:
        picked = node("gather", table, index, axis=0)
    finally:
        ir.set_origin(before)
    graph = Graph([table, index, p], [node("neg", p), picked])
    arrays = arrays_for(graph)
    executable = Executable(graph, {0: 2})
    good = arrays[2].copy()
    arrays[1][1] = 12
    with pytest.raises(IndexError, match=r"index 12 is out of bounds.*test_build\.py"):
        executable(arrays)
    np.testing.assert_array_equal(arrays[2], good)
    arrays[1][1] = 9
    np.testing.assert_array_equal(executable(arrays)[1], arrays[0][arrays[1][:, 0]])
    np.testing.assert_array_equal(arrays[2], -good)


def test_a_custom_call_runs_in_python():
    x = tensor(3, 3)
    call = node("custom_call", x, function=lambda a: (np.linalg.inv(a),), types=(((3, 3), F),))
    y = node("add", node("result", call, index=0), x)
    arrays = [np.eye(3, dtype=np.float32) * 2]
    executable = check(Graph([x], [y]), arrays)
    assert len(executable.explain().interpreted) == 1


def test_outputs_that_are_inputs_constants_and_repeated():
    x = tensor(4)
    constant = node("constant", array=ir.Constant(np.arange(3.0, dtype=np.float32)))
    y = node("exp", x)
    scalar = node("scalar", value=2.5, dtype=F)
    check(Graph([x], [x, y, y, constant, scalar, node("reshape", y, shape=(2, 2))]))


def test_donated_inputs_may_be_overwritten():
    x = tensor(1000)
    graph = Graph([x], [node("sum", node("cumsum", node("exp", x), axis=0), axes=(0,))])
    check(graph, donated=(0,))


def test_threads_share_an_executable():
    executable = Executable(lstm(20))
    inputs = [arrays_for(executable.graph, seed) for seed in range(4)]
    expected = [interpret.run(executable.graph, x) for x in inputs]
    wrong = []

    def work(seed):
        for _ in range(20):
            for left, right in zip(executable(inputs[seed]), expected[seed], strict=True):
                if not np.allclose(left, right, rtol=1e-4, atol=1e-5):
                    wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -------------------------------------------------------------------------------------------- tiers


def test_auto_promotes_after_some_calls():
    graph = sgd(1)
    with config.scope(tier="auto", promote_after=2):
        executable, eager = Executable(graph), Executable(graph, eager_compile=True)
        arrays = arrays_for(graph)
        assert eager.ready() is not None
        for _ in range(2):
            assert executable.ready() is None
            executable(arrays)
        assert executable.ready() is executable.program


def test_equal_graphs_share_an_executable():
    assert compile_graph(sgd(2)) is compile_graph(sgd(2))
    assert compile_graph(sgd(2)) is not compile_graph(sgd(2), {0: 0})


def test_verify_finds_the_region_that_differs(monkeypatch):
    x = tensor(8)
    good, bad = node("exp", x), node("cumsum", node("exp", x), axis=0)
    graph = Graph([x], [good, bad])
    with config.scope(tier="verify"):
        Executable(graph)(arrays_for(graph))
        rule = interpret.RULES["cumsum"]
        monkeypatch.setitem(interpret.RULES, "cumsum", lambda x, axis: 2 * rule(x, axis))
        with pytest.raises(VerificationError, match="cumsum"):
            Executable(graph)(arrays_for(graph))


def test_a_recorded_compilation_keeps_every_stage():
    executable = compile_graph(sgd(1), record=True)
    executable.optimised.verify()
    assert [name for name, _ in executable.trace][:2] == ["traced", "dce"]
