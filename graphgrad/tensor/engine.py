"""Backward: from roots along records to the leaves.

One walk over records, run in two ways. Normally it runs once per *structure* of the record graph,
over Nodes, and leaves a program: saved values and cotangents in, gradients out; later backward
passes of the same structure only look it up. Hooks, ``autograd.Function``, ``create_graph``,
anomaly mode and tracing run the same walk over tensors instead, one operation at a time.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from graphgrad import ir, lang
from graphgrad.device import CPU, device
from graphgrad.errors import SUM, Origin, TraceError
from graphgrad.ir import Graph, Node
from graphgrad.tensor.casting import as_they_are
from graphgrad.tensor.core import Tensor, tracer, wrap
from graphgrad.tensor.hooks import after_hooks, before_hooks, tensor_hooks
from graphgrad.tensor.place import on_device, settled, to_device
from graphgrad.tensor.plan import literal
from graphgrad.tensor.programs import program_of
from graphgrad.tensor.record import Record, place
from graphgrad.tensor.sparse import SparseTensor, gathered
from graphgrad.tensor.state import enable_grad, no_grad, state

Edge = tuple[Any, int]
ndarray = np.ndarray
_sequence = attrgetter("sequence")
_MEMO_SIZE = 2048


def reach(edges: Iterable[Edge]) -> list[Record]:
    """The records that edges lead to, latest first: every record comes after all its users."""
    seen: set[Record] = set()
    stack = [target for target, _ in edges if isinstance(target, Record)]
    while stack:
        rec = stack.pop()
        if rec not in seen:
            seen.add(rec)
            for target, _ in rec.edges:
                if isinstance(target, Record) and target not in seen:
                    stack.append(target)
    return sorted(seen, key=_sequence, reverse=True)


def towards(order: Sequence[Record], targets: Iterable[Edge]) -> list[Record]:
    """The records on a path to one of ``targets``, in the same order."""
    wanted = {t for t, _ in targets}
    useful: set[Any] = set()
    for rec in reversed(order):
        if any(t in useful or t in wanted for t, _ in rec.edges):
            useful.add(rec)
    return [rec for rec in order if rec in useful]


def run(
    roots: Sequence[tuple[Edge, Any]],
    targets: Sequence[Edge] | None,
    retain: bool,
    create_graph: bool,
) -> dict[Edge, Any]:
    """Gradients by edge: of ``targets``, or of every leaf when None.

    roots: (edge, cotangent); a cotangent of None stands for ones. Values of the result are arrays
    when a program ran, and tensors otherwise.
    """
    if state.casting is None:
        return _run(roots, targets, retain, create_graph)
    with as_they_are():
        return _run(roots, targets, retain, create_graph)


def _run(
    roots: Sequence[tuple[Edge, Any]],
    targets: Sequence[Edge] | None,
    retain: bool,
    create_graph: bool,
) -> dict[Edge, Any]:
    order = reach(edge for edge, _ in roots)
    if targets is not None:
        order = towards(order, targets)
    if not create_graph and _is_plain(order):
        if state.trace is not None:
            return _run_traced(state.trace, order, roots, targets, retain)
        return _run_program(order, roots, targets, retain)
    mode = enable_grad if create_graph else no_grad
    with mode(), _watched():
        given = [(edge, _ones(edge) if g is None else g) for edge, g in roots]
        return _Walk(targets, _Revived(create_graph)).run(order, given, retain)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """What runs inside is backward to anomaly mode: the gradients themselves, and hooks."""
    watch = state.watch
    if watch is None:
        yield
        return
    watch.passes += 1
    try:
        yield
    finally:
        watch.passes -= 1


def _type_of(edge: Edge) -> tuple[Any, Any]:
    target, number = edge
    if isinstance(target, Record):
        return target.way.results()[number]
    return tuple(target.shape), target.dtype


def _device_of(edge: Edge) -> device:
    target, _ = edge
    return target.way.device if isinstance(target, Record) else target.device


def _ones(edge: Edge) -> Tensor:
    shape, dtype = _type_of(edge)
    if state.trace is not None:
        return tracer(lang.full(shape, 1, dtype), state.trace)
    return wrap(to_device(np.ones(shape, dtype.numpy), _device_of(edge)))


def _is_plain(order: Sequence[Record]) -> bool:
    """Whether nobody but the leaves looks at what happens on the way."""
    watched = state.watch is not None and state.trace is None
    return not watched and all(rec.way.graphable and not rec._hooks for rec in order)


# ----------------------------------------------------------------------------------------- the walk


class _Walk:
    """Accumulates cotangents by edge; ``values`` says what saved values are: Nodes or tensors."""

    def __init__(self, targets: Sequence[Edge] | None, values: Any) -> None:
        self.totals: dict[Edge, Any] = {}
        self.found: dict[Edge, Any] = {}
        self.targets = None if targets is None else set(targets)
        self.values = values
        self.watch = state.watch if state.trace is None else None

    def run(
        self, order: Sequence[Record], roots: Sequence[tuple[Edge, Any]], retain: bool
    ) -> dict[Edge, Any]:
        useful = set(order)
        for edge, g in roots:
            self._add(edge, g)
        for rec in order:
            cotangents = [self._take(rec, k) for k in range(rec.way.outputs)]
            if any(g is not None for g in cotangents):
                self._step(rec, cotangents, useful, retain)
        self.found.update((edge, g) for edge, g in self.totals.items() if self._is_wanted(edge))
        return self.found

    def _is_wanted(self, edge: Edge) -> bool:
        return not isinstance(edge[0], Record) if self.targets is None else edge in self.targets

    def _take(self, rec: Record, number: int) -> Any:
        """The finished cotangent of one result, after its hooks."""
        g = self.totals.pop((rec, number), None)
        if g is not None and rec._hooks:
            g = tensor_hooks(rec._hooks, number, g)
        if g is not None and self.targets is not None and (rec, number) in self.targets:
            self.found[rec, number] = g
        return g

    def _step(self, rec: Record, cotangents: list[Any], useful: set[Record], retain: bool) -> None:
        with _at(rec):
            if rec._hooks:
                cotangents = before_hooks(rec._hooks, cotangents)
            pull = rec.way.pull if self.watch is None else partial(self.watch.pull, rec)
            pulled = pull(cotangents, self.values.saved(rec))
            if isinstance(self.values, _Revived):
                pulled = [self.values.tensor(g, rec.way.device) for g in pulled]
            if rec._hooks:
                pulled = after_hooks(rec, pulled, cotangents)
            if not retain:
                rec.free()
            for edge, g in zip(rec.edges, pulled, strict=True):
                if g is not None and (edge[0] in useful or self._is_wanted(edge)):
                    self._add(edge, g, rec)

    def _add(self, edge: Edge, g: Any, rec: Any = None) -> None:
        before = self.totals.get(edge)
        if before is None:
            self.totals[edge] = g
        elif isinstance(g, SparseTensor) or isinstance(before, SparseTensor):
            self.totals[edge] = gathered(before, g)
        elif self.watch is None or rec is None:
            with ir.of_output(SUM):
                self.totals[edge] = lang.add(before, g)
        else:
            self.totals[edge] = self.watch.add(rec, before, g)


class _at:
    """What is made inside points at the line of the record that is being differentiated."""

    def __init__(self, rec: Record) -> None:
        way = rec.way
        name = f"{rec.composite}Backward0" if rec.composite else rec.name()
        self.origin = Origin(rec.code, rec.offset, rec.module, way.composite, "backward", name)

    def __enter__(self) -> None:
        self.before = ir.set_origin(lambda: self.origin), state.deriving
        state.deriving = self.origin

    def __exit__(self, *_: Any) -> None:
        origin, state.deriving = self.before
        ir.set_origin(origin)


class _Nodes:
    """Saved values of records that a trace made: its own nodes."""

    def saved(self, rec: Record) -> list[Node]:
        types = rec.way.saved_types()
        return [_as_node(rec, v, t) for v, t in zip(rec.values(), types, strict=True)]


def _as_node(rec: Record, value: Any, type_: Any) -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, ndarray) or on_device(value):
        raise TraceError(
            "backward inside a compiled function reached an operation recorded outside it: "
            f"{rec.name()}.\n{place(rec.code, rec.offset)}\n  hint: run the forward inside too"
        )
    return lang.scalar(value, type_[1])


def _run_traced(
    trace: Any,
    order: Sequence[Record],
    roots: Sequence[tuple[Edge, Any]],
    targets: Sequence[Edge] | None,
    retain: bool,
) -> dict[Edge, Any]:
    given = []
    for edge, g in roots:
        shape, dtype = _type_of(edge)
        given.append((edge, lang.full(shape, 1, dtype) if g is None else trace.node(g)))
    found = _Walk(targets, _Nodes()).run(order, given, retain)
    return {edge: tracer(g, trace) for edge, g in found.items()}


class _Revived:
    """Saved values as tensors; with ``create_graph`` they keep the history they had."""

    def __init__(self, create_graph: bool) -> None:
        self.create_graph = create_graph

    def saved(self, rec: Record) -> Sequence[Any]:
        return rec.way.restore(rec, rec.values(), self)

    def revive(self, value: Any, edge: Edge | None) -> Any:
        follows = self.create_graph and edge is not None
        if follows and not isinstance(edge[0], Record) and _holds(edge[0], value):  # type: ignore
            return edge[0]  # type: ignore[index]
        t = tracer(value, state.trace) if isinstance(value, Node) else wrap(value)
        if follows:
            t._needs, t._edge = True, edge if isinstance(edge[0], Record) else None  # type: ignore
        return t

    def tensor(self, g: Any, place: device) -> Any:
        """A gradient that depends on nothing, a floor's say, comes as the literal it is."""
        if not isinstance(g, Node):
            return g
        if state.trace is not None:
            return tracer(g, state.trace)
        return wrap(to_device(literal(g).copy(), place))


