"""Finding the NaN: a graph run node by node with NumPy, with an eye on every value.

    causes = search(graph, arrays, [given(x, "input") for x in arrays])     # of each output
    earliest(c.nan for c in causes).message()       # who made the first NaN that reaches one

Operations that compute can make a NaN; views, gathers, ``where`` and casts hand on what they read.
An elementwise operation blames an operand only where their NaNs meet, so one that ``where`` masked
away is nobody's cause. Infinities are followed in the same way: they are what most NaNs come from.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphgrad import interpret
from graphgrad.errors import SUM, UNKNOWN, Origin, describe
from graphgrad.ir import Graph, Node
from graphgrad.ops import PRIMITIVES

Array = Any

# The order of operations that ran before a search, which counts from 0.
EARLIER = -1
_TESTS: dict[str, Callable[[Any], Any]] = {"nan": np.isnan, "inf": np.isinf}
_COMPUTING = frozenset({"elementwise", "reduce", "cumulative", "contract", "host"})
_MOVES = frozenset("where identity cast neg abs maximum minimum max min cummax cummin".split())
_COMPUTES = frozenset({"window_sum", "scatter_add"})
# Operands of an error message: more of them would not fit into ten lines.
_MOST_OPERANDS = 3


def holds(kind: str, x: Array) -> bool:
    """Whether an array of any type has a ``"nan"`` or an ``"inf"``."""
    if x.dtype.kind not in "fc" or not x.size:
        return False
    if kind == "nan" and x.dtype.kind == "f":
        return bool(np.isnan(np.min(x)))  # one pass and no memory: a minimum hands a NaN on
    return bool(_TESTS[kind](x).any())


@dataclass(frozen=True)
class Held:
    """A NaN or an infinity that was there before: in an input, or as a number in the program."""

    label: str


@dataclass(frozen=True)
class Finding:
    """An operation whose result has a NaN (or infinity) that none of its operands explains."""

    kind: str
    name: str
    order: int
    # ``log(float32[3]) -> float32[3]``
    types: str
    count: int
    size: int
    index: tuple[int, ...]
    # The operation at that element: ``log(-1)``; empty where it is not elementwise.
    example: str
    operands: tuple[str, ...]
    held: Held | None
    infinity: Held | Finding | None
    origin: Origin = UNKNOWN
    # Control flow around it, outermost first: ``step 3 of scan``.
    path: tuple[str, ...] = ()

    def message(self, headline: str = "") -> str:
        """At most ten lines: who made it, at which line, out of what."""
        o = self.origin
        phase = o.phase or "forward"
        inside = f", inside {o.composite}" if o.composite else ""
        inside += "".join(f", in {step}" for step in reversed(self.path))
        inside += f", in module {o.module}" if o.module else ""
        lines = [headline or self._headline(phase), f"  {phase} operation: {self.types}{inside}"]
        derived = o.parent or (o if o.record else None)
        if o is not derived:
            lines.append(f"  at: {o.quote()}")
        if derived is not None:
            lines.append(f"  derived from: {derived.quote()}")
        place = f", the first at {list(self.index)}" if self.index else ""
        place += f": {self.example}" if self.example else ""
        lines.append(f"  {self.kind}: {self.count} of {self.size} values{place}")
        if self.held is not None:
            lines.append(f"  {self.held.label} already holds {self.kind}")
        rows = list(enumerate(self.operands))[:_MOST_OPERANDS]
        lines += [f"  operand {i}: {text}" for i, text in rows]
        if self.infinity is not None:
            lines.append(f"  likely cause: {_source(self.infinity)}")
        return "\n".join(lines)

    def _headline(self, phase: str) -> str:
        o = self.origin
        if o.output == SUM:
            return f"anomaly in {phase}: the sum of two gradients has {self.kind} values."
        if not o.record:
            name = self.name if self.path else o.composite or self.name
            return f"anomaly in {phase}: {name} returned {self.kind} values."
        which = f" in its {o.output}th output" if o.output >= 0 else ""
        return f"Function '{o.record}' returned {self.kind} values{which}."


Cause = Held | Finding


def _source(infinity: Cause) -> str:
    if isinstance(infinity, Held):
        return f"the infinities that {infinity.label} holds"
    where = f" at {infinity.origin.quote()}" if infinity.origin.code else ""
    example = infinity.example or infinity.types
    return f"an infinity made by {infinity.name}, {example},{where}".rstrip(",")


class Causes(NamedTuple):
    """Where the NaNs, and the infinities, of one value come from."""

    nan: Cause | None = None
    inf: Cause | None = None


NONE = Causes()


def given(x: Array, label: str) -> Causes:
    """The causes of a value that comes from outside."""
    nan, inf = (Held(label) if holds(kind, x) else None for kind in _TESTS)
    return Causes(nan, inf)


def earliest(causes: Iterable[Cause | None]) -> Finding | None:
    """The first operation among causes; None where there are only held values."""
    found = [c for c in causes if isinstance(c, Finding)]
    return min(found, key=lambda f: f.order, default=None)


# ------------------------------------------------------------------------------------ one operation


class Call(NamedTuple):
    """A primitive that ran: its arrays, where those of its operands came from, who called it."""

    name: str
    operands: Sequence[Array]
    result: Array
    known: Sequence[Causes]
    order: int = EARLIER
    origin: Origin = UNKNOWN
    path: tuple[str, ...] = ()


def judge(call: Call) -> Causes:
    """Where the NaNs and infinities of a result come from, given its operands'."""
    if call.result.dtype.kind not in "fc":
        return NONE
    return Causes(_cause("nan", call), _cause("inf", call))


