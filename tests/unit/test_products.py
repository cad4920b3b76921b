"""Products without engine kernels mean the same after they are written out."""

import numpy as np
import pytest

from graphgrad import dtypes, interpret, ir
from graphgrad.ir import Graph
from graphgrad.passes.products import plain_products

CASES = {
    "matrices": ((3, 4), (4, 5), ((1,), (0,)), ((), ())),
    "batched": ((2, 3, 4), (4, 2, 5), ((2,), (0,)), ((0,), (1,))),
    "two contracted": ((2, 3, 4), (3, 5, 4), ((1, 2), (0, 2)), ((), ())),
    "vectors": ((4,), (4,), ((0,), (0,)), ((), ())),
    "outer": ((3,), (4,), ((), ()), ((), ())),
}


@pytest.mark.parametrize("dtype", [dtypes.int64, dtypes.uint8, dtypes.float16, dtypes.bool_])
@pytest.mark.parametrize("case", CASES)
def test_products_are_written_out(case, dtype):
    left, right, contract, batch = CASES[case]
    a, b = ir.input(left, dtype), ir.input(right, dtype)
    graph = Graph([a, b], [ir.node("dot_general", a, b, contract=contract, batch=batch)])
    plain = plain_products(graph).verify()
    left_over = [x.dtype for x in plain if x.op.name == "dot_general"]
    assert left_over == ([dtypes.float32] if dtype is dtypes.float16 else [])
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 4, x.shape).astype(dtype.numpy) for x in graph.inputs]
    (expected,), (actual,) = interpret.run(graph, arrays), interpret.run(plain, arrays)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def test_engine_products_stay():
    a, b = ir.input((3, 4), dtypes.float32), ir.input((4, 5), dtypes.float32)
    dot = ir.node("dot_general", a, b, contract=((1,), (0,)), batch=((), ()))
    assert plain_products(Graph([a, b], [dot])).outputs == (dot,)


def test_outer_products_are_elementwise():
    a, b = ir.input((3, 1), dtypes.float32), ir.input((1, 5), dtypes.float32)
    dot = ir.node("dot_general", a, b, contract=((1,), (0,)), batch=((), ()))
    plain = plain_products(Graph([a, b], [dot])).verify()
    assert {x.op.name for x in plain} == {"input", "permute", "reshape", "mul"}
    arrays = [np.arange(3, dtype=np.float32)[:, None], np.arange(5, dtype=np.float32)[None]]
    np.testing.assert_array_equal(interpret.run(plain, arrays)[0], arrays[0] @ arrays[1])


@pytest.mark.parametrize(("stride", "loops"), [(1, False), (2, True)])
def test_a_vector_times_columns_apart_in_memory_is_a_loop(stride, loops):
    x, w = ir.input((2, 3, 9, 9), dtypes.float64), ir.input((3, 3, 3), dtypes.float64)
    attrs = {"axes": (2, 3), "size": (3, 3), "stride": (stride,) * 2, "dilation": (1, 1)}
    view = ir.node("window", x, **attrs)
    contract, batch = ((1, 2), (4, 5)), ((0,), (1,))
    graph = Graph([x, w], [ir.node("dot_general", w, view, contract=contract, batch=batch)])
    plain = plain_products(graph).verify()
    assert ("dot_general" not in [y.op.name for y in plain]) is loops
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(y.shape) for y in graph.inputs]
    expected, actual = (interpret.run(g, arrays)[0] for g in (graph, plain))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
