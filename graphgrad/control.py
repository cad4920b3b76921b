"""Control flow as single nodes of a graph: scan, cond, while_loop.

    carry, ys = gg.scan(step, init, xs)           # carry, y = step(carry, x), for every x of xs
    y = gg.cond(x.sum() > 0, f, g, (x,))          # f(x) or g(x)
    n, x = gg.while_loop(test, body, (n, x))      # body while test holds

Bodies are traced once, whatever the number of steps. They may read tensors from outside
(parameters, say), which become operands, but not write to them. Carries, inputs and results are
tensors, or nested lists, tuples and dictionaries of tensors. Eagerly the node runs as one program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphgrad import ir, lang
from graphgrad.errors import TraceError
from graphgrad.ir import Graph
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.creation import as_tensor
from graphgrad.tensor.state import state
from graphgrad.trace import Trace
from graphgrad.tree import flatten, unflatten


def scan(
    body: Callable[..., Any],
    init: Any,
    xs: Any = None,
    *,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """``carry, y = body(carry, x)`` for every x along the first dimension of ``xs``.

    Returns (last carry, stacked ys); ``reverse`` runs from the last x to the first, and stacks ys
    in the order of xs. Without ``xs``, ``length`` steps are made and x is None. Raises TraceError
    where the body writes to outside tensors, ShapeError where it changes the carry's types.
    """
    carry, carry_shape = _flat(init)
    rows, rows_shape = _flat(xs) if xs is not None else ([], None)
    steps = length if not rows else rows[0].shape[0]
    if steps is None:
        raise ValueError("scan needs xs, or length")
    samples = [ir.input(tuple(x.shape[1:]), x.dtype) for x in rows]

    def step(*args: Tensor) -> tuple[Any, Any]:
        x = unflatten(rows_shape, args[len(carry) :]) if rows else None
        return body(unflatten(carry_shape, args[: len(carry)]), x)

    graph, outside, shapes = _body("scan", step, [*carry, *samples], 2)
    results = _run(
        "scan",
        [*carry, *rows, *outside],
        body=graph,
        carries=len(carry),
        sequences=len(rows),
        length=steps,
        reverse=reverse,
    )
    n = len(carry)
    return unflatten(shapes[0], results[:n]), unflatten(shapes[1], results[n:])


def cond(
    pred: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """``true_fn(*operands)`` if ``pred`` (a single boolean) holds, else ``false_fn(*operands)``.

    Both are traced and must return the same types.
    """
    leaves, shape = _flat(tuple(operands))
    test = as_tensor(pred).reshape(()).bool()
    branches = []
    for function in (true_fn, false_fn):
        call = _called(function, shape)
        branches.append(_body("cond", call, leaves, 1))
    (then, seen, result), (otherwise, also, other) = branches
    if result != other:
        raise TraceError("both branches of cond must return the same structure")
    graphs = _over_same_operands(then, otherwise, len(leaves), len(seen), len(also))
    outputs = _run("cond", [test, *leaves, *seen, *also], then=graphs[0], otherwise=graphs[1])
    return unflatten(result[0], outputs)


def while_loop(cond_fn: Callable[..., Any], body_fn: Callable[..., Any], operands: Any) -> Any:
    """Repeat ``operands = body_fn(*operands)`` while ``cond_fn(*operands)``; returns the last.

    Has no reverse-mode gradient: the number of steps is not known (use ``scan``).
    """
    leaves, shape = _flat(tuple(operands))
    test, seen, _ = _body("while_loop", _called(cond_fn, shape), leaves, 1)
    body, also, result = _body("while_loop", _called(body_fn, shape), leaves, 1)
    tests = _over_same_operands(test, body, len(leaves), len(seen), len(also))
    outputs = _run(
        "while_loop", [*leaves, *seen, *also], test=tests[0], body=tests[1], carries=len(leaves)
    )
    return unflatten(result[0], outputs)


# ------------------------------------------------------------------------------------------ bodies


def _flat(value: Any) -> tuple[list[Tensor], Any]:
    leaves, shape = flatten(value)
    return [x if isinstance(x, Tensor) else as_tensor(x) for x in leaves], shape


def _called(function: Callable[..., Any], shape: Any) -> Callable[..., Any]:
    return lambda *args: (function(*unflatten(shape, args)),)


def _body(
    name: str, function: Callable[..., Any], operands: Sequence[Any], parts: int
) -> tuple[Graph, list[Tensor], tuple[Any, ...]]:
    """Trace a body: its graph over operands and outside tensors, those, the results' shapes."""
    with Trace(name, writes=False) as trace:
        arguments = [trace.input(x.shape, x.dtype) for x in operands]
        result = function(*arguments)
        if not isinstance(result, tuple) or len(result) != parts:
            raise TraceError(f"the body of {name} must return {parts} values, not {result!r:.60}")
        outputs: list[Tensor] = []
        shapes = []
        for part in result:
            leaves, shape = _flat(part)
            outputs += leaves
            shapes.append(shape)
        nodes = [trace.node(y) for y in outputs]
        inputs = [*map(trace.node, arguments), *(node for _, node in trace.captured)]
    return Graph(inputs, nodes, name), [t for t, _ in trace.captured], tuple(shapes)


