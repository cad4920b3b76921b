"""Nodes and graphs: the static program that tracing builds and passes rewrite.

    x = ir.input((2, 3), float32, "x")
    y = ir.node("exp", x)            # shape and dtype are inferred here, errors raised here
    g = Graph([x], [y])
    print(g)                         # one typed line a node
    g.networkx()                     # the face that networkx algorithms work on

A Node never changes. A Graph is its inputs and outputs; its nodes are what the outputs reach.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.errors import UNKNOWN, Origin, VerificationError
from graphgrad.ops import PRIMITIVES, Primitive, Shape, size_of


class Node:
    """One operation's result. ``results`` lists the types of an operation with several results."""

    __slots__ = ("__weakref__", "attrs", "dtype", "inputs", "op", "origins", "results", "shape")

    op: Primitive
    inputs: tuple[Node, ...]
    attrs: dict[str, Any]
    shape: Shape
    dtype: DType
    origins: tuple[Origin, ...]
    results: tuple[tuple[Shape, DType], ...]

    def __init__(
        self,
        op: Primitive,
        inputs: tuple[Node, ...],
        attrs: dict[str, Any],
        type_: Any,
        origins: tuple[Origin, ...] = (),
    ) -> None:
        self.op, self.inputs, self.attrs, self.origins = op, inputs, attrs, origins
        if op.results:
            self.results, self.shape, self.dtype = type_, (), dtypes.bool_
        else:
            self.results, (self.shape, self.dtype) = (), type_

    @property
    def size(self) -> int:
        """The number of elements."""
        return size_of(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take when they lie side by side."""
        return self.size * self.dtype.itemsize

    @property
    def origin(self) -> Origin:
        """Where in the user's program this was written; the first place of several."""
        return self.origins[0] if self.origins else UNKNOWN

    def with_inputs(self, inputs: Sequence[Node]) -> Node:
        """The same operation over other operands, re-typed; itself when nothing changes."""
        if tuple(inputs) == self.inputs:  # nodes are equal if they are the same
            return self
        return node(self.op.name, *inputs, origins=self.origins, **self.attrs)

    def __repr__(self) -> str:
        return f"<{self.op.name} {type_text(self)}>"


class Constant:
    """An array as an attribute: hashable by content, so that equal constants merge."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = np.array(value, order="C")
        self.value.flags.writeable = False
        self._key = (self.value.shape, self.value.dtype.str, self.value.tobytes())

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.value.shape

    @property
    def dtype(self) -> DType:
        """The type of its elements."""
        return dtypes.from_numpy(self.value.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"array{list(self.shape)}"


# Tracing sets this to a function that says where the user is; graphs built by passes keep origins.
_origin: Callable[[], Origin] | None = None


def node(name: str, *inputs: Node, origins: tuple[Origin, ...] | None = None, **attrs: Any) -> Node:
    """Build a node: infers its type, remembers the user's line, or raises at it."""
    op = PRIMITIVES[name]
    if origins is None:
        origins = () if _origin is None else (_origin(),)
    return Node(op, inputs, attrs, op.infer(inputs, attrs), origins)


def set_origin(source: Callable[[], Origin] | None) -> Callable[[], Origin] | None:
    """Install the function that finds provenance of new nodes; returns the one before."""
    global _origin
    before, _origin = _origin, source
    return before


# Whoever keeps account of what passes do to nodes (graphgrad.passes.account) listens here.
_listener: Callable[[Node, Node, str], None] | None = None


def set_listener(listener: Callable[[Node, Node, str], None] | None) -> Any:
    """Have ``listener(old, new, rule)`` told what became of nodes; returns the one before."""
    global _listener
    before, _listener = _listener, listener
    return before


def became(old: Node, new: Node, rule: str = "") -> None:
    """Say that ``new`` stands for ``old`` from here on; no ``rule``: over other operands."""
    if _listener is not None and old is not new:
        _listener(old, new, rule)


def all_became(new: Mapping[Node, Node], rule: str = "") -> None:
    """``became`` for every pair."""
    if _listener is not None:
        for x, y in new.items():
            became(x, y, rule)


class of_output:
    """Nodes made inside belong to the gradient of operand ``number`` (SUM: to no function's)."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before = _origin
        if _origin is not None:
            set_origin(self._narrowed)

    def __exit__(self, *_: Any) -> None:
        set_origin(self.before)

    def _narrowed(self) -> Origin:
        return self.before().of_output(self.number)  # type: ignore[misc]


def input(shape: Shape, dtype: DType, name: str = "", role: str = "input") -> Node:
    """A graph input; role: input, parameter, buffer, state, scalar, saved, cotangent."""
    return Node(PRIMITIVES["input"], (), {"name": name, "role": role}, (tuple(shape), dtype))


def like(x: Any, name: str = "", role: str = "input") -> Node:
    """An input of the type of ``x``."""
    return input(x.shape, x.dtype, name, role)


class Graph:
    """Inputs, outputs and what lies between, in topological order (``nodes``)."""

    __slots__ = ("inputs", "name", "nodes", "outputs")

    def __init__(self, inputs: Iterable[Node], outputs: Iterable[Node], name: str = "") -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.name = name
        self.nodes = topological(self.outputs)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def users(self) -> dict[Node, list[Node]]:
        """Which nodes read each node (an output position is no user)."""
        users: dict[Node, list[Node]] = {x: [] for x in (*self.inputs, *self.nodes)}
        for y in self.nodes:
            for x in dict.fromkeys(y.inputs):
                users[x].append(y)
        return users

    def networkx(self) -> Any:
        """A ``networkx.DiGraph`` of the nodes, edges from operand to user."""
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from((*self.inputs, *self.nodes))
        graph.add_edges_from((x, y) for y in self.nodes for x in y.inputs)
        return graph

    def key(self) -> tuple[Any, ...]:
        """Structure as a hashable value: equal graphs (up to names and origins) have equal keys."""

        def described(x: Node) -> tuple[Any, ...]:
            return x.op.name, x.shape, x.dtype.name, () if x.op.name == "input" else attr_key(x)

        return self.rows(described)

    def rows(self, described: Callable[[Node], tuple[Any, ...]]) -> tuple[Any, ...]:
        """The graph as a table: what ``described`` says of each node and the numbers of its
        operands, inputs first; how many inputs there are; the numbers of the outputs."""
        number: dict[Node, int] = {}
        rows: list[Any] = []
        for x in (*self.inputs, *self.nodes):
            if x not in number:
                number[x] = len(number)
                rows.append((*described(x), *(number[i] for i in x.inputs)))
        return tuple(rows), len(self.inputs), tuple(number[y] for y in self.outputs)

    def verify(self) -> Graph:
        """Re-run every type rule; raise VerificationError naming the first node that breaks it."""
        known = set(self.inputs)
        for x in self.nodes:
            if x.op.name == "input":
                if x not in known:
                    raise VerificationError(f"{x!r} ({x.attrs}) is no input of this graph")
                continue
            expected = x.op.infer(x.inputs, x.attrs)
            actual = x.results if x.op.results else (x.shape, x.dtype)
            if expected != actual:
                raise VerificationError(f"{x!r}: the type rule says {expected} ({x.origin})")
            if set(x.attrs) != set(x.op.attrs):
                raise VerificationError(f"{x!r}: attributes {set(x.attrs)}, not {x.op.attrs}")
            for inner in subgraphs(x):
                inner.verify()
            known.add(x)
        missing = [y for y in self.outputs if y not in known and y.op.name == "input"]
        if missing or len(set(self.inputs)) != len(self.inputs):
            raise VerificationError(f"inputs are repeated, or outputs {missing} are unknown")
        return self

    def __repr__(self) -> str:
        return listing(self)


def _attr_key(value: Any) -> Any:
    if isinstance(value, Graph):
        return value.key()
    # 1, 1.0 and True are equal but no equal attributes; -0.0 and 0.0 differ, a NaN equals itself.
    return (type(value).__name__, repr(value)) if isinstance(value, (bool, int, float)) else value


def attr_key(x: Node) -> tuple[Any, ...]:
    """A node's attributes as a hashable value."""
    return tuple(_attr_key(v) for v in x.attrs.values())


def subgraphs(x: Node) -> list[Graph]:
    """The graphs a control-flow node holds."""
    return [v for v in x.attrs.values() if isinstance(v, Graph)]


def topological(outputs: Iterable[Node], stop: Container[Node] = ()) -> tuple[Node, ...]:
    """Everything the outputs reach, operands first, in a deterministic depth-first order.

    Nodes in ``stop`` are left out, and so is what only they reach.
    """
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(y, False) for y in reversed(list(outputs))]
    while stack:
        x, ready = stack.pop()
        if ready:
            order.append(x)
        elif x not in done and x not in stop:
            done.add(x)
            stack.append((x, True))
            stack.extend((i, False) for i in reversed(x.inputs) if i not in done)
    return tuple(order)


