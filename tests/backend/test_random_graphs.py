"""Random graphs of every kind of node: kernels compute what the interpreter says."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad import dtypes, interpret, ir
from graphgrad.compile import Executable
from graphgrad.config import config
from graphgrad.ir import Graph, node
from graphgrad.nn import functional

F = dtypes.float32


class Maker:
    """Grows a graph by random nodes; ``exact`` values carry no rounding: they may be compared."""

    def __init__(self, rng):
        self.rng = rng
        shapes = [(3, 4), (4,), (2, 3, 4), (5, 4), (1, 4)]
        self.inputs = [ir.input(s, F) for s in shapes]
        self.index = ir.input((3, 4), dtypes.int64)
        self.state = ir.input((2,), dtypes.int64)
        self.values = list(self.inputs)
        self.exact = set(self.inputs)

    def pick(self, rank=0, exact=False):
        fits = [x for x in self.values if len(x.shape) >= rank and (x in self.exact or not exact)]
        # Recent values more often: deep graphs, not wide ones.
        return fits[max(0, len(fits) - 1 - int(self.rng.exponential(3)))]

    def add(self, x, exact=False):
        if x.dtype is not F:
            x = node("cast", x, dtype=F)
        if 0 < x.size <= 4000:
            self.values.append(x)
            if exact:
                self.exact.add(x)

    def grow(self):
        kinds = sorted(name for name in dir(self) if name.startswith("make_"))
        getattr(self, self.rng.choice(kinds))()

    def axis(self, x):
        return int(self.rng.integers(len(x.shape)))

    def like(self, x):
        """A value that broadcasts to the shape of ``x``."""
        shape = x.shape
        fits = [
            y
            for y in self.values
            if len(y.shape) <= len(shape)
            and all(n in (1, m) for n, m in zip(y.shape[::-1], shape[::-1], strict=False))
        ]
        return fits[int(self.rng.integers(len(fits)))]

    def make_unary(self):
        self.add(node(self.rng.choice(["tanh", "sin", "abs", "neg", "sigmoid"]), self.pick()))

    def make_binary(self):
        x = self.pick()
        name = self.rng.choice(["add", "sub", "mul", "maximum", "minimum"])
        self.add(node("tanh", node(name, x, self.like(x))))

    def make_where(self):
        x, y = self.pick(), self.pick(exact=True)
        zero = node("scalar", value=0.0, dtype=F)
        if all(n in (1, m) for n, m in zip(y.shape[::-1], x.shape[::-1], strict=False)):
            self.add(node("where", node("lt", y, zero), x, zero))

    def make_reduce(self):
        x = self.pick(1)
        axes = tuple(sorted({self.axis(x) for _ in range(2)}))
        self.add(node(self.rng.choice(["sum", "max", "min"]), x, axes=axes))

    def make_arg(self):
        x = self.pick(1, exact=True)
        self.add(node(self.rng.choice(["argmax", "argmin"]), x, axis=self.axis(x)), exact=True)

    def make_reshape(self):
        x = self.pick()
        n = x.size
        divisors = [d for d in range(1, n + 1) if n % d == 0]
        d = int(self.rng.choice(divisors))
        self.add(node("reshape", x, shape=(d, n // d)), x in self.exact)

    def make_permute(self):
        x = self.pick(2)
        axes = tuple(int(a) for a in self.rng.permutation(len(x.shape)))
        self.add(node("permute", x, axes=axes), x in self.exact)

    def make_slice(self):
        x = self.pick(1)
        start = tuple(int(self.rng.integers(n)) for n in x.shape)
        step = tuple(int(self.rng.integers(1, 3)) for _ in x.shape)
        self.add(node("slice", x, start=start, stop=x.shape, step=step), x in self.exact)

    def make_flip(self):
        x = self.pick(1)
        self.add(node("flip", x, axes=(self.axis(x),)), x in self.exact)

    def make_pad(self):
        x = self.pick(1)
        low, high, between = (
            tuple(int(v) for v in self.rng.integers(0, 3, len(x.shape))) for _ in range(3)
        )
        self.add(node("pad", x, low=low, high=high, interior=between, value=0.5), x in self.exact)

    def make_concat(self):
        x = self.pick(1)
        self.add(node("concat", x, node("neg", x), x, axis=self.axis(x)), x in self.exact)

    def make_window(self):
        x = self.pick(1)
        axis = self.axis(x)
        if x.shape[axis] < 2:
            return
        size = {"size": (2,), "stride": (int(self.rng.integers(1, 3)),), "dilation": (1,)}
        wide = node("window", x, axes=(axis,), **size)
        self.add(node("max", wide, axes=(len(x.shape),)), x in self.exact)
        self.add(node("window_sum", wide, axes=(axis,), extent=(x.shape[axis],), **size))

    def make_expand(self):
        x = self.pick()
        self.add(node("expand", x, shape=(2, *x.shape)), x in self.exact)

    def make_update(self):
        x = self.pick(1)
        part = node("slice", x, start=(0,) * len(x.shape), stop=x.shape, step=(2,) * len(x.shape))
        zeros = (0,) * len(x.shape)
        self.add(node("slice_update", x, node("neg", part), start=zeros, step=(1,) * len(x.shape)))

    def make_dot(self):
        x = self.pick(2)
        y = self.pick(2)
        for i, n in enumerate(x.shape):
            for j, m in enumerate(y.shape):
                if n == m:
                    dot = node("dot_general", x, y, contract=((i,), (j,)), batch=((), ()))
                    self.add(node("tanh", dot))
                    return

    def make_gather(self):
        x = self.inputs[3]
        self.add(node("gather", x, self.index, axis=0), exact=True)

    def make_scatter(self):
        x = self.inputs[3]
        name = self.rng.choice(["scatter", "scatter_add"])
        if name == "scatter_add":
            self.add(node(name, x, self.index, self.inputs[0], axis=0))

    def make_cumulative(self):
        x = self.pick(1)
        self.add(node("tanh", node("cumsum", x, axis=self.axis(x))))

    def make_sort(self):
        x = self.pick(1, exact=True)
        both = node("sort", x, axis=self.axis(x), descending=bool(self.rng.integers(2)))
        self.add(node("result", both, index=0), exact=True)
        self.add(node("result", both, index=1), exact=True)

    def make_scan(self):
        x = self.pick(2)
        carry, row = ir.input(x.shape[1:], F), ir.input(x.shape[1:], F)
        new = node("tanh", node("add", carry, row))
        stacks = [[new], [carry], [new, carry], [node("neg", carry), new]]
        body = Graph([carry, row], [new, *stacks[int(self.rng.integers(4))]])
        start = node("sum", x, axes=(0,))
        reverse = bool(self.rng.integers(2))
        attrs = {"carries": 1, "sequences": 1, "length": x.shape[0], "reverse": reverse}
        both = node("scan", start, x, body=body, **attrs)
        for index in self.rng.permutation(len(body.outputs))[:2]:
            self.add(node("result", both, index=int(index)))

    def make_iota(self):
        self.add(node("iota", shape=(3, 4), axis=int(self.rng.integers(2)), dtype=F), exact=True)

    def make_random(self):
        bits = node("random_bits", self.state, shape=(3, 4), word=0)
        self.add(node("shift_right", bits, node("scalar", value=8, dtype=dtypes.uint32)), True)


def random_graph(seed, size):
    rng = np.random.default_rng(seed)
    maker = Maker(rng)
    while len(maker.values) < size + len(maker.inputs):
        maker.grow()
    made = maker.values[len(maker.inputs) :]
    outputs = [made[-1], *(made[int(i)] for i in rng.integers(0, len(made), 3))]
    graph = Graph([*maker.inputs, maker.index, maker.state], outputs)
    arrays = [rng.standard_normal(x.shape).astype(np.float32) for x in maker.inputs]
    return graph, [*arrays, rng.integers(0, 5, (3, 4)), rng.integers(0, 99, 2)]


def check(seed, size):
    graph, arrays = random_graph(seed, size)
    expected = interpret.run(graph, arrays)
    with config.scope(tier="compiled", check=True):
        actual = Executable(graph)([x.copy() for x in arrays])
    for y, right, left in zip(graph.outputs, expected, actual, strict=True):
        scale = max(1.0, float(np.abs(right).max(initial=0)))
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=2e-5 * scale, err_msg=repr(y))


@pytest.mark.parametrize("seed", range(12))
def test_some_graphs(seed):
    check(seed, 8)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_random_graphs(seed, size):
    check(seed, size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20000, 2, 1), (3000, 7), (40, 300), (9, 4, 500)])
def test_what_is_compared_with_its_own_maximum_is_computed_once(shape, dtype):
    """Computed twice, it may differ in the last bit: then no element is the largest."""

    def positions(x):
        y = functional.gelu(x) + functional.silu(x) * 0.1
        y = y + y.argmax(1, keepdim=True) * 0.01
        return y.argmax(1), y.argmin(1)

    def largest(x):
        x.grad = None
        y = (functional.gelu(x) + functional.silu(x) * 0.1) / 3 + 0.7
        y.amax(1).sum().backward()
        return x.grad

    x = gg.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(dtype))
    for function in (positions, largest):
        given = x.clone().requires_grad_(function is largest)
        with gg.config.scope(tier="interpret"):
            expected = function(given)
        with gg.config.scope(tier="compiled"):
            found = gg.compile(function)(given)
        for left, right in zip(tuple(expected), tuple(found), strict=True):
            wrong = ~np.isclose(left.numpy(), right.numpy(), rtol=1e-4, atol=1e-5)
            assert wrong.mean() < 1e-3, "but for ties, which rounding decides"
            assert right.numpy().max() < 300
