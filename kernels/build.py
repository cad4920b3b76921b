"""From a Plan to a Program that runs: rows over one arena, every kernel compiled.

    compiled = build(plan, planner, aliases={0: 2})
    outputs = compiled(arrays)          # output 0 was written into array 2
    print(compiled.program)             # its rows
    compiled.explain()                  # regions, kernels, launches, bytes

``planner`` holds the passes that building calls, on the graphs inside control flow too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphgrad.errors import GraphError
from graphgrad.ir import Graph, Node
from graphgrad.regions import Plan, Region

from .cache import Kernel, compile_many
from .contract.kernels import engine_recipe
from .contract.names import KernelName
from .control import EMITTERS
from .draft import Context, Draft, Planner, Step, draft_plan, kernel_key
from .executor import KernelError, Runner
from .host import host_function, literal, raise_as_interpreted
from .launches import Launches
from .memory import empty
from .places import Scope, shifted
from .program import Program, ProgramBuilder, Slot
from .usage import Usage, usage_of

SMALL = 1 << 14


def build(
    plan: Plan,
    planner: Planner,
    aliases: Mapping[int, int] | None = None,
    donated: Iterable[int] = (),
) -> Compiled:
    """Lower, compile and lay out a plan."""
    aliases = dict(aliases or {})
    context = Context(planner)
    draft = draft_plan(plan, context, aliases, donated, commit=True)
    kernels = _compile(context.keys)
    emitter = Emitter(plan.graph, aliases, draft.arena_bytes, kernels)
    values = emitter.emit_graph(draft)
    return Compiled(plan, aliases, emitter.finish(), emitter, values)


def _compile(keys: Iterable[Any]) -> dict[Any, Kernel]:
    """Every kernel of a program, those that are new compiled together."""
    keys = list(keys)
    recipes = [engine_recipe(key) if isinstance(key, KernelName) else key for key in keys]
    return dict(zip(keys, compile_many(recipes), strict=True))


SlotOf = Callable[[Node], Slot]


class Emitter:
    """Appends the rows of drafts to one ProgramBuilder."""

    def __init__(
        self,
        graph: Graph,
        aliases: Mapping[int, int],
        arena_bytes: int,
        kernels: Mapping[Any, Kernel],
    ) -> None:
        own = [p for p in range(len(graph.outputs)) if p not in aliases]
        self.kernels = kernels
        self.own_outputs = {position: number for number, position in enumerate(own)}
        self.builder = ProgramBuilder(len(graph.inputs), len(own), arena_bytes)
        self.launches = Launches(self.builder)
        self.interpreted: list[tuple[Region, str]] = []
        self.kept: dict[Step, Slot] = {}

    def emit_graph(self, draft: Draft) -> Scope:
        """The rows of the whole program."""
        count = len(draft.plan.graph.inputs)
        own = self.own_outputs
        outputs = [
            self.builder.output(own[p]) if p in own else None
            for p in range(len(draft.plan.graph.outputs))
        ]
        inputs = [self.builder.input(i) for i in range(count)]
        scope = Scope(self.builder, draft, inputs, outputs, self.builder.arena(0))
        self.emit(scope)
        return scope

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
            return self.kernels[slot[1]].address
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
        self.builder.host(host_function(region), operands, region.name)

    def finish(self) -> Program:
        """The Program of all rows."""
        return self.builder.program()


def _number(x: Node) -> float | int:
    """A scalar literal's value, rounded to its dtype, as a float or int slot."""
    value = literal(x).item()
    return int(value) if isinstance(value, bool) else value


@dataclass(frozen=True)
class Report:
    """What a compiled graph is made of."""

    regions: int
    kernels: tuple[tuple[str, str], ...]
    launches: int
    interpreted: tuple[tuple[str, str], ...]
    memory: Usage

    def __str__(self) -> str:
        lines = [
            f"{self.regions} regions, {self.launches} launches of {len(self.kernels)} kernels, "
            f"{len(self.interpreted)} regions interpreted",
            *str(self.memory).splitlines(),
            *(f"  kernel      {name:<32} {path}" for name, path in self.kernels),
            *(f"  interpreted {name:<32} {why}" for name, why in self.interpreted),
        ]
        return "\n".join(lines)


class Compiled:
    """A program with the calling convention of an Executable."""

    def __init__(
        self,
        plan: Plan,
        aliases: Mapping[int, int],
        program: Program,
        emitter: Emitter,
        values: Scope,
    ) -> None:
        self.plan, self.program, self.values = plan, program, values
        self.runner = Runner(program, self._explain_failure)
        self.aliases = tuple(sorted(aliases.items()))
        own = [plan.graph.outputs[position] for position in emitter.own_outputs]
        # The allocator is faster than the free list while memory need not come from the system.
        self._new = [
            (np.empty if y.nbytes <= SMALL else empty, y.shape, y.dtype.numpy) for y in own
        ]
        self.row_regions = emitter.launches.row_regions
        self.interpreted = tuple((region.name, why) for region, why in emitter.interpreted)
        self._arena_bytes = emitter.builder.arena_bytes

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on C-contiguous arrays of the inputs' types."""
        outputs = [new(shape, dtype) for new, shape, dtype in self._new]
        self.runner(*arrays, *outputs)
        for position, source in self.aliases:
            outputs.insert(position, arrays[source])
        return outputs

    @property
    def results(self) -> list[Any]:
        """Of each output the input it is written into, or (how to make it, its shape, dtype)."""
        into, own = dict(self.aliases), iter(self._new)
        return [into[p] if p in into else next(own) for p in range(len(self.plan.graph.outputs))]

    def _explain_failure(self, error: KernelError, buffers: Sequence[np.ndarray]) -> None:
        """Raise what the interpreter raises: inputs are unchanged, so it finds the same error."""
        raise_as_interpreted(self.plan.graph, buffers[: len(self.plan.graph.inputs)])
        # A row that can fail is never grouped with others.
        (region,) = self.row_regions[error.row]
        where = ", ".join(str(x.origin) for x in region.nodes if x.origin.code)
        raise GraphError(f"{error} ({where or region.name})") from error

    def explain(self) -> Report:
        """Counts, sizes and files of the program."""
        program, arena = self.program, self._arena_bytes
        own = [y for p, y in enumerate(self.plan.graph.outputs) if p not in dict(self.aliases)]
        return Report(
            regions=len(self.plan.regions),
            kernels=tuple((k.name, k.path) for k in program.kernels),
            launches=program.launches,
            interpreted=self.interpreted,
            memory=usage_of(self.values.draft, own, arena, program.arena_bytes - arena),
        )
