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
