"""From a Plan to a Program that runs: rows over one arena, every kernel compiled.

    compiled = build(plan, planner, aliases={0: 2})     # output 0 is written into array 2

``planner`` holds the passes that building calls, on the graphs inside control flow too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from graphgrad.ir import Graph, Node
from graphgrad.regions import Plan, Region

from .cache import Kernel
from .compiled import Compiled, Making
from .control import EMITTERS
from .draft import Context, Draft, Planner, Step, draft_plan, kernel_key
from .host import host_function, literal
from .launches import Launches
from .places import Scope, shifted
from .program import Program, ProgramBuilder, Slot
from .target import CPU, Target


def build(
    plan: Plan,
    planner: Planner,
    aliases: Mapping[int, int] | None = None,
    donated: Iterable[int] = (),
    target: Target = CPU,
) -> Compiled:
    """Lower, compile and lay out a plan; NotImplementedError where the target has no kernel."""
    aliases = dict(aliases or {})
    context = Context(planner, target=target)
    draft = draft_plan(plan, context, aliases, donated, commit=True)
    kernels = target.compile(context.keys)
    emitter = Emitter(plan.graph, aliases, draft.arena_bytes, kernels, target.group)
    emitter.emit_graph(draft)
    own = [plan.graph.outputs[position] for position in emitter.own_outputs]
    types = [(y.shape, y.dtype.numpy) for y in own]
    making = emitter.making(draft)
    return target.finish(emitter.finish(), aliases, types, lambda: making)


SlotOf = Callable[[Node], Slot]


class Emitter:
    """Appends the rows of drafts to one ProgramBuilder."""

    def __init__(
        self,
        graph: Graph,
        aliases: Mapping[int, int],
        arena_bytes: int,
        kernels: Mapping[Any, Kernel],
        group: Callable[[Kernel], Kernel],
    ) -> None:
        own = [p for p in range(len(graph.outputs)) if p not in aliases]
        self.kernels = kernels
        self.own_outputs = {position: number for number, position in enumerate(own)}
        self.builder = ProgramBuilder(len(graph.inputs), len(own), arena_bytes)
        self.launches = Launches(self.builder, group)
        self.interpreted: list[tuple[Region, str]] = []
        self.kept: dict[Step, Slot] = {}

    def emit_graph(self, draft: Draft) -> None:
        """The rows of the whole program."""
        count = len(draft.plan.graph.inputs)
        own = self.own_outputs
        outputs = [
            self.builder.output(own[p]) if p in own else None
            for p in range(len(draft.plan.graph.outputs))
        ]
        inputs = [self.builder.input(i) for i in range(count)]
        self.emit(Scope(self.builder, draft, inputs, outputs, self.builder.arena(0)))

    def emit(self, scope: Scope) -> None:
        """Rows of all steps of a draft, then those of its copies."""
        for step in scope.draft.steps:
            if step.inner:
                self.launches.flush()
                EMITTERS[step.node.op.name](self, step, scope)
            else:
                self._step(step, scope.value)
        for copy in scope.draft.copies:
            self.copy(copy.step, scope.slot(copy.source), scope.slot(copy.target))
        self.launches.flush()

    def copy(self, step: Step, source: Slot, target: Slot) -> None:
        """Rows of an identity between two slots."""
        if source != target:
            region = step.region
            self._step(step, {region.inputs[0]: source, region.outputs[0]: target}.__getitem__)

    def keep(self, draft: Draft, outer: Scope, slot_of: SlotOf) -> None:
        """Rows before a loop over a draft: what its steps need once."""
        for step in draft.steps:
            if step.kept is not None:
                self.kept[step] = outer.slot(step.kept)
                for call in (call for call in step.calls if call.once):
                    self._call(call, step, slot_of, once=True)
        self.launches.flush()

    def _step(self, step: Step, slot_of: SlotOf) -> None:
        if step.reason:
            self._host(step, slot_of)
        for call in step.calls:
            if step.kept is None or not call.once:
                self._call(call, step, slot_of)

    def _call(self, call: Any, step: Step, slot_of: SlotOf, once: bool = False) -> None:
        kernel, region = self.kernels[kernel_key(call)], step.region
        slots = [self._slot(slot, slot_of, call, step) for slot in call.slots]
        if once:
            read = (slot[1] for slot in call.slots if slot[0] == "ptr")
            region = replace(region, inputs=tuple(read), outputs=())
        self.launches.call(kernel, slots, call, region, slot_of)

    def _slot(self, slot: tuple[Any, ...], slot_of: SlotOf, call: Any, step: Step) -> Slot:
        kind = slot[0]
        if kind == "ptr":
            base = slot_of(slot[1])
            return shifted(base, slot[2]) if len(slot) > 2 and slot[2] else base
        if kind == "function":
            return self.kernels[slot[1]]
        if kind == "scalar":
            return _number(slot[1])
        if kind == "error":
            return self.builder.error
        if kind == "kept":
            return shifted(self.kept[step], slot[1])
        if kind == "scratch":
            return self.builder.scratch(call.scratch_bytes) + slot[1]
        return slot[1]

    def _host(self, step: Step, slot_of: SlotOf) -> None:
        self.launches.flush()
        region = step.region
        self.interpreted.append((region, step.reason))
        operands = [(slot_of(x), x.shape, x.dtype.numpy) for x in region.inputs]
        operands += [(slot_of(y), y.shape, y.dtype.numpy) for y in region.outputs]
        self.launches.row_regions[len(self.builder.rows)] = (region,)
        self.builder.host(host_function(region), operands, region.name, len(region.inputs))

    def making(self, draft: Draft) -> Making:
        """What the rows come from."""
        interpreted = tuple((region.name, why) for region, why in self.interpreted)
        return Making(draft, self.launches.row_regions, interpreted, self.builder.arena_bytes)

    def finish(self) -> Program:
        """The Program of all rows."""
        return self.builder.program()


def _number(x: Node) -> float | int:
    """A scalar literal's value, rounded to its dtype, as a float or int slot."""
    value = literal(x).item()
    return int(value) if isinstance(value, bool) else value
