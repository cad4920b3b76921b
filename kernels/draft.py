"""The first half of building a program: everything decided but addresses.

    draft = draft_plan(plan, context, aliases, donated)
    draft.steps                     # one Step a region: kernel calls, a host call, or inner drafts
    draft.arena_bytes               # inner graphs' arenas included

``Context.keys`` collects the kernels that all steps need; other threads may begin to compile them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphgrad import ir
from graphgrad.ir import Graph, Node
from graphgrad.regions import (
    CONTROL,
    HOST,
    LOOP,
    Assignment,
    Lifetime,
    Place,
    Plan,
    Region,
    Roll,
)

from .host import literal
from .target import CPU, Target


@dataclass(eq=False)
class Step:
    """How one region runs: ``calls`` of kernels, a host call (``reason`` says why), or ``inner``.

    Control flow has its first ``starts`` (copies of operands into carries), a ``block`` of the
    arena for the inner drafts, ``rolls`` (see Roll), and ``temporaries``, places of results that
    nobody reads. ``kept`` is where, outside of the loop, a contraction finds an operand that stays
    the same at every step: packed once, before the loop.
    """

    region: Region
    calls: tuple[Any, ...] = ()
    reason: str = ""
    inner: tuple[Draft, ...] = ()
    starts: tuple[Step, ...] = ()
    rolls: dict[int, Roll] = field(default_factory=dict)
    block: Place | None = None
    temporaries: dict[int, Place] = field(default_factory=dict)
    kept: Place | None = None

    @property
    def kept_bytes(self) -> int:
        """How much of memory a step of a loop keeps for the next."""
        return max((getattr(call, "kept_bytes", 0) for call in self.calls), default=0)

    @property
    def node(self) -> Node:
        """The control-flow node of the region."""
        (node,) = (x for x in self.region.nodes if x.op.kind == "control")
        return node

    @property
    def block_place(self) -> Place:
        """Where the arena of the inner drafts lies."""
        assert self.block is not None
        return self.block

    @property
    def rolled(self) -> set[int]:
        """The results that are rows of some Roll."""
        return {i for k, roll in self.rolls.items() for i in (k, *roll.stacks)}


@dataclass(eq=False)
class Copy:
    """A value copied from place to place by ``step``, an identity."""

    step: Step
    source: Place
    target: Place


@dataclass(eq=False)
class Draft:
    """A plan with its steps and with arena offsets, relative to where its block will lie."""

    plan: Plan
    assignment: Assignment
    steps: list[Step]
    copies: list[Copy]
    literals: list[np.ndarray]
    offsets: list[int] = field(default_factory=list)
    arena_bytes: int = 0


@dataclass(frozen=True)
class Planner:
    """The passes that building calls: a Plan of an inner graph, places of values, arena offsets."""

    plan: Callable[[Graph, Mapping[int, int], bool], Plan]
    assign: Callable[..., Assignment]
    offsets: Callable[[Sequence[Lifetime]], tuple[list[int], int]]


@dataclass(eq=False)
class Context:
    """What all drafts of one program share: who plans inner graphs, keys of kernels, the target."""

    planner: Planner
    keys: dict[Any, None] = field(default_factory=dict)
    target: Target = CPU

    def step(
        self,
        region: Region,
        inplace: Mapping[Node, Node] | None = None,
        fixed: Container[Node] = (),
    ) -> Step:
        """Kernel calls of a loop or contraction, or why it must be interpreted."""
        if region.kind == HOST:
            return Step(region, reason=f"{region.name} is a host call")
        try:
            calls = tuple(self.target.lower(region, dict(inplace or {}), fixed))
        except NotImplementedError as error:
            if not self.target.interprets:
                raise
            return Step(region, reason=str(error))
        new = dict.fromkeys(k for call in calls for k in kernel_keys(call) if k not in self.keys)
        if new:
            self.keys.update(new)
            self.target.begin(new)
        return Step(region, calls)

    def copy(self, x: Node) -> Step:
        """An identity over ``x``."""
        operand = ir.like(x)
        y = ir.node("identity", operand, origins=x.origins)
        ir.became(x, y, "copy")
        return self.step(Region(LOOP, (y,), (operand,), (y,)))


def kernel_key(call: Any) -> Any:
    """What names a call's kernel: (name, source) of a generated one, a name of the engine's."""
    return call.key if hasattr(call, "key") else (call.name, call.source)


def kernel_keys(call: Any) -> list[Any]:
    """The kernel of a call, and those it is handed to call by address."""
    return [kernel_key(call), *(s[1] for s in call.slots if s[0] == "function")]


def draft_plan(
    plan: Plan,
    context: Context,
    aliases: Mapping[int, int],
    donated: Iterable[int] = (),
    commit: bool = False,
    fixed: Container[Node] = (),
) -> Draft:
    """Places, kernels and inner drafts of a plan; ``fixed`` inputs stay the same in a loop."""
    assignment = context.planner.assign(plan, aliases, donated, commit)
    steps = [_step(i, region, assignment, context, fixed) for i, region in enumerate(plan)]
    copies = [Copy(context.copy(x), source, to) for x, source, to in assignment.copies]
    draft = Draft(plan, assignment, steps, copies, [literal(x) for x in assignment.constants])
    draft.offsets, draft.arena_bytes = context.planner.offsets(assignment.lifetimes)
    return draft


def _step(
    number: int,
    region: Region,
    assignment: Assignment,
    context: Context,
    fixed: Container[Node],
) -> Step:
    if region.kind == CONTROL:
        return _control_step(number, region, assignment, context)
    return context.step(region, assignment.inplace.get(region), fixed)


def _control_step(number: int, region: Region, assignment: Assignment, context: Context) -> Step:
    """Inner drafts share one block of the arena; results nobody reads get temporary places."""
    step = Step(region, rolls=assignment.rolls.get(region, {}))
    node = step.node
    step.inner = tuple(_inner_drafts(step, context))

    def reserve(nbytes: int) -> Place:
        assignment.lifetimes.append(Lifetime(number, number, nbytes))
        return Place("arena", len(assignment.lifetimes) - 1)

    step.block = reserve(max(draft.arena_bytes for draft in step.inner))
    for inner in (x for draft in step.inner for x in draft.steps):
        if inner.kept_bytes:
            inner.kept = reserve(inner.kept_bytes)
    placed = {x.attrs["index"] for x in region.outputs} | step.rolled
    for index, (shape, dtype) in enumerate(node.results):
        if index not in placed:
            step.temporaries[index] = reserve(ir.size_of(shape) * dtype.itemsize)
    if node.op.name == "while_loop":
        step.temporaries[TEST_CELL] = reserve(1)
    carries = node.inputs[: node.attrs.get("carries", 0)]
    step.starts = tuple(map(context.copy, carries))
    return step


TEST_CELL = -1  # the temporary that holds a while_loop's condition


def _inner_drafts(step: Step, context: Context) -> Iterable[Draft]:
    node = step.node
    attrs = node.attrs
    if node.op.name == "cond":
        yield _inner(attrs["then"], (), context)
        yield _inner(attrs["otherwise"], (), context)
        return
    first = attrs["carries"] + attrs.get("sequences", 0)
    if node.op.name == "while_loop":
        yield _inner(attrs["test"], (), context, first)
    yield _inner(
        written_by_body(step),
        [k for k in range(attrs["carries"]) if k not in step.rolls],
        context,
        first,
    )


def written_by_body(step: Step) -> Graph:
    """A loop's body without the stacks that a carry's rows already are."""
    body = step.node.attrs["body"]
    free = {i for roll in step.rolls.values() for i in roll.stacks}
    outputs = [y for i, y in enumerate(body.outputs) if i not in free]
    return Graph(body.inputs, outputs, body.name)


def _inner(
    graph: Graph, carries: Iterable[int], context: Context, constants: int | None = None
) -> Draft:
    """A body writes a new carry over the old one, as a program does with mutated inputs.

    Inputs from number ``constants`` on are the same at every step of the loop.
    """
    aliases = {k: k for k in carries}
    plan = context.planner.plan(graph, aliases, True)
    fixed = () if constants is None else graph.inputs[constants:]
    return draft_plan(plan, context, aliases, fixed=frozenset(fixed))
