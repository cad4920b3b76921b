"""Graphs that eager code runs again and again: interpreted the first times, then compiled.

``program_of(graph, place)`` is what runs a graph on a device: on the CPU a ``Promoted``, elsewhere
a ``DeviceProgram``, which never waits for a kernel to be worth its while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad import interpret
from graphgrad.config import config
from graphgrad.device import CPU, device
from graphgrad.ir import Graph
from graphgrad.tensor.place import on_device, to_device, to_host


class Promoted:
    """A graph with a counter: under tier "auto" it is compiled after ``config.promote_after`` runs.

    Called with one array an input (any strides); ``run`` returns one array an output that nobody
    else holds, a plain call the only output.
    """

    __slots__ = ("calls", "executable", "graph", "program", "steps", "tier")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.calls = 0
        self.tier = ""
        self.program: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        self.executable: Any = None
        self.steps: Any = None

    def __call__(self, *arrays: Any) -> Any:
        return self.run(arrays)[0]

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        if config.tier is not self.tier:
            self.tier, self.program = config.tier, None
        program = self.program
        if program is None:
            if self.tier == "interpret" or (self.tier == "auto" and self._waits()):
                return self._interpret(arrays)
            program = self._compile()
        return program([x if x.flags.c_contiguous else x.copy() for x in arrays])

    def _waits(self) -> bool:
        self.calls += 1
        return self.calls <= config.promote_after

    def _interpret(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        if self.steps is None:
            self.steps = Steps(self.graph)
        return self.steps(arrays)

    def _compile(self) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """The program itself where the tier allows to skip the Executable's own choices."""
        if self.executable is None:
            from graphgrad.compile import compile_graph

            self.executable = compile_graph(self.graph, eager_compile=True)
        self.program = self.executable.ready() or self.executable
        return self.program


class DeviceProgram:
    """A graph that runs on a device: called as ``Promoted``, with arrays there or numbers.

    Complex numbers have no kernels: a graph with some runs on the host, between two copies.
    """

    __slots__ = ("device", "executable", "graph", "hosted", "kinds")

    def __init__(self, graph: Graph, place: device) -> None:
        self.graph, self.device = graph, place
        self.kinds = [x.dtype.numpy for x in graph.inputs]
        self.hosted = Promoted(graph) if _is_complex(graph) else None
        self.executable: Any = None

    def __call__(self, *arrays: Any) -> Any:
        return self.run(arrays)[0]

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        if self.hosted is not None:
            pairs = zip(arrays, self.kinds, strict=True)
            given = [to_host(x) if on_device(x) else np.asarray(x, kind) for x, kind in pairs]
            return [to_device(y, self.device) for y in self.hosted.run(given)]
        if self.executable is None:
            from graphgrad.compile import compile_graph

            self.executable = compile_graph(self.graph, eager_compile=True, device=self.device)
        return self.executable(list(map(self._given, arrays, self.kinds)))

    def _given(self, x: Any, kind: Any) -> Any:
        if on_device(x):
            return x if x.flags.c_contiguous else x.copy()
        x = np.asarray(x, kind)
        return to_device(x, self.device) if x.ndim else x


def _is_complex(graph: Graph) -> bool:
    return any(x.dtype.is_complex for x in graph if not x.op.results)


def program_of(graph: Graph, place: device) -> Promoted | DeviceProgram:
    """What runs ``graph`` on ``place`` again and again."""
    return Promoted(graph) if place is CPU else DeviceProgram(graph, place)


class Steps:
    """The interpreter with its dispatch done once: (rule, operand slots, attributes) per node."""

    __slots__ = ("outputs", "rows")

    def __init__(self, graph: Graph) -> None:
        slot = {x: i for i, x in enumerate(graph.inputs)}
        self.rows: list[tuple[Any, tuple[int, ...], dict[str, Any], bool]] = []
        for x in graph.nodes:
            if x not in slot:
                operands = tuple(slot[i] for i in x.inputs)
                slot[x] = len(slot)
                self.rows.append(
                    (interpret.rule_of(x.op.name, x.inputs), operands, x.attrs, x.op.results)
                )
        self.outputs = [slot[y] for y in graph.outputs]

    def __call__(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        values = list(arrays)
        for rule, operands, attrs, several in self.rows:
            result = rule(*[values[i] for i in operands], **attrs)
            if result.__class__ is not np.ndarray and not several:
                result = np.asarray(result)
            values.append(result)
        taken = {id(x) for x in arrays}
        return [_own(values[i], taken) for i in self.outputs]


def _own(y: np.ndarray, taken: set[int]) -> np.ndarray:
    """``y``, copied if an input, another output or a wider array holds its memory too."""
    if y.base is not None or id(y) in taken or not y.flags.c_contiguous:
        y = np.array(y, order="C")
    taken.add(id(y))
    return y
