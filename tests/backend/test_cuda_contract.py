"""Products and convolutions on the grid: the emulator against the interpreter; what is compiled."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from emulating import run_calls
from graphgrad.kernels.cuda.contract import accepts, lower_contraction
from graphgrad.kernels.cuda.contract.maps import access, in_vectors
from graphgrad.kernels.cuda.contract.tiles import TILES, Card, Sizes, candidates, choose
from hypothesis import given, settings
from hypothesis import strategies as st

from graphgrad import dtypes, interpret, ir
from graphgrad.autodiff import vjp_nodes
from graphgrad.compile import optimise
from graphgrad.config import config
from graphgrad.ir import Graph, node
from graphgrad.passes.epilogue import join_epilogues
from graphgrad.passes.fuse import fuse
from graphgrad.passes.layout import store_permuted
from graphgrad.passes.products import plain_products
from graphgrad.regions import CONTRACT, Plan

F = dtypes.float32
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16)
GUARD = 16  # elements on either side of a result


# ---- a small driver ------------------------------------------------------------------------------


def check(graph: Graph, seed: int = 0, plan=lambda graph: store_permuted(fuse(graph))) -> list[str]:
    """Products on the emulator, chunks forwards and backwards, all else by the interpreter, equal
    the interpreter; returns the names of the kernels."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(x.shape).astype(x.dtype.numpy) for x in graph.inputs]
    wanted = interpret.run(plain_products(graph), arrays)  # 16-bit ones summed in float32
    names: list[str] = []
    for backwards in (False, True):
        value = dict(zip(graph.inputs, arrays, strict=True))
        for region in plan(graph):
            for x in region.inputs:
                if x.op.name in ("constant", "scalar"):
                    value[x] = np.asarray(interpret.evaluate(x, []))
            if region.kind == CONTRACT:
                names += _run(region, value, backwards)
            else:
                _interpret(region, value)
        for y, right in zip(graph.outputs, wanted, strict=True):
            _compare(value[y], right, y)
    return names


def _run(region, value, backwards) -> list[str]:
    around = {y: np.full(y.size + 2 * GUARD, 77, y.dtype.numpy) for y in region.outputs}
    for y, memory in around.items():
        value[y] = memory[GUARD : GUARD + y.size].reshape(y.shape)
    calls = lower_contraction(region)
    run_calls(calls, value, backwards)
    for y, memory in around.items():
        edges = np.delete(memory, slice(GUARD, GUARD + y.size))
        np.testing.assert_array_equal(edges, np.full_like(edges, 77))
    return [call.name for call in calls]


def _interpret(region, value) -> None:
    local = dict(value)
    for x in region.nodes:
        local[x] = interpret.evaluate(x, [local[i] for i in x.inputs])
    for y in region.outputs:
        value[y] = np.ascontiguousarray(local[y])


def _compare(left, right, y) -> None:
    eps = {
        "float16": 2.0**-16,
        "float32": 1.2e-7,
        "float64": 2.3e-16,
        "bool": 0,
        "bfloat16": 2.0**-13,
    }[y.dtype.name]
    scale = max(1.0, float(np.abs(right.astype(np.float64)).max(initial=0)))
    left, right = (x.astype(np.float64) for x in (left, right))
    np.testing.assert_allclose(left, right, rtol=0, atol=64 * eps * scale)


def tensor(*shape, dtype=F):
    return ir.input(shape, dtype)


def product(a, b, contract=((1,), (0,)), batch=((), ())):
    return node("dot_general", a, b, contract=contract, batch=batch)


def matmul(m, k, n, dtype=F) -> Graph:
    a, b = tensor(m, k, dtype=dtype), tensor(k, n, dtype=dtype)
    return Graph([a, b], [product(a, b)])


# ---- matrix products -----------------------------------------------------------------------------