def _cause(kind: str, call: Call) -> Cause | None:
    bad = _TESTS[kind](call.result)
    if not bad.any():
        return None
    meets = _meets if PRIMITIVES[call.name].kind == "elementwise" else _always
    sources = [
        cause
        for x, c in zip(call.operands, call.known, strict=True)
        if (cause := getattr(c, kind)) is not None and meets(kind, x, bad)
    ]
    # An infinity may well be meant (a mask is one), so to compute on with it is nobody's fault.
    if sources and (kind == "inf" or not _computes(call.name)):
        return earliest(sources) or sources[0]
    if not call.operands:
        return Held("a number in the program")
    return earliest(sources) or _finding(kind, call, bad, next(iter(sources), None))


def _computes(name: str) -> bool:
    """Whether an operation's values are more than its operands', moved."""
    return name in _COMPUTES or (PRIMITIVES[name].kind in _COMPUTING and name not in _MOVES)


def _meets(kind: str, x: Array, bad: Array) -> bool:
    if x.dtype.kind not in "fc":
        return False
    return bool((np.broadcast_to(_TESTS[kind](x), bad.shape) & bad).any())


def _always(kind: str, x: Array, bad: Array) -> bool:
    return True


def _finding(kind: str, call: Call, bad: Array, held: Any) -> Finding:
    index = tuple(map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
    pairs = list(zip(call.operands, call.known, strict=True))
    example = ""
    if PRIMITIVES[call.name].kind == "elementwise":
        at = (np.broadcast_to(x, bad.shape)[index] for x in call.operands)
        example = f"{call.name}({', '.join(map(_number, at))})"
        pairs = [(x, c) for x, c in pairs if _meets("inf", x, bad)]
    infinities = [c.inf for _, c in pairs if c.inf is not None] if kind == "nan" else []
    return Finding(
        kind=kind,
        name=call.name,
        order=call.order,
        types=f"{call.name}({', '.join(map(describe, call.operands))}) -> {describe(call.result)}",
        count=int(bad.sum()),
        size=bad.size,
        index=index,
        example=example,
        operands=tuple(map(span, call.operands)),
        held=held,
        infinity=earliest(infinities) or next(iter(infinities), None),
        origin=call.origin,
        path=call.path,
    )


def _number(x: Any) -> str:
    return f"{x:.6g}"


def span(x: Array) -> str:
    """``from -1 to 2, 1 × 0, 3 × inf``: what an operand held."""
    if not x.size:
        return "empty"
    if x.dtype.kind == "b":
        return f"true for {int(x.sum())} of {x.size}"
    if x.size == 1:
        return _number(x.reshape(())[()])
    finite = x[np.isfinite(x)]
    parts = []
    if finite.size and x.dtype.kind != "c":
        low, high = _number(finite.min()), _number(finite.max())
        parts.append(low if low == high else f"from {low} to {high}")
    counts = {"0": x == 0, "inf": x == np.inf, "-inf": x == -np.inf, "nan": np.isnan(x)}
    parts += [f"{n} × {what}" for what, test in counts.items() if (n := int(test.sum()))]
    return ", ".join(parts) or "finite"


# ---------------------------------------------------------------------------------- a whole program


def search(graph: Graph, arrays: Sequence[Array], causes: Sequence[Causes]) -> list[Causes]:
    """Where the NaNs and infinities of a graph's outputs come from, given its inputs'."""
    return _Search().run(graph, arrays, causes, ())[1]


def in_order(graph: Graph) -> list[Node]:
    """The nodes as the user's program made them, not as the outputs happen to reach them."""
    when: dict[Node, int] = {}
    for x in graph.nodes:
        when[x] = max([x.origin.sequence, *(when[i] for i in x.inputs)])
    return sorted(graph.nodes, key=when.__getitem__)


class _Search:
    """The interpreter, which also knows for every value where its NaNs come from."""

    def __init__(self) -> None:
        self.tick = itertools.count().__next__

    def run(
        self,
        graph: Graph,
        arrays: Sequence[Array],
        causes: Sequence[Causes],
        path: tuple[str, ...],
    ) -> tuple[list[Array], list[Causes]]:
        """Values and causes of the outputs; others are let go after their last use."""
        value: dict[Node, Any] = dict(zip(graph.inputs, arrays, strict=True))
        cause: dict[Node, Any] = dict(zip(graph.inputs, causes, strict=True))
        uses = Counter(i for x in graph.nodes for i in x.inputs)
        uses.update(graph.outputs)
        for x in in_order(graph):
            if x in value:
                continue
            operands, known = [value[i] for i in x.inputs], [cause[i] for i in x.inputs]
            value[x], cause[x] = self._evaluate(x, operands, known, path)
            for i in x.inputs:
                uses[i] -= 1
                if not uses[i]:
                    del value[i]
        return [value[y] for y in graph.outputs], [cause[y] for y in graph.outputs]

    def _evaluate(self, x: Node, operands: list[Any], known: list[Any], path: Any) -> Any:
        name, order = x.op.name, self.tick()
        if name == "result":
            return operands[0][x.attrs["index"]], known[0][x.attrs["index"]]
        if x.op.kind == "control":
            return getattr(self, f"_{name}")(operands, known, path, **x.attrs)
        result = interpret.evaluate(x, operands)
        call = Call(name, operands, result, known, order, x.origin, path)
        if x.op.results:
            return result, tuple(judge(call._replace(result=r)) for r in result)
        return result, judge(call)

    def _scan(
        self,
        operands: list[Array],
        known: list[Causes],
        path: tuple[str, ...],
        body: Graph,
        carries: int,
        sequences: int,
        length: int,
        reverse: bool,
    ) -> tuple[tuple[Array, ...], tuple[Causes, ...]]:
        state, causes = operands[:carries], known[:carries]
        rows, fixed = operands[carries : carries + sequences], operands[carries + sequences :]
        row_causes, fixed_causes = (
            known[carries : carries + sequences],
            known[carries + sequences :],
        )
        stacks = [np.empty((length, *y.shape), y.dtype.numpy) for y in body.outputs[carries:]]
        stacked = [NONE] * len(stacks)
        for step in reversed(range(length)) if reverse else range(length):
            now = [r[step] for r in rows]
            inner = [*causes, *map(_still, now, row_causes), *fixed_causes]
            where = (*path, f"step {step} of scan")
            results, found = self.run(body, [*state, *now, *fixed], inner, where)
            state, causes = results[:carries], found[:carries]
            for i, (y, c) in enumerate(zip(results[carries:], found[carries:], strict=True)):
                stacks[i][step] = y
                stacked[i] = Causes(*map(_earlier, stacked[i], c))
        return (*state, *stacks), (*causes, *stacked)

    def _cond(
        self,
        operands: list[Array],
        known: list[Causes],
        path: tuple[str, ...],
        then: Graph,
        otherwise: Graph,
    ) -> tuple[tuple[Array, ...], tuple[Causes, ...]]:
        test, branch = operands[0], "true" if operands[0] else "false"
        where = (*path, f"the {branch} branch of cond")
        results, causes = self.run(then if test else otherwise, operands[1:], known[1:], where)
        return tuple(results), tuple(causes)

    def _while_loop(
        self,
        operands: list[Array],
        known: list[Causes],
        path: tuple[str, ...],
        test: Graph,
        body: Graph,
        carries: int,
    ) -> tuple[tuple[Array, ...], tuple[Causes, ...]]:
        state, causes = operands[:carries], known[:carries]
        fixed, fixed_causes = operands[carries:], known[carries:]
        for step in itertools.count():
            if not interpret.run(test, [*state, *fixed])[0]:
                break
            where = (*path, f"step {step} of while_loop")
            state, causes = self.run(body, [*state, *fixed], [*causes, *fixed_causes], where)
        return tuple(state), tuple(causes)


def _earlier(a: Cause | None, b: Cause | None) -> Cause | None:
    return earliest((a, b)) or a or b


def _still(x: Array, causes: Causes) -> Causes:
    """The causes of a sequence, for one row of it."""
    pairs = zip(_TESTS, causes, strict=True)
    return Causes(*(c if c is not None and holds(kind, x) else None for kind, c in pairs))
