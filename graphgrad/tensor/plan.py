"""One primitive at given operand types: how it runs, and what its record keeps.

``apply("mul", x, y)`` is what every operation comes down to. Operand types are looked up in a table
of plans; everything that depends on them alone (type rule, NumPy rule or kernel, what backward will
read) is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphgrad import autodiff, dtypes, interpret, ir, lang, vjp
from graphgrad.config import config
from graphgrad.device import CPU, device, placed
from graphgrad.dtypes import DType
from graphgrad.errors import user_frame
from graphgrad.ops import PRIMITIVES, Shape, size_of
from graphgrad.tensor import record
from graphgrad.tensor.core import Storage, Tensor, tracer, wrap
from graphgrad.tensor.place import common_device, on_device, settled, to_device
from graphgrad.tensor.programs import Promoted, program_of
from graphgrad.tensor.state import state
from graphgrad.views import View, apply_view, resolve, row_major

VIEWS = frozenset({"reshape", "permute", "expand", "slice", "window"})
VIEWS |= {"view_as_real", "view_as_complex"}
_MAY_COPY = frozenset({"reshape", "view_as_complex"})
# NumPy rules that may hand back their operand's memory though the operation promises a new tensor.
_BORROWS = frozenset({"flip", "bitcast", "iota", "constant", "result", "sum", "prod", "max", "min"})
_NUMBERS = (bool, int, float, complex, np.generic)
_LETTERS = ("x", "y", "z")


class Type(NamedTuple):
    """What a rule may know of an operand."""

    shape: Shape
    dtype: DType


class Way:
    """How one plan is differentiated when the operands ``needs`` want a gradient.

    Interned: backward programs are found by the identity of their records' ways.
    """

    __slots__ = ("kind", "needs", "plan", "saves")
    outputs = 1
    composite = ""
    # Whether its gradient can be derived as graph (an autograd.Function's cannot), and whether
    # the nodes of that graph know the user's lines better than the record does.
    graphable = True
    own_lines = False

    def __init__(self, plan: Plan, needs: tuple[int, ...]) -> None:
        self.plan, self.needs = plan, needs
        read = {s for i in needs for s in vjp.saves(plan.name, i)} if plan.name != "concat" else ()
        self.saves = tuple(s for s in (*_LETTERS, "out") if s in read)
        self.kind = record.kind_of(plan.name, plan.attrs, plan.inputs)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which outputs of the backward function ``pull`` returns."""
        return self.needs

    @property
    def inputs(self) -> tuple[Type, ...]:
        return self.plan.inputs

    @property
    def device(self) -> device:
        """Where the operation ran, and its gradient will."""
        return self.plan.device

    def results(self) -> tuple[Type, ...]:
        """The types of the operation's results."""
        return (Type(self.plan.shape, self.plan.dtype),)

    def saved_types(self) -> list[Type]:
        """The types of ``saves``."""
        plan = self.plan
        return [
            Type(plan.shape, plan.dtype) if s == "out" else plan.inputs[_LETTERS.index(s)]
            for s in self.saves
        ]

    def restore(self, rec: Any, values: Sequence[Any], revived: Any) -> list[Any]:
        """Saved values as tensors, with their history where ``revived`` keeps it."""
        edges = dict(zip(self.needs, rec.edges, strict=True))
        places = ((rec, 0) if s == "out" else edges.get(_LETTERS.index(s)) for s in self.saves)
        rows = zip(values, places, self.saved_types(), strict=True)
        return [
            lang.scalar(v, t.dtype)
            if isinstance(v, _NUMBERS)
            else revived.revive(self._there(v), edge)
            for v, edge, t in rows
        ]

    def _there(self, value: Any) -> Any:
        """A literal's elements were kept on the host."""
        apart = self.device is not CPU and isinstance(value, np.ndarray) and value.ndim
        return to_device(value, self.device) if apart else value

    def pull(self, cotangents: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The cotangents of the operands in ``needs``, from that of the result."""
        named = dict(zip(self.saves, values, strict=True))
        g, plan = cotangents[0], self.plan
        return [vjp.pull(plan.name, i, g, plan, named) for i in self.needs]


class Plan:
    """A primitive with its attributes and operand types (the ``call`` that vjp rules see)."""

    __slots__ = (
        "attrs",
        "device",
        "dtype",
        "fast",
        "inputs",
        "name",
        "run",
        "shape",
        "tracks",
        "view",
        "ways",
    )

    def __init__(
        self, name: str, attrs: dict[str, Any], inputs: tuple[Type, ...], place: device = CPU
    ) -> None:
        self.name, self.attrs, self.inputs, self.device = name, attrs, inputs, place
        self.shape, self.dtype = PRIMITIVES[name].infer(inputs, attrs)
        self.view = name in VIEWS
        # The ways that the written-out paths of `dispatch` use, by which operands need a gradient.
        self.fast: tuple[Any, ...] = ()
        self.tracks = self.dtype.is_differentiable
        self.ways: dict[Any, Way] = {}
        self.run = _runner(self)

    def way(self, needs: tuple[int, ...]) -> Way:
        """The interned way for these operands; those without a rule do not count."""
        found = self.ways.get(needs)
        if found is None:
            useful = tuple(
                i
                for i in needs
                if vjp.has_rule(self.name, i) and self.inputs[i].dtype.is_differentiable
            )
            found = self.ways.get(useful) or Way(self, useful)
            self.ways[needs] = self.ways[useful] = found
        return found


def _runner(plan: Plan) -> Callable[..., Any]:
    """The NumPy rule for small operands, a one-node program for large ones and contractions.

    On a device a view is a view of its memory, and everything else a program.
    """
    if plan.device is not CPU:
        return partial(viewed, plan) if plan.view else program_of(_one_node(plan), plan.device)
    rule = interpret.rule_of(plan.name, plan.inputs)
    rule = partial(rule, **plan.attrs) if plan.attrs else rule
    size = max(size_of(plan.shape), *(size_of(x.shape) for x in plan.inputs), 0)
    large = size >= config.kernel_threshold or (plan.name == "dot_general" and size >= 512)
    if large and not plan.view and plan.name != "concat" and config.tier != "interpret":
        return Promoted(_one_node(plan))
    if plan.name in _BORROWS:
        return lambda *arrays: np.array(rule(*arrays), order="C")
    return rule


def _one_node(plan: Plan) -> ir.Graph:
    names = (*_LETTERS, *(f"x{i}" for i in range(len(_LETTERS), len(plan.inputs))))
    inputs = [ir.input(*t, name) for t, name in zip(plan.inputs, names, strict=False)]
    return ir.Graph(inputs, [ir.node(plan.name, *inputs, **plan.attrs)], plan.name)


PLANS: dict[Any, Plan] = {}
# The same plans by what is quick to read off arrays.
_EAGER: dict[Any, Plan] = {}
_LIMIT = 20_000


def find(name: str, attrs: dict[str, Any], inputs: tuple[Type, ...], place: device = CPU) -> Plan:
    """The plan for these types; the table is emptied when it grows past what a program needs."""
    key = (name, *attrs.values(), *inputs, place)
    plan = PLANS.get(key)
    if plan is None:
        if len(PLANS) > _LIMIT:
            PLANS.clear()
        plan = PLANS[key] = Plan(name, attrs, inputs, place)
    return plan


def viewed(plan: Plan, x: Any) -> Any:
    """The view of a device's array that ``plan`` makes (a reshape may have to copy first)."""
    if plan.name in ("view_as_real", "view_as_complex"):
        return _paired(plan, x)
    size = x.itemsize
    seen = View(None, 0, x.shape, tuple(s // size for s in x.strides))  # type: ignore[arg-type]
    found = apply_view(plan.name, seen, plan)
    if found is None:
        x = x.copy()
        found = View(None, 0, plan.shape, row_major(plan.shape))  # type: ignore[arg-type]
    return x.view(found.shape, tuple(s * size for s in found.strides), found.offset * size)


def _paired(plan: Plan, x: Any) -> Any:
    """Complex numbers as pairs, or back, over the same memory where parts lie side by side."""
    size = plan.dtype.itemsize
    if plan.name == "view_as_real":
        strides = (*x.strides, size)
    else:
        x = x if x.strides[-1] == x.itemsize else x.copy()
        strides = x.strides[:-1]
    kind = placed(plan.dtype.numpy, x.device)
    base = x if x.base is None else x.base
    return x.__class__(x.pointer, plan.shape, strides, kind, x.owner, base)


# -------------------------------------------------------------------------------------- application


def apply(name: str, *inputs: Any, **attrs: Any) -> Tensor:
    """Run (or trace) one primitive over tensors, Python numbers and literal Nodes."""
    return _apply(None, name, inputs, attrs)


def _apply(cls: Any, name: str, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
    watch = None
    if not state.plain:
        if state.casting is not None:
            inputs = state.casting.operands(name, inputs)
        if state.trace is not None:
            return _traced(state.trace, name, inputs, attrs)
        watch = state.watch
    arrays = []
    key = [name, *attrs.values()]
    for x in inputs:
        if isinstance(x, Tensor):
            array = x._array if x._array is not None else x.concrete(name)
        elif isinstance(x, ir.Node):
            array = literal(x)
            key.append(None)
        else:
            array = _number(x, inputs)
        arrays.append(array)
        key += (array.shape, array.dtype)
    eager = tuple(key)
    plan = _EAGER.get(eager)
    if plan is None:
        plan = _eager_plan(eager, name, attrs, inputs, arrays)
    result = plan.run(*arrays)
    out = wrap(result if result.__class__ is np.ndarray else settled(result))
    if watch is not None:
        watch.operation(name, arrays, out._array)
    if plan.view:
        share(out, inputs[0], plan)
    if plan.tracks and state.grad:
        attach(plan, inputs, arrays, out)
    return out


def _eager_plan(
    key: Any, name: str, attrs: dict[str, Any], inputs: Sequence[Any], arrays: Sequence[Any]
) -> Plan:
    if len(_EAGER) > _LIMIT:
        _EAGER.clear()
    types = tuple(Type(a.shape, dtypes.from_numpy(a.dtype)) for a in arrays)
    # Literals belong nowhere: they are brought to where the tensors are.
    told = [a for x, a in zip(inputs, arrays, strict=True) if isinstance(x, Tensor)]
    plan = _EAGER[key] = find(name, attrs, types, common_device(name, told))
    return plan


def rename(out: Tensor, name: str) -> Tensor:
    """``out``, whose record is called ``name`` if it has one."""
    if out._edge is not None:
        out._edge[0].__class__ = record.kind(name)
    return out


def literal(node: ir.Node) -> np.ndarray:
    """The value of a node that has no inputs."""
    return interpret.run(ir.Graph((), (node,)), [])[0]


def _number(value: Any, inputs: Sequence[Any]) -> np.ndarray:
    """A Python number takes the dtype of the first tensor beside it (not a condition's)."""
    if not isinstance(value, _NUMBERS):
        raise TypeError(f"expected a Tensor or a number, got {type(value).__name__}")
    kinds = [x.dtype for x in inputs if isinstance(x, (Tensor, ir.Node))]
    return np.asarray(value).astype(kinds[-1].numpy)


def attach(plan: Plan, inputs: Sequence[Any], values: Sequence[Any], out: Tensor) -> None:
    """Leave a record on ``out`` if gradients flow; ``values`` are the operands' arrays or Nodes."""
    needs = tuple([i for i, x in enumerate(inputs) if x.__class__ is not ir.Node and needing(x)])
    if not needs:
        return
    way = plan.way(needs)
    if not way.needs:
        return
    saved, stamps = [], []
    for s in way.saves:
        if s == "out":
            saved.append(out._array if out._array is not None else out._node)
            stamps.append(out._storage)
        else:
            i = _LETTERS.index(s)
            saved.append(values[i])
            stamps.append(getattr(inputs[i], "_storage", UNWRITTEN))
    rec = record.make(way, tuple(saved), stamps, [edge_of(inputs[i]) for i in way.needs])
    locate(rec)
    out._needs, out._edge = True, (rec, 0)


# Stands in for the storage of Python numbers and literals.
UNWRITTEN = Storage()


def needing(x: Any) -> bool:
    return isinstance(x, Tensor) and x._needs


def edge_of(x: Tensor) -> tuple[Any, int]:
    """Where the gradient of ``x`` goes: its record, or itself when it is a leaf."""
    return x._edge or (x, 0)


def locate(rec: Any) -> None:
    """Note the user's line: for the error that says where a value was saved.

    What backward computes to be differentiated again is at the line whose gradient it is.
    """
    origin = state.deriving
    if origin is not None:
        rec.code, rec.offset, rec.module = origin.code, origin.offset, origin.module
        return
    frame = user_frame(3)
    if frame is not None:
        rec.code, rec.offset = frame.f_code, frame.f_lasti
    rec.module = state.module


def share(out: Tensor, source: Tensor, plan: Plan) -> None:
    """Make ``out`` a view of ``source``, if its memory is (a reshape may have copied)."""
    if plan.name in _MAY_COPY and not _same_memory(source, out, plan):
        return
    storage = source._storage
    out._storage = storage
    out._chain = (*source._chain, plan)
    out._base = source if source._base is None else source._base
    if storage.aliases is None:
        storage.add_alias(source)
    storage.add_alias(out)


def _same_memory(source: Tensor, out: Tensor, plan: Plan) -> bool:
    x = source._array
    if x is None:
        return layout(source, plan) is not None
    if on_device(x):
        # In a trace, where what comes out has no array, the program reads contiguous memory.
        return x.flags.c_contiguous or x.owner is out._array.owner
    return x.flags.c_contiguous or np.may_share_memory(x, out._array)


def layout(t: Tensor, *more: Plan) -> View | None:
    """The strides a traced tensor would have as written; None after a reshape that would copy."""
    chain = (*t._chain, *more)
    if not chain:
        return View(t._node, 0, tuple(t.shape), row_major(t.shape))
    root = node = ir.input(*chain[0].inputs[0])
    for link in chain:
        node = ir.node(link.name, node, origins=(), **link.attrs)
    return resolve(node, {root})


def _traced(trace: Any, name: str, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
    """Add a node to the graph being traced; records are kept as eagerly, over Nodes."""
    nodes: list[Any] = [x if isinstance(x, ir.Node) else None for x in inputs]
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor):
            nodes[i] = trace.node(x)
    kinds = [n.dtype for n in nodes if n is not None]
    for i, x in enumerate(inputs):
        if nodes[i] is None:
            nodes[i] = ir.node("scalar", value=x, dtype=kinds[-1])
    node = ir.node(name, *nodes, **attrs)
    out = tracer(node, trace)
    if node.op.results:
        if state.grad:
            _attach_joint(node, inputs, out)
        return out
    if name == "result":
        return _project(out, inputs[0], attrs["index"])
    tracks = node.dtype.is_differentiable and state.grad and any(map(needing, inputs))
    if tracks or name in VIEWS:
        plan = find(name, attrs, tuple([Type(n.shape, n.dtype) for n in nodes]))
        if name in VIEWS:
            trace.root(inputs[0])
            share(out, inputs[0], plan)
        if tracks:
            attach(plan, inputs, nodes, out)
            if out._edge is not None:
                out._edge[0].composite = trace.composite
    return out


class JointWay:
    """Differentiates a traced operation with several results: its rule sees the node itself."""

    __slots__ = ("inputs", "kind", "needs", "node", "outputs", "saves")
    composite = ""
    graphable = True
    own_lines = False
    # Its gradient is traced, so that the trace's device is what counts.
    device = CPU

    def __init__(self, node: ir.Node, needs: tuple[int, ...]) -> None:
        self.node, self.needs = node, needs
        self.outputs, self.inputs, self.saves = len(node.results), node.inputs, ()
        self.kind = record.kind_of(node.op.name, {}, node.inputs)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which outputs of the backward function ``pull`` returns."""
        return self.needs

    def results(self) -> tuple[Any, ...]:
        return self.node.results

    def saved_types(self) -> list[Type]:
        return []

    def restore(self, rec: Any, values: Sequence[Any], revived: Any) -> list[Any]:
        """The operands, where the gradient is to be differentiated again."""
        if not revived.create_graph:
            return []
        edges = dict(zip(self.needs, rec.edges, strict=True))
        return [revived.revive(x, edges.get(i)) for i, x in enumerate(self.node.inputs)]

    def pull(self, cotangents: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The rule works on Nodes: tensors are what the trace says they are now."""
        if values:
            return self._pull_again(cotangents, values)
        trace = state.trace
        nodes = [trace.node(g) if isinstance(g, Tensor) else g for g in cotangents]
        pulled = autodiff.JOINT[self.node.op.name](self.node, nodes)
        if nodes == list(cotangents):
            return [pulled[i] for i in self.needs]
        return [None if pulled[i] is None else tracer(pulled[i], trace) for i in self.needs]

    def _pull_again(self, cotangents: Sequence[Any], operands: Sequence[Tensor]) -> list[Any]:
        """The rule as a graph over operands and cotangents, which has a gradient itself."""
        from graphgrad.tensor.composite import inlined

        trace = state.trace
        given = [tracer(g, trace) if isinstance(g, ir.Node) else g for g in cotangents]
        nodes = [ir.like(x) for x in self.node.inputs]
        cots = [None if g is None else ir.input(tuple(g.shape), g.dtype) for g in given]
        name = self.node.op.name
        pulled = autodiff.JOINT[name](ir.node(name, *nodes, **self.node.attrs), cots)
        places = [i for i in self.needs if pulled[i] is not None]
        present = [g for g in cots if g is not None]
        graph = ir.Graph([*nodes, *present], [pulled[i] for i in places], f"{name}Backward")
        found = inlined(graph, [*operands, *(g for g in given if g is not None)])
        by_place = dict(zip(places, found, strict=True))
        return [by_place.get(i) for i in self.needs]


def _attach_joint(node: ir.Node, inputs: Sequence[Any], out: Tensor) -> None:
    needs = tuple(i for i, x in enumerate(inputs) if needing(x))
    if needs:
        way = JointWay(node, needs)
        rec = record.make(way, (), (), [edge_of(inputs[i]) for i in needs])
        locate(rec)
        out._edge = (rec, 0)


def _project(out: Tensor, source: Tensor, index: int) -> Tensor:
    if source._edge is not None and out.dtype.is_differentiable and state.grad:
        out._needs, out._edge = True, (source._edge[0], index)
    return out


Tensor._apply = classmethod(_apply)  # type: ignore[attr-defined]