SHAPES = {
    "one tile": (32, 32, 32),
    "odd": (33, 65, 129),
    "one": (1, 1, 1),
    "row": (1, 300, 50),
    "column": (300, 50, 1),
    "no steps": (5, 0, 7),
    "no rows": (0, 4, 5),
    "no columns": (4, 5, 0),
    "vectors past the end": (36, 20, 44),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_matrices(shape, dtype):
    check(matmul(*SHAPES[shape], dtype=dtype))


def test_a_large_product_takes_the_large_tile_and_vectors():
    assert choose(4, Sizes(1, 4096, 4096, 4096)).tile is TILES[4][0]
    names = check(matmul(256, 40, 8192))
    assert names[0] == "product_float32_128x128x8_k4_m4_4"


@pytest.mark.parametrize("shape", [(3, 4000, 5), (16, 2048, 24), (2, 3000, 33)])
def test_long_sums_are_cut_and_added_in_order(shape):
    names = check(matmul(*shape))
    assert names[1] == "sum_parts_float32"


CASES = {
    "batched": ((4, 8, 16), (4, 16, 5), ((2,), (1,)), ((0,), (0,))),
    "right transposed": ((8, 16), (5, 16), ((1,), (1,)), ((), ())),
    "left transposed": ((32, 40), (32, 36), ((0,), (0,)), ((), ())),
    "vectors": ((7,), (7,), ((0,), (0,)), ((), ())),
    "outer": ((3, 1), (1, 5), ((1,), (0,)), ((), ())),
    "two contracted": ((2, 3, 4, 5), (4, 5, 6), ((2, 3), (0, 1)), ((), ())),
    "heads": ((2, 9, 4, 8), (2, 7, 4, 8), ((3,), (3,)), ((0, 2), (0, 2))),
    "nothing contracted": ((3, 4), (5, 6), ((), ()), ((), ())),
}


@pytest.mark.parametrize("case", CASES)
def test_dimensions_of_every_kind(case):
    left, right, contract, batch = CASES[case]
    a, b = tensor(*left), tensor(*right)
    check(Graph([a, b], [product(a, b, contract, batch)]))


def test_results_are_written_as_they_are_read():
    a, b = tensor(3, 10, 16), tensor(16, 12)
    dot = product(a, b, ((2,), (0,)))
    turned = node("permute", dot, axes=(2, 0, 1))
    names = check(Graph([a, b], [node("reshape", turned, shape=(12, 30))]))
    assert len(names) == 2  # once forwards, once backwards: nothing but the product


@st.composite
def views(draw, extents, dtype):
    """A view of an input, through permutes, slices, flips and expands, with these extents."""
    order = draw(st.permutations(range(len(extents))))
    steps = [draw(st.sampled_from([1, 1, 2])) for _ in extents]
    starts = [draw(st.integers(0, 2)) for _ in extents]
    repeated = [draw(st.integers(0, 4)) == 0 for _ in extents]
    flipped = tuple(i for i in range(len(extents)) if draw(st.integers(0, 4)) == 0)
    kept = [1 if r else n for n, r in zip(extents, repeated, strict=True)]
    sizes = [a + s * (n - 1) + 1 for n, s, a in zip(kept, steps, starts, strict=True)]
    x = ir.input(tuple(sizes[i] for i in order), dtype)
    y = node("permute", x, axes=tuple(order.index(i) for i in range(len(order))))
    stop = tuple(a + s * (n - 1) + 1 for n, s, a in zip(kept, steps, starts, strict=True))
    y = node("slice", y, start=tuple(starts), stop=stop, step=tuple(steps))
    y = node("flip", y, axes=flipped) if flipped else y
    return x, node("expand", y, shape=tuple(extents))


EXTENTS = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 17, 33])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_products_of_random_views(data):
    counts = [data.draw(st.integers(0, 2)) for _ in range(4)]
    batch, rows, steps, columns = (tuple(data.draw(EXTENTS) for _ in range(n)) for n in counts)
    if math.prod(batch + rows + steps + columns) > 200_000:
        batch, rows = batch[:1], rows[:1]
    dtype = data.draw(st.sampled_from(FLOATS))
    x, a = data.draw(views(batch + rows + steps, dtype))
    y, b = data.draw(views(batch + steps + columns, dtype))
    nb, nm, nk = len(batch), len(rows), len(steps)
    contract = (tuple(range(nb + nm, nb + nm + nk)), tuple(range(nb, nb + nk)))
    dot = product(a, b, contract, (tuple(range(nb)),) * 2)
    check(Graph([x, y], [dot]))


# ---- tensor cores --------------------------------------------------------------------------------


H = dtypes.float16
HALVES = [H, dtypes.bfloat16]


@pytest.mark.parametrize("shape", [(128, 64, 128), (129, 35, 67), (1, 1, 1), (40, 2050, 24)])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
def test_products_of_16_bit_floats(shape, transposed, dtype):
    m, k, n = shape
    a = tensor(*((k, m) if "a" in transposed else (m, k)), dtype=dtype)
    b = tensor(*((n, k) if "b" in transposed else (k, n)), dtype=dtype)
    contract = ((0 if "a" in transposed else 1,), (1 if "b" in transposed else 0,))
    names = check(Graph([a, b], [product(a, b, contract)]))
    assert re.match(f"product_{dtype.name}_float32_(64x64|128x128)x32", names[0])
    with config.scope(cuda_tensor_cores=False):
        (name, *_) = check(Graph([a, b], [product(a, b, contract)]))
    assert "x32_" not in name or "32x32x32" in name  # a tile of single multiply-adds


