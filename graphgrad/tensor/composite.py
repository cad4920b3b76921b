"""Composites: named functions over primitives that run as one program and leave one record.

    @composite("LogSoftmaxBackward0")
    def log_softmax(x: Tensor, dim: int) -> Tensor: ...

The function is written in Tensor operations. Eagerly it is traced once per structure (operand
types, static arguments, which operands need gradients) into a forward and a backward graph; inside
a trace it is inlined, and its name is kept as provenance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphgrad import autodiff, ir, lang
from graphgrad.device import CPU, device
from graphgrad.dtypes import float32
from graphgrad.errors import TraceError
from graphgrad.ir import Graph, Node
from graphgrad.tensor import engine, record
from graphgrad.tensor.casting import as_they_are
from graphgrad.tensor.core import Tensor, tracer, wrap
from graphgrad.tensor.place import common_device, to_device
from graphgrad.tensor.plan import UNWRITTEN, Type, edge_of, literal, locate
from graphgrad.tensor.programs import program_of
from graphgrad.tensor.state import enable_grad, state
from graphgrad.trace import Trace

_LIMIT = 4096


def composite(name: str, moves: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of tensors and hashable arguments a composite with records called ``name``.

    Tensors are passed positionally (None stands for one that is missing). The function returns a
    tensor or a tuple of tensors. Of float16 and bfloat16 it sees float32, and its results are
    rounded once, unless it only ``moves`` values.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        table: dict[Any, Composite] = {}
        function = function if moves else _in_float32(function)

        own = name.removesuffix("Backward0")

        @functools.wraps(function)
        def operation(*args: Any, **static: Any) -> Any:
            if not state.plain:
                if state.casting is not None:
                    args = tuple(state.casting.operands(own, args))
                if state.trace is not None:
                    return _inlined(state.trace, name, function, args, static)
            key, tensors = _key(args, static)
            found = table.get(key)
            if found is None:
                if len(table) > _LIMIT:
                    table.clear()
                found = table[key] = Composite(name, function, args, static, tensors)
            return found(tensors)

        return operation

    return decorate


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose half-precision operands are widened and whose results are rounded.

    Results take the type of the first operand that is a float.
    """

    @functools.wraps(function)
    def widened(*args: Any, **static: Any) -> Any:
        kinds = [x.dtype for x in args if isinstance(x, Tensor) and x.dtype.is_floating_point]
        if not any(kind.is_half for kind in kinds):
            return function(*args, **static)
        halves = (isinstance(x, Tensor) and x.dtype.is_half for x in args)
        wide = [x.to(float32) if half else x for x, half in zip(args, halves, strict=True)]
        result = function(*wide, **static)
        rounded = [
            y.to(kinds[0]) if y.dtype is float32 else y
            for y in (result if isinstance(result, tuple) else (result,))
        ]
        return tuple(rounded) if isinstance(result, tuple) else rounded[0]

    return widened


