"""Random graphs as programs on an emulated device: they compute what the interpreter says."""

from __future__ import annotations

import numpy as np
import pytest
from graphgrad.kernels.cuda.memory import from_host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_random_graphs import random_graph

from graphgrad import interpret
from graphgrad.compile import compile_graph
from graphgrad.config import config
from graphgrad.device import device


def check(seed: int, size: int) -> None:
    graph, arrays = random_graph(seed, size)
    wanted = interpret.run(graph, arrays)
    with config.scope(cuda="emulate", tier="compiled", check=True):
        where = device("cuda:0")
        executable = compile_graph(graph, {}, eager_compile=True, device=where)
        given_ = [from_host(np.ascontiguousarray(x), device=where) for x in arrays]
        got = [y if isinstance(y, np.ndarray) else y.host() for y in executable(given_)]
    for y, right, left in zip(graph.outputs, wanted, got, strict=True):
        scale = max(1.0, float(np.abs(right).max(initial=0)))
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=2e-5 * scale, err_msg=repr(y))


@pytest.mark.parametrize("seed", range(8))
def test_some_graphs(seed):
    check(seed, 8)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_random_graphs(seed, size):
    check(seed, size)
