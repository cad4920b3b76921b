"""A profile names every row, counts its work, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from graphgrad.kernels.profile import recording

import graphgrad as gg
from graphgrad.bench.profiling import profile
from graphgrad.bench.workload import Workload


def program_of(function):
    ((entry,),) = function.entries.values()
    return entry.executable.program


def test_work_is_what_the_shapes_say():
    a, b = gg.randn(30, 40), gg.randn(40, 50)

    @gg.compile
    def product():
        return (a @ b).relu()

    product()
    compiled = program_of(product)
    with recording(compiled) as record:
        results = [product() for _ in range(3)]
    rows = record.rows()
    assert [row.row for row in rows] == list(range(len(compiled.program.rows)))
    assert sum(row.flops for row in rows) >= 2 * 30 * 40 * 50
    (contraction,) = (row for row in rows if row.flops >= 2 * 30 * 40 * 50)
    assert contraction.nbytes == 4 * (30 * 40 + 40 * 50 + 30 * 50)
    assert all(row.seconds > 0 and row.runs == 1 for row in rows)
    assert compiled.runner is record.runner
    for result in [*results, product()]:
        np.testing.assert_array_equal(result.numpy(), results[0].numpy())


def test_only_the_slice_that_is_read_counts():
    x = gg.randn(64, 100)

    @gg.compile
    def part():
        return x[:8].exp()

    part()
    with recording(program_of(part)) as record:
        part()
    assert sum(row.nbytes for row in record.rows()) == 2 * 8 * 100 * 4


def test_rows_of_a_loop_count_every_trip():
    w = gg.randn(6, 6) * 0.1

    @gg.compile
    def states(xs):
        def step(h, x):
            h = gg.tanh(h @ w + x)
            return h, h

        return gg.scan(step, gg.zeros(4, 6), xs)[1]

    xs = gg.randn(12, 4, 6)
    expected = states(xs).numpy().copy()
    with recording(program_of(states)) as record:
        np.testing.assert_array_equal(states(xs).numpy(), expected)
    inner = [row for row in record.rows() if row.runs == 12]
    assert sum(row.flops for row in inner) >= 12 * 2 * 4 * 6 * 6


def test_a_failing_call_gives_its_runner_back():
    x = gg.ones(5)

    @gg.compile
    def pick(i):
        return x[i]

    pick(gg.tensor([1, 2]))
    compiled = program_of(pick)
    before = compiled.runner
    with pytest.raises(IndexError), recording(compiled):
        pick(gg.tensor([1, 9]))
    assert compiled.runner is before


def test_the_table_adds_up():
    def build(t, compile):
        x = t.ones(300, 200)
        return compile(lambda: (t.exp(x) @ x.T).sum())

    found = profile(Workload("small", build), threads=1)
    assert sum(row.flops for row in found.rows) >= 2 * 300 * 300 * 200
    table, rows = str(found), found.by_row()
    for text in (table, rows):
        assert text.startswith("small: ") and "all rows" in text
        assert all(row.kernel in text for row in found.rows)
    assert "float32[300, 300]" in rows and "100.0%" in table