def _key(args: Sequence[Any], static: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """Structure of a call, and its tensors in order."""
    key: list[Any] = []
    tensors: list[Tensor] = []
    grad = state.grad
    for x in args:
        if isinstance(x, Tensor):
            array = x._array if x._array is not None else x.concrete("this operation")
            key += (array.shape, array.dtype, x._needs and grad)
            tensors.append(x)
        else:
            # 1, 1.0 and True are equal, but not the same argument.
            key += (x.__class__, x)
    if static:
        key += ((k, v.__class__, v) for k, v in static.items())
    return tuple(key), tensors


def _inlined(trace: Any, name: str, function: Any, args: Any, static: Any) -> Any:
    outer = trace.composite
    trace.composite = outer or name.removesuffix("Backward0")
    try:
        with as_they_are():
            return function(*args, **static)
    finally:
        trace.composite = outer


class Composite:
    """A composite at one structure: its forward program, and how its records are differentiated."""

    def __init__(
        self, name: str, function: Any, args: Any, static: Any, tensors: Sequence[Tensor]
    ) -> None:
        needs = [x._needs and state.grad for x in tensors]
        place = common_device(name.removesuffix("Backward0"), [x._array for x in tensors])
        traced = _trace(name, function, args, static, needs, place)
        self.several, self.captured = traced.several, traced.captured
        self.count = len(traced.outputs)
        graph = Graph(traced.inputs, traced.outputs, name.removesuffix("Backward0"))
        self.way: GraphWay | None = None
        if traced.cotangents:
            wanted = [i for i, needed in enumerate(needs) if needed]
            pairs = [(i, g) for i, g in zip(wanted, traced.grads, strict=True) if g is not None]
            cut = autodiff.split(graph, traced.cotangents, [g for _, g in pairs])
            reached = tuple(i for i, _ in pairs)
            replay = _replay(function, args, static)
            self.way = GraphWay(name, cut, reached, traced.tracked, replay, place)
            graph = cut.forward
        self.program = program_of(graph, place)

    def __call__(self, tensors: list[Tensor]) -> Any:
        tensors = [*tensors, *self.captured] if self.captured else tensors
        arrays = [x._array for x in tensors]
        results = self.program.run(arrays)
        if state.watch is not None:
            state.watch.program(self.program.graph, arrays, results[: self.count])
        outputs = [wrap(y) for y in results[: self.count]]
        if self.way is not None:
            graph_record(self.way, tensors, outputs, results)
        return tuple(outputs) if self.several else outputs[0]


def _replay(
    function: Any, args: Any, static: Any
) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
    """The call again, operation by operation: what ``create_graph`` differentiates."""
    shape = [None if isinstance(x, Tensor) else x for x in args]
    places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]

    def replay(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        again = list(shape)
        for i, t in zip(places, tensors, strict=False):
            again[i] = t
        result = function(*again, **static)
        return result if isinstance(result, tuple) else (result,)

    return replay


# ------------------------------------------------------------------------------------------ tracing


class _Traced(NamedTuple):
    inputs: list[Node]
    outputs: list[Node]
    # One per output that gradients flow from; gradients of the inputs that want one (None: unused).
    cotangents: list[Node]
    grads: list[Node | None]
    tracked: list[bool]
    captured: list[Tensor]
    several: bool


def _trace(
    name: str, function: Any, args: Any, static: Any, needs: list[bool], place: device
) -> _Traced:
    """Run the function on tracers; its gradient follows the records, so ``detach`` counts."""
    with as_they_are(), Trace(name) as trace:
        trace.device = place
        trace.composite = name.removesuffix("Backward0")
        operands: list[Any] = []
        for x in args:
            operands.append(trace.input(x.shape, x.dtype) if isinstance(x, Tensor) else x)
        tracers = [x for x in operands if isinstance(x, Tensor)]
        for t, wanted in zip(tracers, needs, strict=True):
            t._needs = wanted
        with enable_grad():
            result = function(*operands, **static)
        outputs = result if isinstance(result, tuple) else (result,)
        nodes = [trace.node(y) for y in outputs]
        tracked = [y._needs for y in outputs]
        cotangents, grads = _gradients(trace, outputs, tracked, [t for t in tracers if t._needs])
        inputs = [trace.node(t) for t in tracers] + [node for _, node in trace.captured]
    _check(name, trace)
    captured = [t for t, _ in trace.captured]
    return _Traced(inputs, nodes, cotangents, grads, tracked, captured, isinstance(result, tuple))


def _gradients(
    trace: Trace, outputs: Sequence[Tensor], tracked: list[bool], wanted: Sequence[Tensor]
) -> tuple[list[Node], list[Node | None]]:
    roots = [
        (edge_of(y), trace.input(y.shape, y.dtype, "d", "cotangent"))
        for y, tracks in zip(outputs, tracked, strict=True)
        if tracks
    ]
    if not roots:
        return [], []
    found = engine.run(roots, [edge_of(t) for t in wanted], True, False)
    grads = [None if (t, 0) not in found else trace.node(found[t, 0]) for t in wanted]
    return [trace.node(g) for _, g in roots], grads


def _check(name: str, trace: Trace) -> None:
    if trace.mutated or any(t._needs for t, _ in trace.captured):
        raise TraceError(
            f"the composite {name} writes to, or differentiates, a tensor that is not an argument"
        )


# ------------------------------------------------------------------------------------------ records


class GraphWay:
    """Differentiates whatever a graph computed, by the backward graph that belongs to it.

    needs: the inputs that want a gradient; tracked: the outputs one comes from; ``replay`` runs the
    same on tensors, one operation at a time.
    """

    graphable = True
    own_lines = False
    saves = ("values",)

    def __init__(
        self,
        name: str,
        cut: autodiff.Linearized,
        needs: tuple[int, ...],
        tracked: Sequence[bool],
        replay: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        place: device = CPU,
    ) -> None:
        self.kind, self.device = record.kind(name), place
        self.composite = name.removesuffix("Backward0")
        self.cut, self.needs, self.tracked, self.replay = cut, needs, tracked, replay
        self.inputs = [Type(x.shape, x.dtype) for x in cut.forward.inputs]
        self.outputs = cut.outputs
        self.program = program_of(cut.backward, place)
        # Operations with several results (scan, sort) are differentiated only where they are
        # traced: what pulls through them again is a composite.
        self.again: Callable[..., Sequence[Any]] = self._pulled
        if any(x.op.results for x in cut.forward):
            self.again = composite(f"{self.composite}BackwardBackward0")(self._pulled)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which outputs of the backward function ``pull`` returns."""
        return self.needs

    def results(self) -> list[Type]:
        return [Type(y.shape, y.dtype) for y in self.cut.forward.outputs[: self.outputs]]

    def saved_types(self) -> list[Type]:
        saved = self.cut.backward.inputs[: len(self.cut.saved)]
        return [Type(x.shape, x.dtype) for x in saved]

    def restore(self, rec: Any, values: Sequence[Any], revived: Any) -> Sequence[Any]:
        if not revived.create_graph:
            return values
        edges = dict(zip(self.needs, rec.edges, strict=True))
        # A copy of each operand has an edge of its own, though two may be one tensor.
        return [revived.revive(v, edges.get(i)).clone() for i, v in enumerate(rec.operands)]

    def pull(self, cotangents: Sequence[Any], values: Sequence[Any]) -> Sequence[Any]:
        """The cotangents of ``needs``: as nodes, by program, or to be differentiated again."""
        pairs = list(zip(cotangents, self.tracked, strict=True))
        trace = state.trace
        if state.grad and any(isinstance(g, Tensor) for g, _ in pairs):
            return self._pull_again(cotangents, values)
        given = [
            self._zeros(i) if g is None else g for i, (g, tracks) in enumerate(pairs) if tracks
        ]
        if trace is not None and any(isinstance(g, Tensor) for g in given):
            nodes = [trace.node(g) if isinstance(g, Tensor) else g for g in given]
            return [tracer(g, trace) for g in ir.inline(self.cut.backward, [*values, *nodes])]
        if any(isinstance(g, Tensor) for g in given):
            arrays = [*values, *(g._array if isinstance(g, Tensor) else literal(g) for g in given)]
            results = self.program.run(arrays)
            if state.watch is not None:
                state.watch.program(self.cut.backward, arrays, results, self.own_lines)
            return [wrap(g) for g in results]
        return ir.inline(self.cut.backward, [*values, *given])

    def _zeros(self, i: int) -> Node:
        return lang.full(*self.results()[i][:1], 0, self.results()[i].dtype)

    def _pull_again(self, cotangents: Sequence[Any], inputs: Sequence[Tensor]) -> Sequence[Any]:
        given = (
            wrap(to_device(literal(g), self.device)) if isinstance(g, Node) else g
            for g in cotangents
        )
        return self.again(*inputs, *given)

    def _pulled(self, *operands: Any) -> tuple[Any, ...]:
        """The cotangents of ``needs``, from the operands and the results' cotangents (or None)."""
        inputs, cotangents = list(operands[: len(self.inputs)]), operands[len(self.inputs) :]
        for i in self.needs:
            if not inputs[i]._needs:
                # Nothing differentiates this gradient by it, but the gradient is by it.
                inputs[i] = inputs[i].detach()
                inputs[i]._needs = True
        outputs = self.replay(inputs)
        roots = [(edge_of(y), g) for y, g in zip(outputs, cotangents, strict=True) if g is not None]
        targets = [edge_of(inputs[i]) for i in self.needs]
        found = engine.run(roots, targets, True, True)
        pairs = zip(targets, self.needs, strict=True)
        return tuple(_tied(found.get(edge), inputs[i]) for edge, i in pairs)


def _tied(g: Any, x: Tensor) -> Any:
    """A gradient that is constant in its operand still depends on it, by 0: as in PyTorch."""
    if g is None or g._needs or not x._needs:
        return g
    return lang.where(lang.constant(np.False_), x, g)


def graph_record(
    way: GraphWay,
    tensors: Sequence[Tensor],
    outputs: Sequence[Tensor],
    results: Sequence[Any],
) -> None:
    """Leave one record for a graph that ran: ``results`` are its outputs, then its residuals."""
    saved, stamps = [], []
    for kind, i in way.cut.saved:
        if kind == "residual":
            saved.append(results[way.outputs + i])
            stamps.append(UNWRITTEN)
        else:
            t = tensors[i] if kind == "input" else outputs[i]
            saved.append(_value(t))
            stamps.append(t._storage)
    rec = record.make(way, tuple(saved), stamps, [edge_of(tensors[i]) for i in way.needs])
    rec.operands = [_value(x) for x in tensors]
    locate(rec)
    for i, (out, tracks) in enumerate(zip(outputs, way.tracked, strict=True)):
        if tracks:
            out._needs, out._edge = True, (rec, i)


def _value(x: Tensor) -> Any:
    """Memory, or in a trace the Node that stands for it now."""
    return x._array if state.trace is None else state.trace.node(x)


def inlined(graph: Graph, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A graph's results in the trace that runs, with one record for all of them."""
    trace = state.trace
    needs = [x._needs and state.grad for x in tensors]
    if not any(needs):
        results = ir.inline(graph, [trace.node(x) for x in tensors])
        return tuple(tracer(y, trace) for y in results)
    tracked = [y.dtype.is_differentiable for y in graph.outputs]
    cut = autodiff.linearize(graph, needs, tracked)
    results = ir.inline(cut.forward, [trace.node(x) for x in tensors])
    outputs = [tracer(y, trace) for y in results[: cut.outputs]]
    places = tuple(i for i, needed in enumerate(needs) if needed)
    way = GraphWay(f"{graph.name}Backward0", cut, places, tracked, partial(inlined, graph))
    graph_record(way, tensors, outputs, results)
    return tuple(outputs)