def _holds(leaf: Tensor, value: Any) -> bool:
    """Whether ``value`` is what the leaf stands for now: its array, or its node in the trace."""
    if isinstance(value, Node):
        return leaf._node is value or state.trace.node(leaf) is value
    return leaf._array is value


# --------------------------------------------------------------------------- programs, by structure


class _Backward:
    """The program of one structure of records; its inputs are roots, then saved values."""

    def __init__(
        self,
        order: Sequence[Record],
        roots: Sequence[tuple[Edge, Any]],
        targets: Sequence[Edge] | None,
        position: dict[Any, int],
    ) -> None:
        self.inputs: list[Node] = []
        self.nodes: dict[Record, list[Node]] = {}
        given = [(edge, self._root(edge, g)) for edge, g in roots]
        for rec in order:
            self.nodes[rec] = [self._input(t, "saved") for t in rec.way.saved_types()]
        found = _Walk(targets, self).run(order, given, retain=True)
        # Records die with their graph, so what is kept speaks of positions.
        self.outputs = [(position[target], number) for target, number in found]
        self.types = [x.dtype.numpy for x in self.inputs]
        graph = Graph(self.inputs, [_settled(g) for g in found.values()], "backward")
        places = {_device_of(edge) for edge, _ in roots} | {rec.way.device for rec in order}
        # Results of no dimension may be on the CPU among others on a device.
        self.program = program_of(graph, next((d for d in places if d is not CPU), CPU))
        del self.nodes

    def saved(self, rec: Record) -> list[Node]:
        return self.nodes[rec]

    def _input(self, type_: Any, role: str) -> Node:
        node = ir.input(type_[0], type_[1], "", role)
        self.inputs.append(node)
        return node

    def _root(self, edge: Edge, g: Any) -> Node:
        shape, dtype = _type_of(edge)
        return lang.full(shape, 1, dtype) if g is None else self._input((shape, dtype), "cotangent")