def test_16_bit_convolutions_and_epilogues():
    x, w, b = tensor(2, 8, 9, 9, dtype=H), tensor(16, 8, 3, 3, dtype=H), tensor(16, dtype=H)
    check(with_gradients(convolution(x, w), [x, w]))
    biased = node("add", convolution(x, w), node("reshape", b, shape=(16, 1, 1)))
    graph = Graph([x, w, b], [node("maximum", biased, number(0.0, H))])
    assert len(joined(graph).regions) == 1
    check(graph, plan=joined)


def test_the_large_tile_of_tensor_cores(monkeypatch):
    assert choose(2, Sizes(1, 4096, 4096, 4096)).tile is TILES[2][0]
    monkeypatch.setitem(TILES, 2, TILES[2][:1])
    for m, k, n in ((136, 96, 128), (100, 35, 150)):
        (name, *_) = check(matmul(m, k, n, H))
        assert "_128x128x32_" in name


# ---- convolutions --------------------------------------------------------------------------------


def convolution(x, w, stride=(1, 1), dilation=(1, 1)):
    """NCHW: a product over windows, permuted to NCHW."""
    window = node("window", x, axes=(2, 3), size=w.shape[2:], stride=stride, dilation=dilation)
    return node("permute", product(window, w, ((1, 4, 5), (1, 2, 3))), axes=(0, 3, 1, 2))