def rewrite(graph: Graph, rule: Callable[[Node], Node | None], name: str = "") -> Graph:
    """Rebuild bottom-up: ``rule`` sees each node over rewritten operands; None keeps it.

    ``name`` is what an account calls the rule, where it does not say so itself (``became``).
    """
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    for x in graph.nodes:
        if x not in new:
            moved = x.with_inputs([new[i] for i in x.inputs])
            replaced = rule(moved)
            new[x] = moved if replaced is None else replaced
            became(x, moved)
            if name:
                became(moved, new[x], name)
    return Graph(graph.inputs, [new[y] for y in graph.outputs], graph.name)


def replace(graph: Graph, rule: Callable[[Node], Node | None], name: str = "") -> Graph:
    """Rebuild bottom-up: ``rule`` sees the graph's own nodes, which it may look up by identity.

    What it returns is built over nodes of the old graph; None keeps a node. ``name``: see rewrite.
    """
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    for x in graph.nodes:
        if x not in new:
            replaced = rule(x)
            new[x] = _rebuilt(x if replaced is None else replaced, new)
            became(x, new[x], "" if replaced is None else name)
    return Graph(graph.inputs, [new[y] for y in graph.outputs], graph.name)


def _rebuilt(x: Node, new: dict[Node, Node]) -> Node:
    """``x`` over replaced operands; what a rule made is walked down to known nodes."""
    if x in new:
        return new[x]
    return x.with_inputs([_rebuilt(y, new) for y in x.inputs])


