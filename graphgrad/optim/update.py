"""One step over the parameters of a group, as one program.

Eagerly the program is found by the rule and the types of what it updates, and writes into their memory;
inside a trace the same rule is traced into the graph that is being built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphgrad import ir, lang
from graphgrad.compile import Executable, compile_graph
from graphgrad.dtypes import float64
from graphgrad.errors import user_frame
from graphgrad.tensor import Tensor
from graphgrad.tensor.inplace import assign
from graphgrad.tensor.state import state
from graphgrad.trace import suspended

_programs: dict[Any, Executable] = {}


class Update:
    """What one group updates: the rule, and a row (parameter, gradient, *state) a parameter."""

    def __init__(self, optimizer: Any, group: dict[str, Any], parameters: Sequence[Tensor]) -> None:
        self.optimizer, self.group = optimizer, group
        self.parameters = parameters
        self.names = optimizer.names(group)
        self.rule = optimizer.rule(group)

    def run(self) -> None:
        """Make missing state, then update the parameters, together if they have taken equally many steps."""
        self._create_state()
        for steps, parameters in self._by_steps().items():
            if state.trace is None:
                self._run(parameters, steps)
            else:
                self._trace(parameters)

    # ----------------------------------------------------------------------------------- state

    def _create_state(self) -> None:
        known = self.optimizer.state
        fresh = [p for p in self.parameters if self.names and len(known[p]) < len(self.names)]
        if not fresh:
            return
        if state.trace is None:
            self._fill(fresh)
        else:
            with suspended():
                self._fill(fresh)

    def _fill(self, fresh: Iterable[Tensor]) -> None:
        for p in fresh:
            kept = self.optimizer.state[p]
            for name in self.names:
                if name not in kept:
                    kept[name] = self.optimizer.start(self.group, p, name)

    def _by_steps(self) -> dict[float, list[Tensor]]:
        if "step" not in self.names:
            return {0.0: list(self.parameters)}
        groups: dict[float, list[Tensor]] = {}
        for p in self.parameters:
            groups.setdefault(self._steps(p), []).append(p)
        return groups

    def _steps(self, p: Tensor) -> float:
        return float(self.optimizer.state[p]["step"]._array)

    def _row(self, p: Tensor) -> list[Tensor]:
        kept = self.optimizer.state[p] if self.names else {}
        return [p, p.grad, *(kept[name] for name in self.names)]

    # ----------------------------------------------------------------------------------- eagerly

    def _run(self, parameters: Sequence[Tensor], steps: float) -> None:
        rows = [self._row(p) for p in parameters]
        numbers = self.optimizer.numbers
        values = [np.float64(number(self.group, steps)) for number in numbers.values()]
        flat = [x for row in rows for x in row]
        arrays = [x._array for x in flat]
        key = (self.rule, len(rows), *[(a.shape, a.dtype) for a in arrays])
        program = _programs.get(key)
        if program is None:
            program = _programs[key] = _build(self.rule, rows, tuple(numbers))
        packed = [a if a.flags.c_contiguous else a.copy() for a in arrays]
        program([*map(np.asarray, values), *packed])
        for a, b in zip(arrays, packed, strict=True):
            if a is not b:
                np.copyto(a, b)
        _mark_written([x for row in rows for i, x in enumerate(row) if i != 1])

    # ----------------------------------------------------------------------------------- traced

    def _trace(self, parameters: Sequence[Tensor]) -> None:
        first, trace = parameters[0], state.trace
        numbers = {
            name: trace.scalar(self._reader(number, first), float64)
            for name, number in self.optimizer.numbers.items()
        }
        for p in parameters:
            row = self._row(p)
            new = _updated(self.rule, row, numbers)
            for old, value in zip((row[0], *row[2:]), new, strict=True):
                assign(old, value)

    def _reader(self, number: Callable[..., float], p: Tensor) -> Callable[[], float]:
        """Reads one number at each call of the compiled step."""
        group = self.group
        if "step" not in self.names:
            return lambda: number(group, 0.0)
        steps = self.optimizer.state[p]["step"]
        return lambda: number(group, float(steps._array))


def _updated(
    rule: Callable[..., Any], row: Sequence[Any], numbers: dict[str, Any]
) -> Sequence[Any]:
    """The new parameter and state, in the graph language; numbers take the parameter's type."""
    p = row[0]
    return rule(*row, {name: lang.cast(x, p.dtype) for name, x in numbers.items()})


def _build(
    rule: Callable[..., Any], rows: list[list[Tensor]], names: tuple[str, ...]
) -> Executable:
    """The program of a step: every output replaces the input it updates."""
    scalars = {name: ir.input((), float64, name, "scalar") for name in names}
    inputs, outputs, aliases = list(scalars.values()), [], {}
    for row in rows:
        nodes = [ir.like(x) for x in row]
        new = _updated(rule, nodes, scalars)
        for i, y in zip((0, *range(2, len(row))), new, strict=True):
            aliases[len(outputs)] = len(inputs) + i
            outputs.append(y)
        inputs += nodes
    return compile_graph(ir.Graph(inputs, outputs, "step"), aliases)


def _mark_written(tensors: Iterable[Tensor]) -> None:
    frame = user_frame(2)
    where = None if frame is None else (frame.f_code, frame.f_lasti)
    for x in tensors:
        x._storage.version += 1
        x._storage.written = where
