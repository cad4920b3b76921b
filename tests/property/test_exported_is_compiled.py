"""An exported program computes what the compiled one does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, reject, settings

import graphgrad as gg
from graphgrad.config import config

from .random_programs import programs
from .test_compiled_is_eager import OPERATIONS, Traceable


def _program(seed, steps):
    machine = Traceable(gg, seed, np.float32)
    leaves = machine.leaves
    # Arguments only: a tensor that is reached from around the function as well is refused.
    machine.leaves, machine.pool = [], []

    def body(*leaves):
        machine.pool = [*leaves]
        for step in steps:
            machine.execute(*step)
        return machine.pool[len(leaves) :]

    return body, leaves


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs([op for op in OPERATIONS if op != "hook"], length=8))
def test_exported_is_compiled(plain_module, program):
    body, leaves = _program(*program)
    arrays = [x.detach().numpy().copy() for x in leaves]
    with tempfile.TemporaryDirectory() as folder, config.scope(tier="interpret"):
        try:
            path = gg.export(gg.compile(body), Path(folder) / "program.py", *leaves)
        except (gg.TraceError, NotImplementedError):
            reject()
        expected = gg.compile(body)(*leaves)
        with np.errstate(all="ignore"):
            found = plain_module(path).body(*arrays)
    for x, y in zip(expected, found, strict=True):
        x = x.detach().numpy()
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-5)
    for x, y in zip(leaves, arrays, strict=True):
        np.testing.assert_allclose(y, x.detach().numpy(), rtol=1e-4, atol=1e-5)
