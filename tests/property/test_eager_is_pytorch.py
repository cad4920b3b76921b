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
    """Equal in everything a user sees; but a gradient that PyTorch refuses may be right here."""
    refused = any("backward: error" in str(line) for line in theirs[0])
    logs = [[x for x in log if "backward" not in str(x)] for log in (ours[0], theirs[0])]
    for a, b in zip(*(logs if refused else (ours[0], theirs[0])), strict=True):
        assert a == b if isinstance(b, str) else a == pytest.approx(b, rel=1e-4, abs=1e-5)
    assert ours[3] == theirs[3]
    observed = (1,) if refused else (1, 2)
    for a, b in ((a, b) for k in observed for a, b in zip(ours[k], theirs[k], strict=True)):
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