def grouped(x, w, groups):
    """The convolution of each group of channels: (N, G C, H, W) by (G O, C, y, x)."""
    n, channels, *size = x.shape
    apart = node("reshape", x, shape=(n, groups, channels // groups, *size))
    weights = node("reshape", w, shape=(groups, w.shape[0] // groups, *w.shape[1:]))
    ones = ((1, 1), (1, 1))
    window = node("window", apart, axes=(3, 4), size=w.shape[2:], stride=ones[0], dilation=ones[1])
    dot = product(window, weights, ((2, 5, 6), (2, 3, 4)), ((1,), (0,)))  # G N H W O
    moved = node("permute", dot, axes=(1, 0, 4, 2, 3))
    return node("reshape", moved, shape=(n, w.shape[0], *moved.shape[3:]))


def with_gradients(y, wrt) -> Graph:
    """The value and both gradients, given the result's cotangent."""
    cotangent = ir.input(y.shape, y.dtype)
    gradients = vjp_nodes([y], [cotangent], wrt)
    return optimise(Graph([*wrt, cotangent], [y, *gradients]))


CONVOLUTIONS = {  # x, w, padding, stride, dilation
    "3x3": ((2, 3, 8, 9), (5, 3, 3, 3), 1, (1, 1), (1, 1)),
    "strided": ((2, 4, 9, 9), (6, 4, 3, 3), 1, (2, 2), (1, 1)),
    "dilated": ((1, 3, 11, 10), (4, 3, 3, 3), 2, (1, 1), (2, 2)),
    "1x1": ((2, 8, 6, 6), (12, 8, 1, 1), 0, (1, 1), (1, 1)),
    "LeNet's first": ((4, 1, 28, 28), (6, 1, 5, 5), 2, (1, 1), (1, 1)),
    "LeNet's second": ((4, 6, 14, 14), (16, 6, 5, 5), 0, (1, 1), (1, 1)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_in_three_directions(case):
    image, weight, padding, stride, dilation = CONVOLUTIONS[case]
    x, w = tensor(*image), tensor(*weight)
    edge = (0, 0, padding, padding)
    padded = node("pad", x, low=edge, high=edge, interior=(0,) * 4, value=0.0) if padding else x
    names = check(with_gradients(convolution(padded, w, stride, dilation), [x, w]))
    assert sum(name.startswith("product") for name in names) == 6  # three, forwards and backwards


@pytest.mark.parametrize("groups", [2, 6])
def test_groups_of_channels(groups):
    x, w = tensor(2, 6, 7, 7), tensor(12, 6 // groups, 3, 3)
    check(with_gradients(grouped(x, w, groups), [x, w]))


# ---- the choice of tile --------------------------------------------------------------------------


def test_tables_decide_how_operands_are_read():
    rows, steps, one = (np.arange(n, dtype=np.int32) for n in (8, 12, 1))
    assert access((one, rows * 12, steps), 0, 4).name == "k4"
    assert access((one, rows, steps * 8), 0, 4).name == "m4"
    assert access((one, rows * 12, steps), 2, 4).name == "k2"  # not aligned to four
    assert access((one, rows * 12, steps), 1, 4).name == "k1"
    assert access((one, rows * 14, steps), 0, 4).name == "k2"
    assert access((one, rows * 13, steps), 0, 4).name == "k1"
    assert access((one, rows, steps * 9), 0, 4).name == "m1"
    assert access((one, rows * 24, steps * 2), 0, 4).vector == 1
    assert not in_vectors(steps[:10], 4)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([2, 4, 8]), *[st.integers(1, 5000)] * 3, st.integers(1, 64))
def test_every_candidate_covers_the_product(item, rows, columns, steps, batch):
    sizes = Sizes(batch, rows, columns, steps)
    for choice in candidates(item, sizes):
        assert choice.split % choice.tile.steps == 0
        assert (choice.splits - 1) * choice.split < steps <= choice.splits * choice.split
        assert choice.cycles > 0


def test_the_model_is_in_the_range_of_peak():
    card = Card()
    for n, least in ((8192, 0.8), (2048, 0.6), (512, 0.25)):
        sizes = Sizes(1, n, n, n)
        ideal = n**3 / (card.sms * card.lanes)
        assert least < ideal / choose(4, sizes, card).cycles < 1


# ---- epilogues -----------------------------------------------------------------------------------


def joined(graph: Graph, **options) -> Plan:
    return join_epilogues(store_permuted(fuse(graph)), accepts, **options)


def number(value, dtype=F):
    return node("scalar", value=value, dtype=dtype)


def linear(m=33, k=20, n=40, dtype=F):
    x, w, b = tensor(m, k, dtype=dtype), tensor(k, n, dtype=dtype), tensor(n, dtype=dtype)
    return (x, w, b), node("add", product(x, w), b)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_bias_and_activation_are_computed_before_writing(dtype):
    inputs, y = linear(dtype=dtype)
    graph = Graph(inputs, [node("maximum", y, number(0.0, dtype))])
    assert len(joined(graph).regions) == 1
    (name, *_) = check(graph, plan=joined)
    assert name.endswith("add_maximum")


def test_parts_are_added_before_the_epilogue():
    inputs, y = linear(4, 4000, 12)
    names = check(Graph(inputs, [node("abs", y)]), plan=joined)
    assert names[1] == "sum_parts_float32_add_abs" and "add" not in names[0]


def test_a_convolution_with_bias_residual_and_mask():
    x, w, b, r = tensor(2, 3, 8, 8), tensor(4, 3, 3, 3), tensor(4), tensor(2, 4, 6, 6)
    biased = node("add", convolution(x, w), node("reshape", b, shape=(4, 1, 1)))
    total = node("add", biased, r)
    mask = node("gt", total, number(0.0))
    graph = Graph([x, w, b, r], [node("where", mask, total, number(0.0)), mask])
    assert len(joined(graph).regions) == 1
    check(graph, plan=joined)


def test_operands_are_read_through_views_and_reshapes():
    x, w, s = tensor(6, 5, 16), tensor(16, 12), tensor(12, 30)
    dot = product(x, w, ((2,), (0,)))
    turned = node("reshape", node("permute", dot, axes=(2, 0, 1)), shape=(12, 30))
    scale = node("slice", s, start=(0, 29), stop=(12, 30), step=(1, 1))  # a column
    graph = Graph([x, w, s], [node("mul", turned, scale)])
    assert len(joined(graph).regions) == 1
    check(graph, plan=joined)


def test_what_does_not_join():
    (x, w, b), y = linear()
    relu = node("maximum", y, number(0.0))
    for outputs in (
        [relu, y.inputs[0]],  # the product itself is wanted
        [node("sum", relu, axes=(1,))],  # a reduction
        [node("reshape", relu, shape=(20, 66)), relu],  # fine, but for the other reader
    ):
        graph = Graph([x, w, b], outputs)
        check(graph, plan=joined)
    assert len(joined(Graph([x, w, b], [node("sum", relu, axes=(1,))])).regions) == 2
    assert len(joined(Graph([x, w, b], [relu, y.inputs[0]])).regions) == 2
    # an output that replaces an input is written over it by a loop
    assert len(joined(Graph([x, w, b], [relu]), written={relu}).regions) == 2


def test_a_network_without_gradients_is_products_alone():
    (x, w, b), y = linear()
    v, c = tensor(40, 10), tensor(10)
    hidden = node("mul", y, node("sigmoid", y))
    graph = Graph([x, w, b, v, c], [node("add", product(hidden, v), c)])
    assert [region.kind for region in joined(graph)] == [CONTRACT, CONTRACT]
    check(graph, plan=joined)
    check(with_gradients(product(hidden, v), [x, w, b, v]), plan=joined)
