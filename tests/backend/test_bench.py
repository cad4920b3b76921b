"""Measurements in processes of their own, of a program small enough to wait for."""

from __future__ import annotations

import sys

import pytest

from graphgrad.bench import cold, memory, scaling
from graphgrad.bench.fresh import in_process


def test_a_second_process_compiles_nothing():
    (row,) = cold.run(["sin"], peers=(), threads=1).rows
    first, second = row.starts["compiled"]["first"], row.starts["compiled"]["second"]
    assert first.kernels > 0 and second.kernels == 0
    assert 0 < second.step < first.step and second.imports > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_needs_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHGRAD_CACHE_DIR", str(tmp_path))
    (row,) = memory.run(["gelu"], threads=1).rows
    # x, b and both gradients: 16 MiB each.
    assert row.planned >= 4 * 4 * 2048**2
    assert row.growth["compiled"] >= row.planned


def test_one_thread_and_two():
    (row,) = scaling.run(["own layer"], threads=2).rows
    assert set(row.seconds["compiled"]) == {1, 2}
    assert all(0 < seconds < 1 for seconds in row.seconds["compiled"].values())


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no workload is called"):
        in_process("first_step", workload="no such thing", label="written", threads=1)
