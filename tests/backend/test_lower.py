"""Lowered regions compute what the interpreter says, whatever the order of their chunks."""

from __future__ import annotations

import numpy as np
import pytest
from graphgrad.kernels.lower import lower_region
from growing import grow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowering import check, run_region

from graphgrad import dtypes, interpret, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.ops import PRIMITIVES
from graphgrad.passes.fuse import fuse
from graphgrad.regions import LOOP, Region

rng = np.random.default_rng(0)
SLOW = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, print_blob=True
)


def keep(y: Node, x: Node, axis: int) -> Node:
    return node("reshape", y, shape=tuple(1 if a == axis else n for a, n in enumerate(x.shape)))


def softmax(x: Node, axis: int) -> Node:
    e = node("exp", node("sub", x, keep(node("max", x, axes=(axis,)), x, axis)))
    return node("div", e, keep(node("sum", e, axes=(axis,)), x, axis))


def scalar(value: float, dtype=dtypes.float32) -> Node:
    return node("scalar", value=value, dtype=dtype)


def check_graph(build, *arrays, tolerance=1e-5):
    """Fuse, lower and compare a function of nodes; returns the plan."""
    inputs = [ir.input(a.shape, dtypes.from_numpy(a.dtype)) for a in arrays]
    outputs = build(*inputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return check(Graph(inputs, outputs), arrays, tolerance)


def floats(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


# ---- random graphs -------------------------------------------------------------------------------


@pytest.fixture
def plain_python(monkeypatch):
    """Kernels as the Python they are: slow, and compiled by nobody."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")


@settings(SLOW, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6))
def test_random_graphs_as_python(plain_python, seed):
    graph, arrays = grow(seed)
    if sum(x.size for x in graph) < 20_000:
        with np.errstate(all="ignore"):
            check(graph, arrays, 1e-4)


@settings(SLOW, max_examples=15)
@given(st.integers(0, 10**6))
def test_random_graphs_compiled(seed):
    check(*grow(seed, steps=10), 1e-4)


# ---- every elementwise primitive -----------------------------------------------------------------

UNARY = """neg abs sign exp expm1 log log1p log2 sin cos tan tanh sinh cosh asin acos atan asinh
acosh atanh erf erfc sqrt rsqrt reciprocal sigmoid floor ceil round trunc identity""".split()
BINARY = """add sub mul div maximum minimum pow floor_div remainder fmod atan2
eq ne lt le gt ge""".split()
WHOLE = "add sub mul maximum minimum floor_div remainder fmod eq lt".split()
BITS = "bitwise_and bitwise_or bitwise_xor shift_left shift_right bitwise_not".split()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unary(dtype):
    x = floats(3, 50, dtype=dtype)
    x.flat[:4] = np.nan, np.inf, -np.inf, 0
    check_graph(lambda x: [node(name, x) for name in UNARY], x, tolerance=2e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary(dtype):
    x, y = floats(3, 50, dtype=dtype), floats(50, dtype=dtype)
    x.flat[:4] = np.nan, np.inf, -np.inf, 0
    check_graph(lambda x, y: [node(name, x, y) for name in BINARY], x, y, tolerance=2e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint32])
def test_integers_wrap_around(dtype):
    x, y = (rng.integers(1, 100, (4, 33)).astype(dtype) for _ in range(2))
    z = (y % 7).astype(dtype)

    def build(x, y, z):
        bits = [node(name, *((x,) if name == "bitwise_not" else (x, z))) for name in BITS]
        return [node(name, x, y) for name in WHOLE] + bits

    check_graph(build, x, y, z)


def test_booleans():
    x, y = rng.integers(0, 2, (2, 4, 33)).astype(bool)
    names = [*BITS[:3], "eq", "ne", "maximum", "minimum"]

    def build(x, y):
        picked = [node("where", x, y, node("logical_not", y)), node("bitwise_not", x)]
        reduced = [node(name, x, axes=(1,)) for name in ("max", "min")]
        return [node(name, x, y) for name in names] + picked + reduced

    check_graph(build, x, y)


CASTS = [np.bool_, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.float32, np.float64]


@pytest.mark.parametrize("source", CASTS)
def test_casts(source):
    x = rng.integers(0, 100, (4, 33)).astype(source)
    check_graph(lambda x: [node("cast", x, dtype=dtypes.from_numpy(t)) for t in CASTS], x)


def test_bits_of_floats():
    check_graph(lambda x: node("bitcast", x, dtype=dtypes.int32), floats(4, 5))


@pytest.mark.parametrize("exponent", [-3, -1, 0, 1, 2, 7])
def test_int_pow(exponent):
    check_graph(lambda x: node("int_pow", x, exponent=exponent), floats(4, 33), tolerance=1e-4)


def test_random_bits_agree_with_numpy():
    state = np.array([123, 7], np.int64)

    def build(state):
        bits = [node("random_bits", state, shape=(6, 50), word=w) for w in (0, 1)]
        return [bits[0], node("lt", bits[1], scalar(1 << 31, dtypes.uint32))]

    check_graph(build, state)


def test_every_loop_primitive_is_tried_here():
    """A new primitive needs a rule in ``kernels.lower`` and a test in this file."""
    grown = {x.op.name for seed in range(400) for x in grow(seed)[0]}
    tried = {*grown, *UNARY, *BINARY, *BITS, "logical_not", "cast", "bitcast", "int_pow"}
    tried |= {"random_bits", "iota", "constant", "sort", "result", "prod"}
    elsewhere = {"contract", "control", "host"}
    assert {p.name for p in PRIMITIVES.values() if p.kind not in elsewhere} <= tried


# ---- composites and schedules --------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), [((5, 40), 1), ((40, 70), 0), ((3, 9, 5), 1)])
def test_softmax_is_one_kernel(shape, axis):
    plan = check_graph(lambda x: softmax(x, axis), floats(*shape))
    assert len(plan.regions) == 1
    assert len(lower_region(plan.regions[0])) == 1


def test_masked_softmax_of_minus_infinity():
    x = floats(4, 9)
    x[0, 3:] = -np.inf
    x[1, 2] = np.nan
    check_graph(lambda x: softmax(x, 1), x)


def batch_norm(x: Node) -> list[Node]:
    n, c, h, w = x.shape
    count = scalar(1 / (n * h * w))
    mean = node("mul", node("sum", x, axes=(0, 2, 3)), count)
    d = node("sub", x, node("reshape", mean, shape=(c, 1, 1)))
    var = node("mul", node("sum", node("mul", d, d), axes=(0, 2, 3)), count)
    scale = node("rsqrt", node("add", var, scalar(1e-5)))
    return [node("mul", d, node("reshape", scale, shape=(c, 1, 1))), mean, var]


def test_batch_norm_is_one_kernel():
    plan = check_graph(batch_norm, floats(4, 6, 5, 7))
    assert len(plan.regions) == 1


@pytest.mark.parametrize("shape", [(70000,), (3, 40000), (300, 500)])
def test_long_sums_are_cut_by_size(shape):
    def build(x):
        loss = node("sum", node("mul", x, x), axes=tuple(range(len(shape))))
        return [loss, node("mul", loss, scalar(0.5)), node("neg", x)]

    plan = check_graph(build, floats(*shape), tolerance=1e-3)
    assert len(plan.regions) == 1
    assert len(lower_region(plan.regions[0])) == 2


def test_sums_of_millions_are_as_accurate_as_numpy():
    x = rng.random(4_000_000).astype(np.float32)
    graph = Graph([y := ir.input(x.shape, dtypes.float32)], [node("sum", y, axes=(0,))])
    value = {y: x}
    (region,) = fuse(graph)
    run_region(region, value)
    exact = x.astype(np.float64).sum()
    assert abs(value[graph.outputs[0]] - exact) < 2e-7 * exact


def test_gradients_of_broadcast_coefficients_share_one_kernel():
    """A polynomial fit: value, residual, loss and six gradients in one pass."""

    def build(x, y, *weights):
        powers = [node("int_pow", x, exponent=k) for k in range(6)]
        terms = [node("mul", w, p) for w, p in zip(weights, powers, strict=True)]
        fit = terms[0]
        for term in terms[1:]:
            fit = node("add", fit, term)
        d = node("sub", fit, y)
        loss = node("sum", node("mul", d, d), axes=(0,))
        grads = [node("sum", node("mul", d, p), axes=(0,)) for p in powers]
        step = scalar(1e-6)
        return [
            loss,
            *(node("sub", w, node("mul", g, step)) for w, g in zip(weights, grads, strict=True)),
        ]

    weights = [np.asarray(w, np.float32) for w in rng.standard_normal(6)]
    x = np.linspace(-3, 3, 2000).astype(np.float32)
    plan = check_graph(build, x, np.sin(x), *weights, tolerance=1e-3)
    assert len(plan.regions) == 1


def test_a_loss_and_column_sums_share_one_pass():
    def build(x, b):
        y = node("mul", x, b)
        return [node("sum", y, axes=(0, 1)), node("sum", node("mul", y, x), axes=(0,)), y]

    plan = check_graph(build, floats(200, 300), floats(300), tolerance=1e-3)
    assert len(plan.regions) == 2


@pytest.mark.parametrize("again, narrow", [(False, False), (True, True)])
def test_tiles_of_columns_are_narrow_if_walked_again(again, narrow):
    """Columns walked once are summed over wide tiles, whatever is made of the sums."""
    x = ir.input((4096, 2048), dtypes.float32)
    total = node("exp", node("sum", x, axes=(0,)))
    y = node("sum", node("mul", x, total), axes=(0,)) if again else total
    (region,) = fuse(Graph([x], [y]))
    call, *_ = lower_region(region)
    assert ("int", 16 if narrow else 512) in call.slots


def test_transposes_in_blocks():
    def build(x, y):
        return node("add", node("permute", x, axes=(1, 0)), y)

    check_graph(build, floats(300, 170), floats(170, 300))
    check_graph(lambda x: node("permute", x, axes=(0, 2, 1)), floats(3, 130, 65))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "size, stride, dilation, extent",
    [
        ((3, 3), (2, 2), (1, 1), (13, 12)),  # strided convolution: even, and odd with a gap
        ((3, 3), (1, 1), (1, 1), (7, 8)),
        ((2, 2), (2, 2), (1, 1), (8, 6)),  # windows side by side
        ((2, 3), (3, 4), (1, 1), (11, 13)),  # gaps between windows
        ((3, 2), (2, 1), (2, 3), (14, 9)),
        ((1, 5), (1, 2), (1, 2), (3, 15)),
        ((3, 3), (2, 2), (1, 1), (3, 3)),  # a single window
        ((5, 7), (1, 1), (1, 1), (9, 9)),  # more terms than are written out
    ],
)
def test_windows_are_summed(size, stride, dilation, extent, fused):
    rows = zip(size, stride, dilation, extent, strict=True)
    windows = [(n - d * (k - 1) - 1) // s + 1 for k, s, d, n in rows]
    attrs = {"size": size, "stride": stride, "dilation": dilation, "extent": extent}

    def build(y):
        y = node("neg", node("exp", y)) if fused else y
        return node("window_sum", y, axes=(1, 3), **attrs)

    check_graph(build, floats(2, windows[0], 5, windows[1], *size))


@pytest.mark.parametrize("axes", [None, (3, 0, 2, 1), (0, 1, 3, 2)])
@pytest.mark.parametrize(
    "shape, low, high",
    [
        ((2, 3, 8, 9), (0, 0, 1, 1), (0, 0, 1, 1)),  # a convolution's
        ((2, 3, 5, 4), (0, 0, 0, 2), (0, 0, 3, 1)),
        ((2, 3, 4, 5), (1, 2, 1, 2), (2, 1, 3, 0)),  # all around
        ((2, 3, 4, 5), (0, 1, 0, 0), (0, 2, 0, 0)),  # rows as they are
        ((1, 40, 3, 2), (0, 0, 1, 1), (1, 0, 1, 1)),  # short rows: loops trade places
        ((4, 1, 1, 1), (0, 1, 2, 3), (0, 1, 0, 1)),
        ((2, 2, 3, 200), (0, 0, 1, 5), (0, 0, 1, 5)),
        ((1, 2, 2, 40000), (0, 0, 1, 1), (0, 0, 1, 1)),  # rows cut into blocks
        ((2, 0, 3, 4), (0, 1, 1, 1), (0, 1, 1, 1)),
    ],
)
def test_padding(shape, low, high, axes):
    attrs = {"low": low, "high": high, "interior": (0,) * 4, "value": 2.5}

    def build(x):
        x = x if axes is None else node("neg", node("permute", x, axes=axes))
        return node("pad", x, **attrs)

    check_graph(build, floats(*shape))


def test_an_image_is_padded_in_one_pass():
    attrs = {"low": (0, 0, 1, 2), "high": (0, 0, 1, 2), "interior": (0,) * 4, "value": 0.0}
    plan = check_graph(lambda x: node("pad", x, **attrs), floats(2, 3, 8, 9))
    (region,) = plan.regions
    assert len(lower_region(region)) == 1


def test_max_pool_is_unrolled():
    attrs = {"axes": (2, 3), "size": (2, 2), "stride": (2, 2), "dilation": (1, 1)}

    def build(x):
        y = node("max", node("window", x, **attrs), axes=(4, 5))
        flat = node("reshape", node("window", x, **attrs), shape=(*y.shape, 4))
        return [y, node("argmax", flat, axis=4)]

    plan = check_graph(build, floats(2, 3, 8, 10))
    (call,) = lower_region(plan.regions[0])
    assert call.source.count("for ") == 2


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((5, 40), 1), ((40, 3), 0), ((70,), 0)])
def test_sort_is_stable_and_knows_nan(shape, axis, descending):
    x = np.round(floats(*shape))
    x[x > 1] = np.nan

    def build(x):
        results = node("sort", x, axis=axis, descending=descending)
        return [node("result", results, index=i) for i in (1, 0)]

    check_graph(build, x)


def test_gather_reports_a_bad_index():
    x, i = ir.input((5, 3), dtypes.float32), ir.input((2, 3), dtypes.int64)
    y = node("gather", x, i, axis=0)
    region = Region(LOOP, (y,), (x, i), (y,))
    value = {x: floats(5, 3), i: np.array([[0, 1, 4], [2, 5, 0]])}
    assert run_region(region, value) != 0
    value[i] = value[i] % 5
    assert run_region(region, value) == 0


def test_in_place_uses_one_slot():
    x, b = ir.input((40, 30), dtypes.float32), ir.input((30,), dtypes.float32)
    y = node("exp", node("add", x, b))
    region = Region(LOOP, (*y.inputs, y), (x, b), (y,))
    value = {x: floats(40, 30), b: floats(30)}
    (wanted,) = interpret.run(Graph([x, b], [y]), [value[x].copy(), value[b]])
    run_region(region, value, {y: x})
    np.testing.assert_allclose(value[x], wanted, rtol=1e-5)
    (call,) = lower_region(region, {y: x})
    assert sum(slot[0] == "ptr" for slot in call.slots) == 2


def test_equal_structures_have_equal_sources():
    def source(n, m):
        x = ir.input((n, m), dtypes.float32)
        (region,) = fuse(Graph([x], [softmax(x, 1)]))
        return [call.source for call in lower_region(region)]

    assert source(8, 16) == source(100, 37)


def test_unsupported_dtypes_are_left_to_the_interpreter():
    x = ir.input((3,), dtypes.float16)
    y = node("neg", x)
    with pytest.raises(NotImplementedError, match="float16"):
        lower_region(Region(LOOP, (y,), (x,), (y,)))
