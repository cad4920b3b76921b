"""Making an Entry: a function is run once, with tracers in place of the values of its arguments.

    entry = trace_entry(function, name, leaves, shape, static_floats, by_identity)

What the function read becomes the program's inputs and the Entry's guards, what it changed the
program's effects, and the gradients of its results the program's backward graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import autodiff, dtypes
from graphgrad.compile import compile_graph
from graphgrad.device import CPU, device, get_default_device
from graphgrad.entry import Entry, HostPart, Result, Source
from graphgrad.guards import Guard, Watch
from graphgrad.ir import Graph, Node, topological
from graphgrad.placement import bring, by_place, check_devices, program_device
from graphgrad.tensor import engine, record
from graphgrad.tensor.composite import GraphWay
from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.place import DeviceError, device_of
from graphgrad.tensor.plan import edge_of
from graphgrad.tensor.state import no_grad, state
from graphgrad.trace import Trace
from graphgrad.tree import LEAF, flatten, unflatten


def trace_entry(
    function: Callable[..., Any],
    name: str,
    leaves: list[Any],
    shape: Any,
    static_floats: set[int],
    by_identity: set[int],
) -> Entry:
    """Run ``function`` once with tracers and make an Entry of what it did.

    Again, where it turns out to belong on another device than its arguments are on.
    """
    arguments = (function, name, leaves, static_floats, by_identity)
    try:
        return _Tracing(*arguments).entry(shape)
    except DeviceError as error:
        if error.place is None or error.place is CPU:
            raise
        return _Tracing(*arguments, error.place).entry(shape)


class _Tracing:
    """The bookkeeping of one trace: tracers for arguments, then sources, outputs and effects."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        leaves: list[Any],
        static_floats: set[int],
        by_identity: set[int],
        place: device | None = None,
    ) -> None:
        self.function, self.leaves = function, leaves
        self.static_floats, self.by_identity = static_floats, by_identity
        self.trace = Trace(name)
        self.tracers: dict[int, Tensor] = {}
        self.starts: dict[int, Node] = {}
        # The ``.grad`` of arguments at the start: tensors, and their nodes.
        self.grad_starts: dict[int, Tensor | None] = {}
        self.grad_nodes: dict[int, Node] = {}
        self.outputs: list[Node] = []
        # Why backward through the results is impossible.
        self.broken = ""
        self.watch = Watch(Tensor)
        self.watch.roots(function, [x for x in leaves if not isinstance(x, (Tensor, np.ndarray))])
        # Tensors that the function also reaches by name are those very tensors.
        reached = {id(t) for t in self.watch.tensors.values()}
        by_identity.update(i for i, x in enumerate(leaves) if id(x) in reached)
        self._label()
        place = place or program_device(leaves, self.watch)
        self.follows_default = place is None
        self.trace.device = place or get_default_device()

    def _label(self) -> None:
        """Inputs that are parameters or buffers of a module are called by their names."""
        # The outermost last, whose names say most: "net.0.weight" rather than "weight".
        for module in reversed(self.watch.modules):
            for role in ("parameter", "buffer"):
                for path, t in getattr(module, f"named_{role}s")():
                    if isinstance(t, Tensor):
                        self.trace.label(t, path, role)

    def entry(self, shape: Any) -> Entry:
        with self.trace:
            given = [self._argument(i, x) for i, x in enumerate(self.leaves)]
            args, kwargs = unflatten(shape, given)
            returned = self.function(*args, **kwargs)
            results, self.result_shape = flatten(returned)
            self.results = [self._result(r) for r in results]
            for result, x in zip(self.results, results, strict=True):
                result.leaves = isinstance(x, Tensor) and x._storage in self.trace.leaving
            self.gradient = self._gradient(results)
        return self._assemble(shape)

    # ------------------------------------------------------------------------------------ arguments

    def _argument(self, i: int, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return self._traced(i, wrap(x), f"arg{i}")
        if isinstance(x, Tensor):
            return x if i in self.by_identity else self._traced(i, x, f"arg{i}")
        if type(x) is float and i not in self.static_floats:
            number = self.trace.scalar(_Number(i), dtypes.float64)
            number.is_python_number = True
            return number
        return x

    def _traced(self, i: int, x: Tensor, name: str) -> Tensor:
        """A tracer for an argument; one tensor passed twice is one tracer."""
        for j, t in self.tracers.items():
            if self.leaves[j] is x:
                return t
        t = self.tracers[i] = self.trace.input(x.shape, x.dtype, name)
        self.starts[i] = t._node
        t._needs = x._needs
        t._storage.outside = True
        if device_of(x._array) is CPU and self.trace.device is not CPU:
            self.trace.away.add(t._storage)
        if x._grad is not None and x._edge is None:
            t._grad = self.trace.input(x.shape, x.dtype, f"{name}.grad")
            self.grad_nodes[i] = t._grad._node
        self.grad_starts[i] = t._grad
        return t

    # -------------------------------------------------------------------------------------- results

    def _output(self, node: Node) -> int:
        self.outputs.append(node)
        return len(self.outputs) - 1

    def _result(self, x: Any) -> Result:
        if not isinstance(x, Tensor) or x._array is not None:
            return Result("value", value=x)
        if x._edge is not None and any(r._hooks for r in engine.reach([x._edge])):
            # Deriving the view again outside would leave out the hooks on the way to it.
            return Result("output", self._output(self.trace.node(x)))
        for i, t in self.tracers.items():
            if x is t:
                return Result("argument", i)
            if x._storage is t._storage and (not x._needs or not t._storage.version):
                return Result("view", i, chain=x._chain, detached=not x._needs)
        owner = self.trace._owners.get(x._storage)
        if owner is not None and (not x._needs or x._storage not in self.trace._written):
            return Result("view", value=owner, chain=x._chain, detached=not x._needs)
        return Result("output", self._output(self.trace.node(x)))

    # ------------------------------------------------------------------------------------ gradients

    def _gradient(self, results: list[Any]) -> Any:
        """Cotangents of the results and the gradients they give, as nodes of the same graph."""
        pairs = [
            (r, x)
            for r, x in zip(self.results, results, strict=True)
            if r.kind == "output" and x._needs
        ]
        if not pairs:
            return None
        cots = {r.number: self.trace.input(x.shape, x.dtype, "d", "cotangent") for r, x in pairs}
        roots = [(edge_of(x), cots[r.number]) for r, x in pairs]
        wanted = [t for t in self.tracers.values() if t._needs]
        wanted += [t for t, _ in self.trace.captured if t._needs]
        targets = [edge_of(t) for t in wanted]
        try:
            with no_grad():
                found = engine.run(roots, targets, True, False)
        except RuntimeError as error:
            # As written, the results exist and only their ``backward`` fails: so it does here.
            for r, _ in pairs:
                r.value = True
            self.broken = str(error)
            return None
        reached = [(t, found[e]) for t, e in zip(wanted, targets, strict=True) if e in found]
        grads = [self.trace.node(g) for _, g in reached]
        return _Joint(cots, [t for t, _ in reached], grads)

    # ------------------------------------------------------------------------------------- assembly

    def _assemble(self, shape: Any) -> Entry:
        table = self._sources()
        grads = self._grad_effects()
        writes, counted = by_place(self.trace, self._writes(), table, self.leaves)
        numbers = [None if node is None else self._output(node) for _, node in grads]
        first = len(self.outputs)
        every = [*self.outputs, *(node for _, node in writes)]
        overwritten = [table_node for table_node, _ in writes]
        used = {*self._reached(every), *overwritten, *self._differentiated().values()}
        inputs = [x for x in table if x in used]
        graph = Graph(inputs, every, self.trace.name)
        cut = self._cut(graph, overwritten)
        aliases = {first + k: inputs.index(x) for k, x in enumerate(overwritten)}
        forward = graph if cut is None else cut.forward
        sources = [table[x] for x in inputs]
        hosted = topological([x for pair in counted for x in pair])
        bring(self.trace, inputs, table, {*overwritten, *self._differentiated().values(), *hosted})
        check_devices(self.trace, inputs, table, self.leaves)
        entry = Entry(
            executable=compile_graph(
                forward, aliases, eager_compile=True, device=self.trace.device
            ),
            graph=forward,
            sources=sources,
            guard=self._guard(),
            flat=self._flat(shape),
            captured=[[t, t._array, t._needs] for t in self._captured_tensors()],
            grads_read=self._grads_read(),
            mutated=[table[x] for x in (*overwritten, *(x for x, _ in counted))],
            grads=[(s, n) for (s, _), n in zip(grads, numbers, strict=True)],
            results=self.results,
            result_shape=self.result_shape,
            grad_mode=state.grad,
            default=dtypes.get_default_dtype(),
            follows_default=self.follows_default,
            call=(shape, [self.starts.get(i, x) for i, x in enumerate(self.leaves)]),
        )
        if counted:
            entry.host = HostPart([(table[x], y) for x, y in counted], table)
        if cut is not None:
            entry.way = self._way(cut, inputs)
        if self.broken:
            entry.broken = record.make(_BrokenWay(self.broken), (), (), [])
        return entry

    def _guard(self) -> Guard:
        for about, text, *objects in self.trace.conditions.values():
            self.watch.condition(about, text, *objects)
        return self.watch.guard()

    def _reached(self, outputs: Sequence[Node]) -> set[Node]:
        grads = [] if self.gradient is None else self.gradient.grads
        return set(topological([*outputs, *grads]))

    def _sources(self) -> dict[Node, Source]:
        """Where each input node of the graph comes from."""
        table = {node: Source("argument", argument=i) for i, node in self.starts.items()}
        for i, node in self.grad_nodes.items():
            table[node] = Source("grad", argument=i, like=self.leaves[i]._grad._array)
        leaf_of = {id(g): leaf for leaf, g in self.trace.grad_reads.items() if g is not None}
        for tensor, node in self.trace.captured:
            leaf = leaf_of.get(id(tensor))
            kind = ("tensor", tensor) if leaf is None else ("grad", leaf)
            table[node] = Source(kind[0], tensor=kind[1], like=tensor._array)
        for getter, node in self.trace.scalars:
            table[node] = (
                getter.source if isinstance(getter, _Number) else Source("number", number=getter)
            )
            table[node].cell = np.zeros((), node.dtype.numpy)
        return table

    def _captured_tensors(self) -> list[Tensor]:
        values = {id(g) for g in self.trace.grad_reads.values()}
        return [t for t, _ in self.trace.captured if id(t) not in values]

    def _writes(self) -> list[tuple[Node, Node]]:
        """(input node, final node) of everything written in place."""
        start = {id(t): node for t, node in self.trace.captured}
        pairs = [(start[id(t)], node) for t, node in self.trace.mutated]
        for i, t in self.tracers.items():
            final = self.trace.node(t)
            if final is not self.starts[i]:
                pairs.append((self.starts[i], final))
        for i, g in self.grad_starts.items():
            if g is not None and (final := self.trace.node(g)) is not self.grad_nodes[i]:
                pairs.append((self.grad_nodes[i], final))
        return pairs

    def _grad_effects(self) -> list[tuple[Source, Node | None]]:
        """What ``.grad`` of captured leaves and of arguments becomes."""
        effects: list[tuple[Source, Node | None]] = []
        # As they were met: whether some had a ``.grad`` to clear first makes no other graph.
        met = {id(t): number for number, (t, _) in enumerate(self.trace.captured)}
        leaves = sorted(self.trace.grads, key=lambda leaf: met.get(id(leaf), len(met)))
        for leaf in leaves:
            g = self.trace.grads[leaf]
            if g is not self.trace.grad_reads.get(leaf, _NOTHING):
                node = None if g is None else self.trace.node(g)
                effects.append((Source("tensor", tensor=leaf), node))
        for i, t in self.tracers.items():
            if t._grad is not self.grad_starts[i]:
                node = None if t._grad is None else self.trace.node(t._grad)
                effects.append((Source("argument", argument=i), node))
        return effects

    def _grads_read(self) -> list[tuple[Source, bool]]:
        reads = [(Source("tensor", tensor=t), g is None) for t, g in self.trace.grad_reads.items()]
        reads += [
            (Source("argument", argument=i), g is None)
            for i, g in self.grad_starts.items()
            if self.tracers[i]._needs and isinstance(self.leaves[i], Tensor)
        ]
        return reads

    def _flat(self, shape: Any) -> list[tuple[Any, ...]] | None:
        (_, (positional, keywords)) = shape
        if self.by_identity or keywords[1] or any(part is not LEAF for part in positional[1]):
            return None
        return [self._described(i, x) for i, x in enumerate(self.leaves)]

    def _described(self, i: int, x: Any) -> tuple[Any, ...]:
        if isinstance(x, Tensor):
            return (type(x), x._array, x._needs, x._edge is None)
        if isinstance(x, np.ndarray) or (type(x) is float and i in self.static_floats):
            return (type(x), x)
        return (float,) if type(x) is float else (type(x), x)

    def _cut(self, graph: Graph, overwritten: Sequence[Node]) -> autodiff.Linearized | None:
        """The graph that also returns what backward needs, and the backward graph."""
        joint = self.gradient
        if joint is None:
            return None
        cots = [c._node for c in joint.cotangents.values()]
        return autodiff.split(graph, cots, joint.grads, overwritten)

    def _differentiated(self) -> dict[int, Node]:
        """The input nodes that get a gradient, by their tensors."""
        if self.gradient is None:
            return {}
        node_of = {id(t): node for t, node in self.trace.captured}
        node_of |= {id(t): self.starts[i] for i, t in self.tracers.items()}
        return {id(t): node_of[id(t)] for t in self.gradient.wanted}

    def _way(self, cut: autodiff.Linearized, inputs: Sequence[Node]) -> GraphWay:
        joint = self.gradient
        needs = tuple(inputs.index(x) for x in self._differentiated().values())
        tracked = [i in joint.cotangents for i in range(cut.outputs)]
        place = self.trace.device
        way = GraphWay("CompiledFunctionBackward", cut, needs, tracked, _no_replay, place)
        way.own_lines = True
        return way


@dataclass
class _Joint:
    """The gradient of the results, as nodes of the traced graph."""

    cotangents: dict[int, Tensor]
    wanted: list[Tensor]
    grads: list[Node]


class _Number:
    """A float argument: a run-time number."""

    def __init__(self, argument: int) -> None:
        self.source = Source("float", argument=argument)

    def __call__(self) -> Any:
        raise TypeError("a float argument is read from the call's arguments")


_NOTHING = object()


def _no_replay(inputs: Any) -> Any:
    raise NotImplementedError(
        "create_graph=True through the result of a compiled function: take the first gradient "
        "inside the compiled function (gradients of any order compile), or call it as written"
    )


class _BrokenWay:
    """The history of results that the compiled function used up: ``backward`` raises its error."""

    graphable, composite, outputs, needs, inputs, saves = True, "", 1, (), (), ()
    own_lines, numbers, device = False, (), CPU
    kind = record.kind("CompiledFunctionBackward")

    def __init__(self, text: str) -> None:
        self.text = text

    def saved_types(self) -> list[Any]:
        return []

    def pull(self, cotangents: Any, values: Any) -> Any:
        raise RuntimeError(self.text)
