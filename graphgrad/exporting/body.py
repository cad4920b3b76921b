"""The sequence of calls of an exported function: a Draft as lines of Python.

    body = Body(names, functions, FLOW)
    body.graph(draft, inputs, outputs)
    body.lines(), body.kernels(), body.places, body.constants

Loop regions become calls of generated kernels, everything else NumPy statements; control flow
becomes Python's. Every value is an array at a planned offset of one block of memory, under a name
of its own; values that do not live at the same time share memory.
"""

from __future__ import annotations

import contextlib
import linecache
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphgrad import ir
from graphgrad.ir import Node
from graphgrad.kernels.draft import TEST_CELL, Context, Draft, Step
from graphgrad.kernels.host import literal as array_of
from graphgrad.kernels.host import region_graph
from graphgrad.regions import ARENA, CONSTANT, INPUT, LOOP, Place, Region

from .kernels import Kernel, Unreadable, literal, scalar_value
from .names import Names
from .source import FunctionSource
from .statements import scalar, statements
from .text import broken, wrapped

SMALL = 16  # elements of a constant that is written out
MOST_LINES = 3  # of the user's program above a call
LISTED = 24  # nodes in a kernel's docstring


class ExportContext(Context):
    """Lowers loops only, and only to kernels that have a form without pointers."""

    def step(
        self,
        region: Region,
        inplace: Mapping[Node, Node] | None = None,
        fixed: Container[Node] = (),
    ) -> Step:
        if region.kind != LOOP or any(x.op.kind == "sort" for x in region.nodes):
            return Step(region, reason="NumPy")
        step = super().step(region, inplace, fixed)
        try:
            for call in step.calls:
                Kernel.of([call])
        except Unreadable as error:
            return Step(region, reason=str(error))
        return step


@dataclass(eq=False)
class _Call:
    """A kernel call to be written when all calls of its kernel are known."""

    indent: int
    call: Any
    region: Region
    scope: Scope
    scratch: int


@dataclass(eq=False)
class Scope:
    """Where one draft's values are: expressions of its inputs and outputs, its arena block."""

    body: Body
    draft: Draft
    inputs: Sequence[str]
    outputs: Sequence[Any]
    block: int
    names: dict[Node, str] = field(default_factory=dict)
    copies: dict[Place, str] = field(default_factory=dict)

    def value(self, x: Node) -> str:
        """The expression for a node's value."""
        if x not in self.names:
            place = self.draft.assignment.places.get(x)
            self.names[x] = self.body.constant(x) if place is None else self._named(x, place)
        return self.names[x]

    def _named(self, x: Node, place: Place) -> str:
        if place.kind == CONSTANT:
            return self.body.constant(x)
        made_by = x.inputs[0] if x.op.name == "result" else x
        return self.at(place, x.shape, x.dtype.name, made_by.op.name)

    def at(self, place: Place, shape: tuple[int, ...], dtype: str, base: str) -> str:
        """The expression for a place; one in the arena gets a name."""
        if place.kind == ARENA:
            offset = self.block + self.draft.offsets[place.index] + place.offset
            return self.body.place(offset, shape, dtype, base)
        return (self.inputs if place.kind == INPUT else self.outputs)[place.index]

    def held(self, x: Node, place: Place) -> str:
        """The expression for a place that holds ``x``, which may have several."""
        if place == self.draft.assignment.places.get(x):
            return self.value(x)
        if place not in self.copies:
            self.copies[place] = self.at(place, x.shape, x.dtype.name, "copy")
        return self.copies[place]

    def offset(self, place: Place) -> int:
        """Bytes into the arena."""
        return self.block + self.draft.offsets[place.index] + place.offset


Flow = Mapping[str, Callable[["Body", Step, Scope], None]]


