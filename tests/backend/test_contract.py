"""The contraction engine against NumPy in float64, over every kind of index map it reads."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest
from graphgrad.kernels.cache import load
from graphgrad.kernels.contract import (
    ContractionPlan,
    KernelName,
    Operand,
    cost,
    engine_recipe,
    plan,
    plan_contraction,
    problem,
)
from graphgrad.kernels.contract.host import Host
from graphgrad.kernels.contract.peak import measure_fma_peak
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
DTYPES = ("float32", "float64")
EXTENTS = st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 65, 100])


# ---- a small driver ------------------------------------------------------------------------------


def address(name: KernelName) -> int:
    return load(engine_recipe(name)).address


def run(planned: ContractionPlan, bases: dict[str, int], order=list) -> None:
    """Run the kernels of a plan serially, chunks in the order that `order` gives them."""
    scratch = np.full(planned.scratch_bytes + 128, 0xFF, np.uint8)  # NaN in both dtypes
    start = -(-scratch.ctypes.data // 64) * 64
    meaning = {
        "ptr": bases.__getitem__,
        "table": lambda table: table.ctypes.data,
        "scratch": lambda offset: start + offset,
        "function": address,
        "int": int,
    }
    for call in planned.kernels:
        slots = np.array([meaning[kind](value) for kind, value in call.slots], np.int64)
        kernel, chunks = KERNEL(address(call.kernel)), -(-call.extent // call.grain)
        for chunk in order(range(chunks)):
            first = chunk * call.grain
            kernel(slots.ctypes.data, first, min(first + call.grain, call.extent), chunk)
    assert (scratch[start - scratch.ctypes.data + planned.scratch_bytes :] == 0xFF).all()


def operand(view: np.ndarray, batch: int, rows: int, columns: int) -> Operand:
    """The index map of an array view whose axes are batch, rows, columns in this order."""
    dims = [(n, s // view.itemsize) for n, s in zip(view.shape, view.strides, strict=True)]
    assert len(dims) == batch + rows + columns
    cut = batch + rows
    return Operand(
        batch=tuple(dims[:batch]), rows=tuple(dims[batch:cut]), columns=tuple(dims[cut:])
    )


def contract(a, b, c, groups, order=list) -> ContractionPlan:
    """c = a b for views; `groups` counts the axes of batch, m, k and n."""
    batch, m, k, n = groups
    planned = plan_contraction(
        str(c.dtype), operand(a, batch, m, k), operand(b, batch, k, n), operand(c, batch, m, n)
    )
    run(planned, {"A": a.ctypes.data, "B": b.ctypes.data, "C": c.ctypes.data}, order)
    return planned


def expected(a, b, groups) -> np.ndarray:
    """The same in float64 by einsum."""
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    batch, m, k, n = ("".join(next(letters) for _ in range(count)) for count in groups)
    spec = f"{batch}{m}{k},{batch}{k}{n}->{batch}{m}{n}"
    return np.einsum(spec, a.astype(float), b.astype(float), optimize=True)


def check(a, b, c, groups, order=list) -> ContractionPlan:
    c[...] = np.nan
    planned = contract(a, b, c, groups, order)
    truth = expected(a, b, groups)
    steps = max(1, int(np.prod(a.shape[groups[0] + groups[1] :])))
    tolerance = (
        4 * np.finfo(c.dtype).eps * np.sqrt(steps) * max(1.0, float(np.abs(truth).max(initial=0)))
    )
    np.testing.assert_allclose(c, truth, rtol=0, atol=tolerance)
    return planned


def layout(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: str) -> np.ndarray:
    """Random numbers in an array of `shape` whose memory is laid out in one of several ways."""
    flipped = tuple(slice(None, None, -1) for _ in shape)
    if kind == "transposed":
        return rng.standard_normal(shape[::-1]).astype(dtype).T
    if kind == "reversed":
        return rng.standard_normal(shape).astype(dtype)[flipped]
    if kind == "strided":
        return rng.standard_normal([2 * n for n in shape]).astype(dtype)[
            tuple(slice(0, None, 2) for _ in shape)
        ]
    return rng.standard_normal(shape).astype(dtype)


LAYOUTS = st.sampled_from(["plain", "plain", "transposed", "reversed", "strided"])


# ---- matrix products -----------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(EXTENTS, EXTENTS, EXTENTS, LAYOUTS, LAYOUTS, LAYOUTS, st.sampled_from(DTYPES))
def test_matrix_product(m, n, k, layout_a, layout_b, layout_c, dtype):
    rng = np.random.default_rng(m * 10_007 + n * 101 + k)
    a, b = layout(rng, (m, k), dtype, layout_a), layout(rng, (k, n), dtype, layout_b)
    check(a, b, layout(rng, (m, n), dtype, layout_c), (0, 1, 1, 1))


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 5), EXTENTS, EXTENTS, EXTENTS, LAYOUTS, LAYOUTS,
    st.sampled_from(["both", "a", "b", "neither"]), st.sampled_from(DTYPES),
)  # fmt: skip
def test_batched_product(batch, m, n, k, layout_a, layout_b, varies, dtype):
    rng = np.random.default_rng(m * 10_007 + n * 101 + k)
    a = layout(rng, (batch, m, k), dtype, layout_a)
    b = layout(rng, (batch, k, n), dtype, layout_b)
    if varies in ("b", "neither"):
        a = np.broadcast_to(a[:1], a.shape)
    if varies in ("a", "neither"):
        b = np.broadcast_to(b[:1], b.shape)
    check(a, b, np.empty((batch, m, n), dtype), (1, 1, 1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(513, 300, 700), (6, 25, 9000), (260, 1100, 40), (3, 2000, 5)])
@pytest.mark.parametrize("layouts", ["plain plain", "transposed plain", "plain transposed"])
def test_large_products_block_and_split(shape, layouts, dtype):
    m, n, k = shape
    rng = np.random.default_rng(k)
    kinds = layouts.split()
    a, b = layout(rng, (m, k), dtype, kinds[0]), layout(rng, (k, n), dtype, kinds[1])
    check(a, b, np.empty((m, n), dtype), (0, 1, 1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_layout_needs_no_copies(dtype):
    """Heads live between sequence and features: every axis but the last is strided."""
    rng = np.random.default_rng(0)
    query, key = (rng.standard_normal((2, 37, 3, 20)).astype(dtype) for _ in range(2))
    scores = np.empty((2, 3, 37, 37), dtype)
    check(query.transpose(0, 2, 1, 3), key.transpose(0, 2, 3, 1), scores, (2, 1, 1, 1))
    value, out = rng.standard_normal((2, 37, 3, 20)).astype(dtype), np.empty((2, 37, 3, 20), dtype)
    check(scores, value.transpose(0, 2, 1, 3), out.transpose(0, 2, 1, 3), (2, 1, 1, 1))


@pytest.mark.parametrize("unit", [Host(32, 16), Host(16, 32), Host(16, 16)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_narrower_vector_units(monkeypatch, unit, dtype):
    """What an AVX2, a NEON and an SSE machine would run."""
    for module in (plan, cost, problem):
        monkeypatch.setattr(module, "host", lambda: unit)
    plan._planned.cache_clear()
    rng = np.random.default_rng(1)
    for m, n, k in [(45, 70, 33), (1, 40, 150), (7, 3, 100)]:
        for layouts in itertools.product(("plain", "transposed"), repeat=3):
            shapes = ((m, k), (k, n), (m, n))
            arrays = [layout(rng, s, dtype, kind) for s, kind in zip(shapes, layouts, strict=True)]
            check(*arrays, (0, 1, 1, 1))
    plan._planned.cache_clear()


# ---- edges ---------------------------------------------------------------------------------------


def test_no_steps_give_zeros():
    a, b, c = np.empty((5, 0), "f4"), np.empty((0, 19), "f4"), np.full((5, 19), np.nan, "f4")
    contract(a, b, c, (0, 1, 1, 1))
    assert (c == 0).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 4, 0)])
def test_no_results_need_no_kernels(shape):
    batch, m, k, n = shape
    a, b, c = np.empty((batch, m, k)), np.empty((batch, k, n)), np.empty((batch, m, n))
    assert contract(a, b, c, (1, 1, 1, 1)).kernels == ()


def test_neighbours_of_a_strided_result_stay():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((9, 30)).astype("f4"), rng.standard_normal((30, 21)).astype("f4")
    whole = np.full((12, 40), 7, "f4")
    check(a, b, whole[1:10, 3:24], (0, 1, 1, 1))
    whole[1:10, 3:24] = 7
    assert (whole == 7).all()


def test_not_a_number_does_not_spread():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((20, 40)).astype("f4"), rng.standard_normal((40, 50)).astype("f4")
    a[3, 5], b[7, 9] = np.nan, np.inf
    c = np.empty((20, 50), "f4")
    contract(a, b, c, (0, 1, 1, 1))
    with np.errstate(invalid="ignore"):
        assert (np.isnan(c) == np.isnan(a @ b)).all()
        assert (np.isinf(c) == np.isinf(a @ b)).all()


def test_unsupported_operands_say_so():
    plain = Operand(rows=((2, 2),), columns=((2, 1),))
    with pytest.raises(NotImplementedError, match="int64"):
        plan_contraction("int64", plain, plain, plain)
    with pytest.raises(ValueError, match="columns of A and rows of B"):
        plan_contraction("float32", Operand(rows=((2, 3),), columns=((3, 1),)), plain, plain)


# ---- convolutions --------------------------------------------------------------------------------


def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """(image, channel, window y, window x, out y, out x): a view, the columns of a convolution."""
    images, channels, height, width = x.shape
    out = [(size - kernel) // stride + 1 for size in (height, width)]
    i, c, y, z = x.strides
    shape, strides = (kernel, kernel, *out), (y, z, stride * y, stride * z)
    return as_strided(x, (images, channels, *shape), (i, c, *strides))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 20), st.integers(5, 21),
    st.sampled_from([1, 3, 5]), st.integers(1, 2), st.sampled_from(DTYPES),
)  # fmt: skip
def test_convolution_in_three_directions(images, channels, outs, size, kernel, stride, dtype):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((images, channels, size, size + 2)).astype(dtype)
    w = rng.standard_normal((outs, channels, kernel, kernel)).astype(dtype)
    view = windows(x, kernel, stride)
    y = np.empty((images, outs, *view.shape[4:]), dtype)

    # forward: k = (channel, y, x), n = (image, out y, out x)
    columns = view.transpose(1, 2, 3, 0, 4, 5)
    check(w, columns, y.transpose(1, 0, 2, 3), (0, 1, 3, 3))

    # gradient of the weights: k = (image, out y, out x), n = (channel, y, x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    check(
        dy.transpose(1, 0, 2, 3), view.transpose(0, 4, 5, 1, 2, 3), np.empty_like(w), (0, 1, 3, 3)
    )

    # gradient of the data (stride 1): a convolution of padded dy with the weights turned round
    pad = kernel - 1
    padded = np.pad(dy, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    back = windows(padded, kernel, 1).transpose(1, 2, 3, 0, 4, 5)
    dx = np.empty((images, channels, *back.shape[4:]), dtype)
    check(turned, back, dx.transpose(1, 0, 2, 3), (0, 1, 3, 3))


def test_grouped_convolution_is_a_batch():
    rng = np.random.default_rng(5)
    x, w = (
        rng.standard_normal((2, 12, 9, 9)).astype("f4"),
        rng.standard_normal((3, 5, 4, 3, 3)).astype("f4"),
    )
    view = windows(x, 3, 1)
    view = view.reshape(2, 3, 4, *view.shape[2:]).transpose(1, 2, 3, 4, 0, 5, 6)
    y = np.empty((2, 3, 5, 7, 7), "f4")
    check(w, view, y.transpose(1, 2, 0, 3, 4), (1, 1, 3, 3))


# ---- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(300, 300, 300), (16, 150, 20_000), (64, 2000, 100)])
def test_results_do_not_depend_on_the_order_of_chunks(shape):
    m, n, k = shape
    rng = np.random.default_rng(k)
    a, b = rng.standard_normal((m, k)).astype("f4"), rng.standard_normal((k, n)).astype("f4")
    results = [np.empty((m, n), "f4") for _ in range(3)]
    orders = [
        list,
        lambda chunks: list(reversed(chunks)),
        lambda chunks: rng.permutation(len(chunks)).tolist(),
    ]
    for c, order in zip(results, orders, strict=True):
        planned = contract(a, b, c, (0, 1, 1, 1), order)
    assert any(call.extent > call.grain for call in planned.kernels)
    assert all((c == results[0]).all() for c in results)


def test_plans_are_made_once():
    a = Operand(rows=((8, 8),), columns=((8, 1),))
    assert plan_contraction("float32", a, a, a) is plan_contraction("float32", a, a, a)


def test_peak_is_plausible():
    assert measure_fma_peak("float32") > measure_fma_peak("float64") > 1e9
