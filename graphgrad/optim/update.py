"""One step over the parameters of a group, as one program.

Eagerly the program is found by the rule and the types of what it updates, and writes into their
memory; inside a trace the same rule is traced into the graph that is being built. Parameters on a
device are updated there; counters of steps stay on the host, which computes their new values,
unless it is the device that knows whether a step is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphgrad import ir
from graphgrad.compile import Executable, compile_graph
from graphgrad.device import CPU
from graphgrad.dtypes import DType
from graphgrad.errors import user_frame
from graphgrad.tensor import FUNCTIONS, Tensor
from graphgrad.tensor.inplace import assign
from graphgrad.tensor.place import common_device, on_device
from graphgrad.tensor.programs import Steps
from graphgrad.tensor.state import state
from graphgrad.trace import suspended


class _Step(NamedTuple):
    """What a step runs: its program, and what the host computes beside a device."""

    program: Executable
    # The numbers it reads: (name, type of its parameters).
    numbers: list[tuple[str, DType]]
    # New values of what is on the host, from the same arrays; which of them it replaces.
    counters: Steps | None
    counted: list[int]


_programs: dict[Any, _Step] = {}


class _Numbers(dict[str, Any]):
    """Run-time numbers of one element type, made when a rule first asks for them."""

    def __init__(self, make: Callable[[str, DType], Any], dtype: DType) -> None:
        super().__init__()
        self.make, self.dtype = make, dtype

    def __missing__(self, name: str) -> Any:
        self[name] = self.make(name, self.dtype)
        return self[name]


class Lockstep:
    """That the parameters which share a number in a trace took equally many steps.

    One number (a bias correction) serves them all. Where another trace stepped some of them only,
    or a step was taken as written, they are counted again.
    """

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.counters: list[list[Tensor]] = []

    def holds(self) -> bool:
        """Compare the counters; if they agree, this trace is the one that counts from now on."""
        counts = [{t._array.item() for t in together} for together in self.counters]
        if any(len(found) > 1 for found in counts):
            return False
        self.optimizer.counted_by = self
        return True

    @staticmethod
    def of(optimizer: Any, trace: Any) -> Lockstep:
        """The one of a trace, which depends on it."""
        found = trace.conditions.get(optimizer)
        if found is None:
            lockstep = Lockstep(optimizer)
            text = "{0}.counted_by is {1} or {1}.holds()"
            about = "how many steps each parameter took"
            found = trace.conditions[optimizer] = about, text, optimizer, lockstep
        return found[-1]


class Update:
    """What one group updates: the rule, and a row (parameter, gradient, *state) a parameter."""

    def __init__(self, optimizer: Any, group: dict[str, Any], parameters: Sequence[Tensor]) -> None:
        self.optimizer, self.group = optimizer, group
        self.parameters = parameters
        self.names = optimizer.names_of(group, parameters)
        self.rule = optimizer.rule(group)

    def run(self) -> None:
        """Make missing state, then update together the parameters that took equally many steps."""
        if not self.optimizer.elementwise and any(p.dtype.is_complex for p in self.parameters):
            name = type(self.optimizer).__name__
            raise RuntimeError(f"{name} does not support complex parameters")
        self._create_state()
        for (steps, _), parameters in self._alike().items():
            if state.trace is None:
                self.optimizer.counted_by = None
                self._run(parameters, steps)
            else:
                self._trace(parameters)

    # ----------------------------------------------------------------------------------- state

    def _create_state(self) -> None:
        known = self.optimizer.state
        fresh = [p for p, names in self.names.items() if names and len(known[p]) < len(names)]
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
            for name in self.names[p]:
                if name not in kept:
                    fresh_state = self.optimizer.start(self.group, parts(p), name)
                    kept[name] = _whole(fresh_state, p)

    def _alike(self) -> dict[tuple[float, Any], list[Tensor]]:
        """The parameters by the steps they took, and by device."""
        counted = self._is_counted()
        groups: dict[tuple[float, Any], list[Tensor]] = {}
        for p in self.parameters:
            place = CPU if p._array.__class__ is np.ndarray else p.device
            groups.setdefault((self._steps(p) if counted else 0.0, place), []).append(p)
        return groups

    def _is_counted(self) -> bool:
        return "step" in self.names[self.parameters[0]]

    def _steps(self, p: Tensor) -> float:
        return float(self.optimizer.state[p]["step"]._array.item())

    def _row(self, p: Tensor) -> list[Tensor]:
        names = self.names[p]
        kept = self.optimizer.state[p] if names else {}
        return [parts(x) for x in (p, p.grad, *(kept[name] for name in names))]

    # ----------------------------------------------------------------------------------- eagerly

    def _run(self, parameters: Sequence[Tensor], steps: float) -> None:
        rows = [self._row(p) for p in parameters]
        flat = [x for row in rows for x in row]
        arrays = [x._array for x in flat]
        key = (self.rule, len(rows), *[(a.shape, a.dtype) for a in arrays])
        found = _programs.get(key)
        if found is None:
            found = _programs[key] = _build(self.rule, rows)
        numbers, group = self.optimizer.numbers, self.group
        names = found.numbers
        values = [np.array(numbers[name](group, steps), dtype.numpy) for name, dtype in names]
        packed = [a if a.flags.c_contiguous else a.copy() for a in arrays]
        _call(found.program, [*values, *packed], [n for n, _ in names], rows)
        for a, b in zip(arrays, packed, strict=True):
            if a is not b:
                a.copy_(b) if on_device(a) else np.copyto(a, b)
        if found.counters is not None:
            new = found.counters([*values, *packed])
            for i, value in zip(found.counted, new, strict=True):
                np.copyto(arrays[i], value)
        mark_written([x for row in rows for i, x in enumerate(row) if i != 1])

    # ----------------------------------------------------------------------------------- traced

    def _trace(self, parameters: Sequence[Tensor]) -> None:
        trace = state.trace
        if state.skip is not None and self._is_counted():
            self._count_where_it_is_known(parameters)

        if self._is_counted():
            together = [self.optimizer.state[p]["step"] for p in parameters]
            Lockstep.of(self.optimizer, trace).counters.append(together)

        def scalar(name: str, dtype: DType) -> Tensor:
            return trace.scalar(self._reader(name, parameters[0]), dtype)

        rows = [self._row(p) for p in parameters]
        by_type = {row[0].dtype: _Numbers(scalar, row[0].dtype) for row in rows}
        for row in rows:
            new = self.rule(*row, by_type[row[0].dtype])
            for old, value in zip((row[0], *row[2:]), new, strict=True):
                skip = state.skip
                assign(old, value if skip is None else FUNCTIONS["where"](skip, old, value))

    def _count_where_it_is_known(self, parameters: Sequence[Tensor]) -> None:
        """Counters of steps that may be skipped go to where that is computed.

        Each later step then waits for the device, to read how many there were.
        """
        with suspended():
            for p in parameters:
                kept = self.optimizer.state[p]
                kept["step"] = kept["step"].to(state.skip.device)

    def _reader(self, name: str, p: Tensor) -> Callable[[], float]:
        """Reads one number at each call of the compiled step; ``parts`` is for who reads it so."""
        number, group, steps = self.optimizer.numbers[name], self.group, None
        optimizer = self.optimizer

        def read() -> float:
            return number(group, 0.0 if steps is None else float(steps._array.item()))

        if self._is_counted():
            steps = self.optimizer.state[p]["step"]
        read.name, read.parts = name, (number, optimizer, group, steps)  # type: ignore[attr-defined]
        return read


def parts(x: Tensor) -> Tensor:
    """A complex tensor as a view of its parts, which are updated like any two numbers."""
    return FUNCTIONS["view_as_real"](x) if x.dtype.is_complex else x


def _whole(x: Tensor, p: Tensor) -> Tensor:
    """State made for the parts of ``p``, as complex as ``p`` is."""
    paired = p.dtype.is_complex and tuple(x.shape) == (*p.shape, 2)
    return FUNCTIONS["view_as_complex"](x) if paired else x


def _build(rule: Callable[..., Any], rows: list[list[Tensor]]) -> _Step:
    """The program of a step: every output replaces the input it updates."""
    arrays = [x._array for row in rows for x in row]
    place = common_device("optimizer.step", arrays)
    names: list[tuple[str, DType]] = []
    scalars: list[ir.Node] = []

    def scalar(name: str, dtype: DType) -> ir.Node:
        names.append((name, dtype))
        scalars.append(ir.input((), dtype, name, "scalar"))
        return scalars[-1]

    by_type = {row[0].dtype: _Numbers(scalar, row[0].dtype) for row in rows}
    inputs: list[ir.Node] = []
    outputs: list[ir.Node] = []
    replaced: list[int] = []
    for row in rows:
        nodes = [ir.like(x) for x in row]
        outputs += rule(*nodes, by_type[row[0].dtype])
        replaced += [len(inputs) + i for i in (0, *range(2, len(row)))]
        inputs += nodes
    hosted = [i for i, r in enumerate(replaced) if place is not CPU and not on_device(arrays[r])]
    there = [i for i in range(len(replaced)) if i not in hosted]
    aliases = {k: len(scalars) + replaced[i] for k, i in enumerate(there)}
    every = [*scalars, *inputs]
    graph = ir.Graph(every, [outputs[i] for i in there], "step")
    counters = Steps(ir.Graph(every, [outputs[i] for i in hosted], "counters")) if hosted else None
    program = compile_graph(graph, aliases, device=place)
    return _Step(program, names, counters, [replaced[i] for i in hosted])


def _call(
    program: Executable, arrays: list[Any], numbers: Sequence[str], rows: list[list[Tensor]]
) -> None:
    if state.watch is None:
        program(arrays)
        return
    labels = list(numbers)
    for i, row in enumerate(rows):
        kinds = ["parameter {}", "the gradient of parameter {}"]
        kinds += ["the optimizer's state of parameter {}"] * (len(row) - 2)
        labels += [kind.format(i) for kind in kinds]
    state.watch.run(program, program.graph, arrays, labels)


def mark_written(tensors: Iterable[Tensor]) -> None:
    """Count a write of ours, at the user's line, so that backward sees it."""
    frame = user_frame(2)
    where = None if frame is None else (frame.f_code, frame.f_lasti)
    for x in tensors:
        x._storage.version += 1
        x._storage.written = where
