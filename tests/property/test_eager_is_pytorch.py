"""As written, a program means what it means in PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphgrad

from .random_programs import programs, run

torch = pytest.importorskip("torch")


def assert_same(ours, theirs):
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert a == b if isinstance(b, str) else a == pytest.approx(b, rel=1e-4, abs=1e-5)
    assert ours[3] == theirs[3]
    for a, b in zip(ours[1] + ours[2], theirs[1] + theirs[2], strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_programs(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(run(graphgrad, program), run(torch, program))


@pytest.mark.slow
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(length=25))
def test_many_long_random_programs(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(run(graphgrad, program), run(torch, program))