class Body:
    """Lines, the kernels they call, and the memory and constants those need."""

    def __init__(self, names: Names, functions: FunctionSource, flow: Flow) -> None:
        self.names, self.functions, self._flow = names, functions, flow
        self.places: list[str] = []
        self.constants: dict[str, np.ndarray] = {}
        self.nbytes = self.scratch_bytes = 0
        self._rows: list[str | _Call] = []
        self._indent = 1
        # What the lines above say they compute, and how far they are indented.
        self._commented: tuple[Any, ...] = ()
        self._constant_names: dict[Any, str] = {}
        self._scratch: dict[tuple[int, str], str] = {}
        self._kernels: dict[str, Kernel] = {}

    # ------------------------------------------------------------------------------ what lines need

    def place(self, offset: int, shape: tuple[int, ...], dtype: str, base: str) -> str:
        """A name for memory of the arena."""
        name = self.names.fresh("product" if base == "dot_general" else base)
        self.places.append(f"{name} = place({offset}, np.{dtype}, {shape})")
        return name

    def constant(self, x: Node) -> str:
        """The name of a literal's array: kernels read memory, numbers too."""
        value = array_of(x)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constant_names:
            self._constant_names[key] = self.names.fresh("constant")
            self.constants[self._constant_names[key]] = value
        return self._constant_names[key]

    def literal(self, x: Node) -> str:
        """A literal in a NumPy statement: a number as such."""
        return scalar(x) if x.op.name == "scalar" else self.constant(x)

    def add(self, line: str) -> None:
        """One more line."""
        self._rows += broken("    " * self._indent, line) if line else [""]

    # ------------------------------------------------------------------------------------ the graph

    def graph(self, draft: Draft, inputs: Sequence[str], outputs: Sequence[Any]) -> Scope:
        """Lines of a whole program."""
        self.nbytes = draft.arena_bytes
        scope = Scope(self, draft, inputs, outputs, 0)
        self._draft(scope)
        return scope

    def _draft(self, scope: Scope) -> None:
        """Lines of all steps of a draft, then its copies."""
        before = len(self._rows)
        for step in scope.draft.steps:
            self._step(step, scope)
        for x, source, target in scope.draft.assignment.copies:
            if scope.held(x, source) != scope.held(x, target):
                self.add(f"{scope.held(x, target)}[...] = {scope.held(x, source)}")
        if len(self._rows) == before:
            self.add("pass")

    def _step(self, step: Step, scope: Scope) -> None:
        region = step.region
        if not (step.calls or step.inner or step.reason) or not any(
            step.inner or y.size for y in region.outputs
        ):
            return
        self._comment(region)
        for y, old in scope.draft.assignment.inplace.get(region, {}).items():
            scope.names[y] = scope.value(old)
        if step.inner:
            self._flow[step.node.op.name](self, step, scope)
        elif step.reason:
            args = (scope.value, scope.value, self.names, self.functions, self.literal)
            for line in statements(region, *args):
                self.add(line)
        scratch = max((c.scratch_bytes for c in step.calls), default=0)
        self._rows += [_Call(self._indent, c, region, scope, scratch) for c in step.calls]

    def _comment(self, region: Region) -> None:
        """The user's lines that a region computes."""
        computed = (x for x in region.nodes if x.op.kind != "source")
        origins = dict.fromkeys(x.origin for x in computed if x.origin.code is not None)
        lines = dict.fromkeys(
            f"{o}: {linecache.getline(o.file, o.line).strip()}".rstrip(": ") for o in origins
        )
        if (self._indent, *lines) == self._commented:
            return
        self._commented = (self._indent, *lines)
        if not (self._rows and str(self._rows[-1]).endswith(":")):
            self.add("")
        for line in list(lines)[:MOST_LINES]:
            self.add(f"# {line}"[: 96 - 4 * self._indent])
        if len(lines) > MOST_LINES:
            self.add(f"# … and {len(lines) - MOST_LINES} more lines")

    # -------------------------------------------------------------------------------------- kernels

    def kernels(self) -> list[Kernel]:
        """The kernels that are called, in that order; each knows all its calls."""
        calls: dict[str, list[_Call]] = {}
        for row in self._rows:
            if isinstance(row, _Call):
                calls.setdefault(row.call.source, []).append(row)
        for source, rows in calls.items():
            kernel = Kernel.of([r.call for r in rows])
            kernel.name = self.names.fresh(kernel.name)
            kernel.listing = _listing(rows[0].region, kernel.pointers(rows[0].call))
            self._kernels[source] = kernel
        return list(self._kernels.values())

    def lines(self) -> list[str]:
        """The lines, now that ``kernels`` was called."""
        result: list[str] = []
        for row in self._rows:
            result += [row] if isinstance(row, str) else self._called(row)
        return result

    def _called(self, row: _Call) -> list[str]:
        kernel = self._kernels[row.call.source]
        operands = [self._operand(slot, row) for slot in kernel.operands(row.call)]
        operands += [str(row.call.extent)] * kernel.varies + ["error"] * kernel.has_error
        pad = "    " * row.indent
        lines = wrapped(pad, f"{kernel.name}(", operands, ")")
        if kernel.has_error:
            where = next((str(x.origin) for x in row.region.nodes if x.origin.code), "")
            lines.append(f'{pad}check_range("{where}")')
        return lines

    def _operand(self, slot: tuple[Any, ...], row: _Call) -> str:
        if slot[0] == "ptr":
            return row.scope.value(slot[1])
        if slot[0] == "scratch":
            return self._temporary(slot[1], slot[-1], row.scratch)
        return literal(scalar_value(slot))

    def _temporary(self, offset: int, dtype: str, nbytes: int) -> str:
        """Memory that a kernel uses while it runs: behind the arena, the same for all kernels."""
        key = (offset, dtype)
        if key not in self._scratch:
            self._scratch[key] = self.names.fresh("scratch")
        self.scratch_bytes = max(self.scratch_bytes, nbytes)
        return self._scratch[key]

    def scratch_lines(self) -> list[str]:
        """Names for the memory behind the arena."""
        return [
            f"{name} = place({self.nbytes + offset}, np.{dtype}, "
            f"({(self.scratch_bytes - offset) // np.dtype(dtype).itemsize},))"
            for (offset, dtype), name in self._scratch.items()
        ]

    # --------------------------------------------------------------------------------- control flow

    def block(self, head: str, draft: Draft, inputs: Any, outputs: Any, offset: int) -> None:
        """``head``, and the lines of an inner graph below it."""
        self.add(head)
        with self.indented():
            self.inner(draft, inputs, outputs, offset)

    @contextlib.contextmanager
    def indented(self) -> Iterator[None]:
        """Lines one level further in."""
        self._indent += 1
        yield
        self._indent -= 1

    def inner(self, draft: Draft, inputs: Any, outputs: Any, offset: int) -> None:
        """Lines of an inner graph, whose arena is a block of this one."""
        self._draft(Scope(self, draft, inputs, outputs, offset))

    def results(self, step: Step, scope: Scope) -> list[Any]:
        """Where each result of a control-flow node is written; None for the rows of a Roll."""
        node = step.node
        written = {y.attrs["index"]: scope.value(y) for y in step.region.outputs}
        for i, place in step.temporaries.items():
            if i != TEST_CELL:
                shape, dtype = node.results[i]
                base = "carry" if i < node.attrs.get("carries", 0) else "unread"
                written[i] = scope.at(place, shape, dtype.name, base)
        written |= dict.fromkeys(step.rolled)
        return [written[i] for i in range(len(node.results))]


def _listing(region: Region, pointers: Mapping[Node, str]) -> tuple[str, ...]:
    """The nodes of a region, one a line, with the user's line and the names of parameters."""
    graph = region_graph(region)
    name = ir.names(graph)
    read = {f"v{i}": pointers[x] for i, x in enumerate(region.inputs) if x in pointers}
    read |= {name[x]: literal(x.attrs["value"]) for x in graph if x.op.name == "scalar"}
    pairs = zip(region.outputs, graph.outputs, strict=True)
    written = {name[y]: f"{pointers[x]} = {name[y]}" for x, y in pairs if x in pointers}
    lines = []
    for line in repr(graph).replace("\\", "/").replace('"', "'").split("\n")[1:-1]:
        head, _, rest = line.strip().partition(":")
        if head not in read:
            rest = re.sub(r"%?\b\w+\b", lambda m: read.get(m[0], m[0]), rest)
            rest = re.sub(r" +# ", "  # ", rest)
            lines.append(f"{written.get(head, head)}:{rest}")
    more = [f"… and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return tuple(f"{line[:93]}…" if len(line) > 94 else line for line in lines[:LISTED] + more)