def _settled(node: Node) -> Node:
    """Outputs are values in memory of their own, never an input itself."""
    return lang.identity(node) if node.op.name == "input" else node


_memo: OrderedDict[Any, _Backward] = OrderedDict()


def _run_program(
    order: Sequence[Record],
    roots: Sequence[tuple[Edge, Any]],
    targets: Sequence[Edge] | None,
    retain: bool,
) -> dict[Edge, Any]:
    position: dict[Any, int] = {}
    for rec in order:
        position[rec] = len(position)
    key: list[Any] = []
    for rec in order:
        key.append(rec.way)
        for target, number in rec.edges:
            place = position.get(target)
            if place is None:
                place = position[target] = len(position)
            key.append(place + 65536 * number)
    for (target, number), g in roots:
        # What a leaf is, no record says.
        kind = None if isinstance(target, Record) else (target.shape, target.dtype, target.device)
        key.append((position.setdefault(target, len(position)), number, g is None, kind))
    if targets is not None:
        key.extend((position.setdefault(target, len(position)), n) for target, n in targets)
    structure = (len(roots), targets is None, *key)
    backward = _memo.get(structure)
    if backward is None:
        backward = _remember(structure, _Backward(order, roots, targets, position))
    arrays = [g._array for _, g in roots if g is not None]
    for rec in order:
        arrays += rec.values()
    if not retain:
        for rec in order:
            rec.free()
    arrays = [
        a if a.__class__ is ndarray else settled(a, kind)
        for a, kind in zip(arrays, backward.types, strict=True)
    ]
    results = backward.program.run(arrays)
    objects = list(position)
    return {
        (objects[place], number): g
        for (place, number), g in zip(backward.outputs, results, strict=True)
    }


def _remember(structure: Any, backward: _Backward) -> _Backward:
    _memo[structure] = backward
    if len(_memo) > _MEMO_SIZE:
        _memo.popitem(last=False)
    return backward
