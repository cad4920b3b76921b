"""Grid kernels, emulated, compute what the interpreter says: the CPU's lowering tests again."""

from __future__ import annotations

import lowering
import numpy as np
import pytest
import test_lower
from graphgrad.kernels.cuda.lower import lower_region
from gridding import emulated_region

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.passes.fuse import fuse
from graphgrad.regions import Region

# Tests of test_lower that look at the CPU's own kernels.
_CPU_ONLY = """test_long_sums_are_cut_by_size test_tiles_of_columns_are_narrow_if_walked_again
test_in_place_uses_one_slot test_equal_structures_have_equal_sources test_max_pool_is_unrolled
test_an_image_is_padded_in_one_pass test_random_graphs_as_python
test_unsupported_dtypes_are_left_to_the_interpreter
test_every_loop_primitive_is_tried_here""".split()

for _name, _test in vars(test_lower).items():
    if _name.startswith("test_") and _name not in _CPU_ONLY:
        globals()[_name] = _test


@pytest.fixture(autouse=True)
def on_a_grid(monkeypatch):
    monkeypatch.setattr(lowering.MACHINE, "lower", emulated_region)


# ---- what only a grid does -----------------------------------------------------------------------

ROWS = [(3, 1), (5, 7), (64, 256), (3, 1000), (2, 5000), (1, 40_001), (300, 33), (9000, 8), (2, 9)]


def keep(y: Node) -> Node:
    return node("reshape", y, shape=(*y.shape, 1))


def normal(x: Node) -> list[Node]:
    """A softmax over rows, their extrema, and what depends on all of it."""
    top = node("max", x, axes=(1,))
    e = node("exp", node("sub", x, keep(top)))
    total = node("sum", e, axes=(1,))
    return [node("div", e, keep(total)), top, node("argmin", x, axis=1), total]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_rows(shape, dtype):
    """Short and long rows: held and walked, by one thread, some lanes, a block, several parts."""
    test_lower.check_graph(normal, test_lower.floats(*shape, dtype=dtype), tolerance=2e-5)


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_columns(shape):
    def build(x: Node) -> list[Node]:
        e = node("exp", node("sub", x, node("max", x, axes=(0,))))
        return [node("div", e, node("sum", e, axes=(0,))), node("argmax", x, axis=0)]

    test_lower.check_graph(build, test_lower.floats(*shape[::-1]), tolerance=2e-5)


@pytest.mark.parametrize("shape", [(7, 5, 64), (3, 50, 30), (2, 3, 4, 5)], ids=str)
def test_reductions_around_a_kept_axis(shape):
    """Like batch norm's: rows of two loops, which vectors walk where the inner one allows it."""

    def build(x: Node) -> list[Node]:
        axes = tuple(a for a in range(len(shape)) if a != 1)
        total = node("sum", node("mul", x, x), axes=axes)
        row = node("reshape", total, shape=tuple(n if a == 1 else 1 for a, n in enumerate(shape)))
        return [node("mul", x, row), total]

    test_lower.check_graph(build, test_lower.floats(*shape), tolerance=1e-5)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
def test_folds_of_integers(op, dtype):
    x = test_lower.rng.integers(0, 2, (6, 500)).astype(dtype)

    def build(x: Node) -> list[Node]:
        return [node(op, x, axes=(1,)), node(op, x, axes=(0,)), node(op, x, axes=(0, 1))]

    test_lower.check_graph(build, x)


@pytest.mark.parametrize("op", ["cumsum", "cumprod", "cummax", "cummin"])
@pytest.mark.parametrize("shape, axis", [((3, 700), 1), ((700, 3), 0), ((4, 5), 1), ((300,), 0)])
def test_scans(op, shape, axis):
    x = np.abs(test_lower.floats(*shape)) * 0.1 + 0.9
    test_lower.check_graph(lambda x: [node(op, x, axis=axis)], x, tolerance=2e-5)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("descending", [False, True])
