"""Graphs of random nodes over random shapes, dtypes and views, with arrays to run them on.

    graph, arrays = grow(seed)

Everything is drawn from the seed: a failing seed is a test of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, Node, node
from graphgrad.ops import Shape

SIZES = [1, 2, 3, 4, 5, 7, 17]
LARGEST = 4000
DTYPES = [dtypes.float32] * 3 + [dtypes.float64, dtypes.int32, dtypes.int64]


def grow(seed: int, steps: int = 8) -> tuple[Graph, list[np.ndarray]]:
    """A graph of about ``steps`` random nodes, and its inputs."""
    garden = _Garden(seed)
    for _ in range(garden.draw.randint(1, 2)):
        garden.input(garden.shape())
    while len(garden.nodes) < steps:
        garden.step()
    outputs = [garden.nodes[-1], *garden.draw.sample(garden.nodes, 2)]
    outputs = [y for y in dict.fromkeys(outputs) if y not in garden.inputs]
    return Graph(garden.inputs, outputs), garden.arrays


class _Garden:
    """Nodes so far; every ``_name`` method below ``step`` adds one kind of node."""

    def __init__(self, seed: int) -> None:
        self.draw, self.numbers = random.Random(seed), np.random.default_rng(seed)
        self.dtype = self.draw.choice(DTYPES)
        self.inputs: list[Node] = []
        self.arrays: list[np.ndarray] = []
        self.nodes: list[Node] = []

    def shape(self) -> Shape:
        sizes = SIZES if self.draw.random() < 0.95 else [0, 3]
        return tuple(self.draw.choice(sizes) for _ in range(self.draw.randint(0, 4)))

    def input(self, shape: Shape) -> Node:
        x = ir.input(shape, self.dtype)
        self._feed(x, self.numbers.standard_normal(shape) * (1 if self._floats else 5))
        self.nodes.append(x)
        return x

    def index(self, shape: Sequence[int], extent: int) -> Node:
        i = ir.input(tuple(shape), dtypes.int64)
        self._feed(i, self.numbers.integers(0, extent, shape))
        return i

    def _feed(self, x: Node, array: np.ndarray) -> None:
        self.inputs.append(x)
        self.arrays.append(np.asarray(array).astype(x.dtype.numpy))

    @property
    def _floats(self) -> bool:
        return self.dtype.is_floating_point

    def scalar(self, value: float) -> Node:
        return node("scalar", value=value if self._floats else int(value), dtype=self.dtype)

    def step(self) -> None:
        """Add a node, unless it would be too large or cannot be built over what was drawn."""
        recent = self.nodes[-4:] if self.draw.random() < 0.7 else self.nodes
        x = self.draw.choice(recent)
        kind = self.draw.choice([*_ANY, *_DIMENSIONED] if x.shape else _ANY)
        y = getattr(self, kind)(x)
        if y is not None and y.size <= LARGEST:
            self.nodes.append(y)

    def partner(self, x: Node) -> Node:
        """An operand that broadcasts to the shape of ``x``: a value, a literal or a new input."""
        if self.draw.random() < 0.3:
            return self.scalar(self.draw.choice([2.0, -1.5, 3.0]))
        fits = [y for y in self.nodes if _broadcasts(y.shape, x.shape)]
        if self.draw.random() < 0.6:
            return self.draw.choice(fits)
        tail = x.shape[self.draw.randint(0, len(x.shape)) :]
        return self.input(tuple(1 if self.draw.random() < 0.3 else n for n in tail))

    def axis(self, x: Node) -> int:
        return self.draw.randrange(len(x.shape))

    def keep(self, y: Node, x: Node, axes: Sequence[int]) -> Node:
        return node("reshape", y, shape=tuple(1 if a in axes else n for a, n in enumerate(x.shape)))

    # ---- elementwise

    def _binary(self, x: Node) -> Node:
        name = self.draw.choice(["add", "sub", "mul", "maximum", "minimum"])
        return node(name, *self.draw.sample([x, self.partner(x)], 2))

    def _unary(self, x: Node) -> Node:
        smooth = ["exp", "tanh", "sigmoid"] if self._floats else []
        y = node("minimum", x, self.scalar(4.0))
        return node(self.draw.choice(["neg", "abs", "sign", *smooth]), y)

    def _where(self, x: Node) -> Node:
        y = self.partner(x)
        return node("where", node(self.draw.choice(["lt", "ge", "eq"]), x, y), x, y)

    # ---- reductions

    def _sum(self, x: Node) -> Node:
        count = self.draw.randint(1, min(2, len(x.shape)))
        axes = tuple(sorted(self.draw.sample(range(len(x.shape)), count)))
        y = node("sum", node("mul", x, self.scalar(0.25 if self._floats else 1)), axes=axes)
        return node("sub", x, self.keep(y, x, axes)) if self.draw.random() < 0.5 else y

    def _extremum(self, x: Node) -> Node | None:
        axis = self.axis(x)
        if x.shape[axis] == 0:
            return None
        y = node(self.draw.choice(["max", "min"]), x, axes=(axis,))
        return node("sub", x, self.keep(y, x, (axis,))) if self.draw.random() < 0.5 else y

    def _place(self, x: Node) -> Node | None:
        axis = self.axis(x)
        if x.shape[axis] == 0:
            return None
        name = self.draw.choice(["argmax", "argmin"])
        return node("cast", node(name, x, axis=axis), dtype=self.dtype)

    def _softmax(self, x: Node) -> Node | None:
        axis = self.axis(x)
        if x.shape[axis] == 0 or not self._floats:
            return None
        e = node("exp", node("sub", x, self.keep(node("max", x, axes=(axis,)), x, (axis,))))
        return node("div", e, self.keep(node("sum", e, axes=(axis,)), x, (axis,)))

    def _running(self, x: Node) -> Node:
        names = ["cummax", "cummin"] if self._floats else ["cumsum", "cumprod"]
        return node(self.draw.choice(names), x, axis=self.axis(x))

    # ---- movement

    def _permute(self, x: Node) -> Node:
        axes = list(range(len(x.shape)))
        self.draw.shuffle(axes)
        return node("permute", x, axes=tuple(axes))

    def _flatten(self, x: Node) -> Node:
        i = self.axis(x)
        shape = (*x.shape[:i], int(np.prod(x.shape[i : i + 2])), *x.shape[i + 2 :])
        return node("reshape", x, shape=shape)

    def _split(self, x: Node) -> Node | None:
        factors = [k for k in range(2, min(x.size, 1000)) if x.size % k == 0]
        if not factors:
            return None
        k = self.draw.choice(factors)
        return node("reshape", x, shape=(x.size // k, k))

    def _slice(self, x: Node) -> Node:
        start = tuple(self.draw.randint(0, min(n, 2)) for n in x.shape)
        step = tuple(self.draw.choice([1, 1, 2]) for _ in x.shape)
        return node("slice", x, start=start, stop=x.shape, step=step)

    def _flip(self, x: Node) -> Node:
        return node("flip", x, axes=(self.axis(x),))

    def _expand(self, x: Node) -> Node:
        return node("expand", x, shape=(self.draw.choice([2, 3]), *x.shape))

    def _pad(self, x: Node) -> Node:
        low = tuple(self.draw.choice([0, 1, 2, -1 if n > 2 else 0]) for n in x.shape)
        high = tuple(self.draw.choice([0, 1]) for _ in x.shape)
        interior = tuple(self.draw.choice([0, 0, 0, 1]) for _ in x.shape)
        return node("pad", x, low=low, high=high, interior=interior, value=self.draw.choice([0, 1]))

    def _concat(self, x: Node) -> Node:
        axis = self.axis(x)
        fits = [y for y in self.nodes if _same_but(y.shape, x.shape, axis)]
        return node("concat", x, *self.draw.choices(fits, k=self.draw.randint(1, 2)), axis=axis)

    def _window(self, x: Node) -> Node | None:
        attrs = self._window_attrs(x)
        if attrs["size"] == (0,):
            return None
        y = node("window", x, **attrs)
        if self.draw.random() < 0.3:
            return y
        return node(self.draw.choice(["max", "sum"]), y, axes=(len(x.shape),))

    def _window_sum(self, x: Node) -> Node:
        attrs = self._window_attrs(x)
        y = node("mul", node("window", x, **attrs), self.scalar(2))
        return node("window_sum", y, **attrs, extent=(x.shape[attrs["axes"][0]],))

    def _window_attrs(self, x: Node) -> dict[str, tuple[int, ...]]:
        axis = self.axis(x)
        size = min(self.draw.randint(1, 3), x.shape[axis])
        stride = self.draw.choice([1, 2, 3])
        return {"axes": (axis,), "size": (size,), "stride": (stride,), "dilation": (1,)}

    def _update(self, x: Node) -> Node:
        start = tuple(self.draw.randint(0, n) for n in x.shape)
        step = tuple(self.draw.choice([1, 2]) for _ in x.shape)
        rows = zip(x.shape, start, step, strict=True)
        shape = tuple(self.draw.randint(0, (n - a + s - 1) // s) for n, a, s in rows)
        return node("slice_update", x, self.input(shape), start=start, step=step)

    # ---- positions

    def _gather(self, x: Node) -> Node | None:
        axis, shape = self._drawn_along(x)
        return node("gather", x, self.index(shape, x.shape[axis]), axis=axis) if shape else None

    def _scatter(self, x: Node) -> Node | None:
        axis, shape = self._drawn_along(x)
        if not shape:
            return None
        source = node("mul", self.input(tuple(shape)), self.scalar(2))
        name = self.draw.choice(["scatter", "scatter_add"])
        return node(name, x, self.index(shape, x.shape[axis]), source, axis=axis)

    def _drawn_along(self, x: Node) -> tuple[int, list[int]]:
        axis, shape = self.axis(x), list(x.shape)
        if x.shape[axis] == 0:
            return axis, []
        shape[axis] = self.draw.randint(1, 5)
        return axis, shape


_ANY = ["_binary", "_binary", "_unary", "_where"]
_DIMENSIONED = """_sum _sum _extremum _place _softmax _running _permute _flatten _split _slice _flip
_expand _pad _concat _window _window_sum _update _gather _scatter""".split()


def _broadcasts(shape: Shape, wide: Shape) -> bool:
    pairs = zip(shape[::-1], wide[::-1], strict=False)
    return len(shape) <= len(wide) and all(n in (1, m) for n, m in pairs)


def _same_but(shape: Shape, other: Shape, axis: int) -> bool:
    rows = enumerate(zip(shape, other, strict=False))
    return len(shape) == len(other) and all(n == m or a == axis for a, (n, m) in rows)