def inline(graph: Graph, operands: Sequence[Any], apply: Callable[..., Any] = node) -> list[Any]:
    """Replay a graph's nodes over ``operands``; ``apply`` decides what they become."""
    value: dict[Node, Any] = dict(zip(graph.inputs, operands, strict=True))
    for x in graph.nodes:
        if x not in value:
            extra = {"origins": x.origins} if apply is node else {}
            value[x] = apply(x.op.name, *(value[i] for i in x.inputs), **extra, **x.attrs)
            if apply is node:
                became(x, value[x])
    return [value[y] for y in graph.outputs]


# ------------------------------------------------------------------------------------------ listing


def type_text(x: Node) -> str:
    """``float32[2, 3]``, or the types of all results."""
    if x.op.results:
        return "(" + ", ".join(f"{d.name}{list(s)}" for s, d in x.results) + ")"
    return f"{x.dtype.name}{list(x.shape)}"


def names(graph: Graph) -> dict[Node, str]:
    """Readable, unique, deterministic names: inputs by their own, others op and number."""
    result: dict[Node, str] = {}
    taken: set[str] = set()
    for i, x in enumerate((*graph.inputs, *graph.nodes)):
        if x in result:
            continue
        base = (x.attrs["name"] or f"x{i}") if x.op.name == "input" else f"%{len(result)}"
        name = base if base not in taken else f"{base}.{i}"
        taken.add(name)
        result[x] = name
    return result


def listing(graph: Graph) -> str:
    """The graph as text: one typed line a node, with provenance."""
    name = names(graph)
    head = ", ".join(f"{name[x]}: {type_text(x)}" for x in graph.inputs)
    lines = [f"graph {graph.name or ''}({head})"]
    lines += (f"  {line_of(x, name)}" for x in graph.nodes if x.op.name != "input")
    lines.append(f"  return {', '.join(name[y] for y in graph.outputs)}")
    return "\n".join(lines)


# Where provenance starts, where a line leaves room for it.
_COLUMN = 76


def line_of(x: Node, name: dict[Node, str]) -> str:
    """``%3: float32[8, 3] = add(%1, b)   # train.py:12 in net.fc``, as listings have it."""
    if x.op.name == "input":
        return f"{name[x]}: {type_text(x)} = {x.attrs['role']}"
    parts = [name[i] for i in x.inputs]
    for key, value in x.attrs.items():
        parts.append(f"{key}={f'<graph of {len(value)}>' if isinstance(value, Graph) else value}")
    text = f"{name[x]}: {type_text(x)} = {x.op.name}({', '.join(parts)})"
    return f"{text.ljust(_COLUMN)}  # {provenance(x)}" if x.origin.code else text


def provenance(x: Node) -> str:
    """``train.py:12 backward of net.conv1 (ConvolutionBackward0)``: line, module, composite."""
    origin = x.origin
    by = origin.record or origin.composite
    where = " ".join(filter(None, (origin.module, f"({by})" if by else "")))
    link = "backward of " if origin.phase else "in "
    return f"{origin} {link}{where}" if where else str(origin)