def test_sorts_of_many_runs(n, descending):
    x = test_lower.rng.integers(-9, 9, (3, n)).astype(np.float32)
    x[x == 8] = np.nan

    def build(x: Node) -> list[Node]:
        both = node("sort", x, axis=1, descending=descending)
        return [node("result", both, index=i) for i in (0, 1)]

    test_lower.check_graph(build, x)


def test_a_long_row_is_cut_into_parts_by_size():
    (region,) = fuse_of(lambda x: [node("sum", x, axes=(0, 1))], (512, 1024))
    parts, combine = lower_region(region)
    assert parts.grid > 100 and combine.grid == 1


def test_few_columns_of_many_rows_are_cut_into_parts():
    (region,) = fuse_of(lambda x: [node("sum", x, axes=(0,))], (100_000, 40))
    assert next(call.grid for call in lower_region(region)) > 100


def fuse_of(build, *shapes, dtype=dtypes.float32) -> list[Region]:
    inputs = [ir.input(shape, dtype) for shape in shapes]
    return list(fuse(Graph(inputs, build(*inputs))))


# ---- 16 bits in memory, float32 in registers -----------------------------------------------------


def halves(x: Node) -> list[Node]:
    """A softmax, an extremum, casts both ways, a choice by a number of the type."""
    small = node("scalar", value=0.5, dtype=x.dtype)
    return [
        normal(x)[0],
        node("argmax", x, axis=1),
        node("cast", node("mul", x, x), dtype=dtypes.float32),
        node("cast", node("cast", x, dtype=dtypes.float32), dtype=x.dtype),
        node("where", node("lt", x, small), x, node("tanh", x)),
    ]


@pytest.mark.parametrize("shape", [(6, 64), (5, 33), (2, 5000)], ids=str)
def test_float16(shape):
    x = test_lower.floats(*shape).astype(np.float16)
    test_lower.check_graph(halves, x, tolerance=4e-3)


@pytest.mark.parametrize("shape", [(6, 64), (5, 33)], ids=str)
def test_bfloat16(shape):
    x = test_lower.floats(*shape).astype(dtypes.bfloat16.numpy)
    test_lower.check_graph(halves, x, tolerance=4e-2)


MOVED = {
    "cumsum": lambda x: [node("cumsum", x, axis=1)],
    "pad": lambda x: [node("pad", x, low=(1, 1), high=(0, 2), interior=(0, 1), value=0.5)],
    "permute": lambda x: [node("permute", x, axes=(1, 0))],
    "concat": lambda x: [node("concat", x, node("neg", x), axis=0)],
    "sort": lambda x: [node("result", node("sort", x, axis=1, descending=False), index=0)],
}


@pytest.mark.parametrize("name", MOVED)
def test_float16_moved(name):
    x = test_lower.floats(40, 48).astype(np.float16)
    test_lower.check_graph(MOVED[name], x, tolerance=2e-2)


# ---- scattering ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, axis, count", [((50,), 0, 400), ((6, 9), 1, 70), ((40, 3), 0, 99)])
@pytest.mark.parametrize("op", ["scatter", "scatter_add"])
def test_many_scattered_over_few(op, shape, axis, count):
    """Of equal positions the last wins, whichever thread comes first; sums take them all."""
    where = tuple(count if a == axis else n for a, n in enumerate(shape))
    index = test_lower.rng.integers(0, shape[axis] - 1, where)
    base, source = test_lower.floats(*shape), test_lower.floats(*where)

    def build(base: Node, index: Node, source: Node) -> list[Node]:
        return [node(op, base, index, node("neg", source), axis=axis)]

    test_lower.check_graph(build, base, index, source)


def test_scattered_elements_are_elected_not_walked():
    i = ir.input((5000,), dtypes.int64)
    x, y = ir.input((900,), dtypes.float32), ir.input((5000,), dtypes.float32)
    (region,) = fuse(Graph([x, i, y], [node("scatter", x, i, y, axis=0)]))
    start, vote, take = lower_region(region)
    assert "max_i32" in vote.source and vote.serial and not take.serial and start.grid == 1