def _over_same_operands(
    first: Graph, second: Graph, shared: int, own: int, others: int
) -> tuple[Graph, Graph]:
    """Two graphs over (shared operands, what the first reads, what the second reads)."""
    spare = [ir.like(x) for x in second.inputs[shared:]]
    extra = [ir.like(x) for x in first.inputs[shared:]]
    assert len(extra) == own and len(spare) == others
    return (
        Graph((*first.inputs, *spare), first.outputs, first.name),
        Graph(
            (*second.inputs[:shared], *extra, *second.inputs[shared:]), second.outputs, second.name
        ),
    )


# ----------------------------------------------------------------------------------------- running


def _run(name: str, operands: Sequence[Tensor], **attrs: Any) -> list[Tensor]:
    """The node's results: traced where a trace is, else as a composite of one node."""
    if state.trace is not None:
        return list(_results(name, operands, attrs))
    # In anomaly mode equal bodies at different lines are kept apart: errors name their lines.
    known = _Attributes(attrs, () if state.watch is None and state.trace is None else _lines(attrs))
    results = _COMPOSITES[name](*operands, known)
    return list(results)


class _Attributes(dict[str, Any]):
    """A node's attributes as a composite's static argument: equal when graphs are."""

    def __init__(self, attrs: dict[str, Any], lines: tuple[Any, ...]) -> None:
        super().__init__(attrs)
        self.lines = lines

    def key(self) -> tuple[Any, ...]:
        return (*(v.key() if isinstance(v, Graph) else v for v in self.values()), self.lines)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Attributes) and self.key() == other.key()


def _lines(attrs: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(x.origin for v in attrs.values() if isinstance(v, Graph) for x in v)


def _results(name: str, operands: Sequence[Tensor], attrs: dict[str, Any]) -> tuple[Tensor, ...]:
    if name == "scan":
        n, m = attrs["carries"], attrs["sequences"]
        return tuple(
            lang.scan(
                attrs["body"],
                operands[:n],
                operands[n : n + m],
                operands[n + m :],
                attrs["length"],
                attrs["reverse"],
            )
        )
    whole = lang.apply(name, *operands, **attrs)
    graph = attrs["then"] if name == "cond" else attrs["body"]
    return tuple(lang.result(whole, i) for i in range(len(graph.outputs)))


def _composite(name: str) -> Callable[..., Any]:
    def control(*args: Any) -> tuple[Tensor, ...]:
        return _results(name, args[:-1], args[-1])

    return composite(f"{name.title().replace('_', '')}Backward0")(control)


_COMPOSITES = {name: _composite(name) for name in ("scan", "cond", "while_loop")}
