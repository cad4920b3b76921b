"""One trace of a compiled function: where its inputs come from, its program, and its effects.

    entry.changed(leaves) or entry.run(leaves)    # why it does not fit these arguments, or the call

``graphgrad.capture`` makes Entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphgrad.compile import Executable
from graphgrad.device import CPU
from graphgrad.ir import Graph, Node, topological
from graphgrad.tensor.composite import GraphWay, graph_record
from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.moving import moved
from graphgrad.tensor.place import to_device
from graphgrad.tensor.plan import apply
from graphgrad.tensor.programs import Steps
from graphgrad.tensor.state import state
from graphgrad.tree import unflatten

Leaves = Sequence[Any]


@dataclass
class Source:
    """How one program input is found: an argument, a captured tensor, a ``.grad``, a number."""

    kind: str  # "argument" | "tensor" | "grad" | "number" | "float"
    argument: int = -1
    tensor: Tensor | None = None
    number: Callable[[], Any] | None = None
    cell: Any = None
    # The array at the time of the trace, for a captured tensor or a ``.grad``.
    like: Any = None
    # Where the array is copied before the call, if it is not there.
    place: Any = None

    def fetch(self, leaves: Leaves) -> np.ndarray:
        """The array for this call."""
        array = self._found(leaves)
        return array if self.place is None else to_device(array, self.place)

    def _found(self, leaves: Leaves) -> np.ndarray:
        if self.kind == "argument":
            x = leaves[self.argument]
            return x._array if isinstance(x, Tensor) else np.asarray(x)
        if self.kind in ("number", "float"):
            self.cell[()] = leaves[self.argument] if self.number is None else self.number()
            return self.cell
        owner = self.owner(leaves)
        return owner._array if self.kind == "tensor" else owner._grad._array  # type: ignore

    def label(self, name: str, role: str) -> str:
        """How an error calls it."""
        if self.kind == "number":
            return "a number of the optimizer"
        of = "the gradient of " if self.kind == "grad" else ""
        if self.argument >= 0:
            return f"{of}input {self.argument}"
        known = f"{role} '{name}'" if name and not of else ""
        return known or f"{of}a tensor that the function reads"

    def operand(self, leaves: Leaves) -> Tensor:
        """The input as a tensor: the caller's, where its gradient may be wanted."""
        owner = self.owner(leaves) if self.kind in ("tensor", "argument") else None
        if isinstance(owner, Tensor) and self.place is None:
            return owner
        return wrap(self.fetch(leaves))

    def owner(self, leaves: Leaves) -> Any:
        """The tensor that is read, or whose ``.grad`` is."""
        return self.tensor if self.tensor is not None else leaves[self.argument]


@dataclass
class Result:
    """One leaf of what the function returned."""

    kind: str  # "output" | "argument" | "view" | "value"
    number: int = -1
    value: Any = None
    chain: tuple[Any, ...] = ()
    detached: bool = False
    # Whether it is copied to the CPU.
    leaves: bool = False


class HostPart:
    """What a program on a device leaves to the host: numbers there that the function writes.

    An optimizer counts its steps in a CPU tensor; adding one to it is no work for a GPU.
    """

    def __init__(self, writes: Sequence[tuple[Source, Node]], table: dict[Node, Source]) -> None:
        inputs = [x for x in topological([y for _, y in writes]) if x.op.name == "input"]
        self.sources = [table[x] for x in inputs]
        self.targets = [source for source, _ in writes]
        self.graph = Graph(inputs, [y for _, y in writes])
        self._steps = Steps(self.graph)

    def __call__(self, leaves: Leaves) -> None:
        """Compute, then write."""
        values = self._steps([s.fetch(leaves) for s in self.sources])
        for target, y in zip(self.targets, values, strict=True):
            target.fetch(leaves)[...] = y


@dataclass
class Entry:
    """A trace, ready to be replayed."""

    executable: Executable
    graph: Graph
    sources: list[Source]
    guard: Any
    # What each argument is when none is a container, else None: (Tensor, array, needs gradient, is
    # a leaf), (ndarray, array), (float,) or (type, value).
    flat: list[tuple[Any, ...]] | None
    # Captured tensors with the array, and whether a gradient was wanted, at the time of the trace.
    captured: list[list[Any]]
    # Whether ``.grad`` of these was None when the trace read it.
    grads_read: list[tuple[Any, bool]]
    mutated: list[Source]
    grads: list[tuple[Source, int | None]]
    results: list[Result]
    result_shape: Any
    way: GraphWay | None = None
    # The record of results that cannot be differentiated: used up, or overwritten.
    broken: Any = None
    grad_mode: bool = True
    default: Any = None
    # The containers around the arguments, and each leaf: an input of its type, or the value itself.
    call: tuple[Any, list[Any]] = (None, [])
    # Whether it runs where the thread's default device is, because it is given no tensor.
    follows_default: bool = False
    # Beside a program on a device.
    host: HostPart | None = None
    calls: int = 0
    # The fast path of its calls, by tier (see ``graphgrad.replay``).
    replays: dict[str, Any] = field(default_factory=dict)
    # Addresses that change at too many calls to be worth watching (see ``graphgrad.replay``).
    restless: set[int] = field(default_factory=set)
    changes: Counter[int] = field(default_factory=Counter)

    # --------------------------------------------------------------------------------- does it fit?

    def changed(self, leaves: Leaves) -> str | None:
        """None while everything the trace took for granted holds, else what does not."""
        for row in self.captured:
            tensor, array, needs = row
            now = tensor._array
            if now is not array:
                if now.shape != array.shape or now.dtype != array.dtype:
                    return "the shape, dtype or device of a captured tensor"
                row[1] = now
            if tensor._needs is not needs:
                return "requires_grad of a captured tensor"
        for source, was_none in self.grads_read:
            if (source.owner(leaves)._grad is None) is not was_none:
                return "whether a .grad is None"
        return self.guard()

    def arguments_captured(self, leaves: Leaves) -> set[int]:
        """Arguments whose memory the function also reached another way."""
        storages = {id(row[0]._storage) for row in self.captured}
        pairs = enumerate(leaves)
        return {i for i, x in pairs if isinstance(x, Tensor) and id(x._storage) in storages}

    # ------------------------------------------------------------------------------------- one call

    def run(self, leaves: Leaves) -> Any:
        """One call of the program, and its effects."""
        self.calls += 1
        arrays = [s.fetch(leaves) for s in self.sources]
        strided = [(i, x) for i, x in enumerate(arrays) if not x.flags.c_contiguous]
        for i, x in strided:
            arrays[i] = x.copy()
        outputs = self._outputs(leaves, arrays)
        self._write_back(leaves, arrays, strided)
        if self.host is not None:
            self.host(leaves)
        for source, number in self.grads:
            source.owner(leaves)._grad = None if number is None else wrap(outputs[number])
        return self.returned(leaves, outputs)

    def replaced(self) -> list[Source]:
        """Whose ``.grad`` is replaced unread: let go before the call, its memory takes the new one.

        As ``zero_grad`` does when the code runs as written, also where the call then fails.
        """
        read = {(id(s.tensor), s.argument) for s, _ in self.grads_read}
        return [s for s, _ in self.grads if (id(s.tensor), s.argument) not in read]

    def _outputs(self, leaves: Leaves, arrays: list[Any]) -> list[Any]:
        if state.watch is None:
            for source in self.replaced():
                source.owner(leaves)._grad = None
            return (self.executable.ready() or self.executable)(arrays)
        # An error puts everything back, so no ``.grad`` is let go before. Beyond the results and
        # effects lie values that backward reads, which nobody sees.
        seen = None if self.way is None else self.way.outputs
        return state.watch.run(self.executable, self.graph, arrays, self._labels(), seen)

    def _labels(self) -> list[str]:
        """What the program's inputs are to the user."""
        pairs = zip(self.sources, self.graph.inputs, strict=True)
        return [s.label(x.attrs["name"], x.attrs["role"]) for s, x in pairs]

    def returned(self, leaves: Leaves, outputs: list[Any]) -> Any:
        """What the function returns, from the program's outputs."""
        tensors = self._tensors(leaves, outputs)
        values = [self._value(r, leaves, tensors) for r in self.results]
        for i, result in enumerate(self.results):
            if result.leaves:
                values[i] = moved(values[i], CPU)
        return unflatten(self.result_shape, values)

    def _write_back(self, leaves: Leaves, arrays: list[Any], strided: list[Any]) -> None:
        if strided:
            written = {id(s) for s in self.mutated}
            for i, x in strided:
                if id(self.sources[i]) in written:
                    x[...] = arrays[i]
        for source in self.mutated:
            owner = source.owner(leaves)
            (owner._grad if source.kind == "grad" else owner)._storage.version += 1

    def _tensors(self, leaves: Leaves, outputs: list[Any]) -> list[Any]:
        """The program's results as tensors, with a record where gradients flow."""
        way = self.way
        if way is None:
            return outputs
        tensors = [wrap(y) for y in outputs[: way.outputs]]
        operands = [s.operand(leaves) for s in self.sources]
        graph_record(way, operands, tensors, outputs)
        return tensors

    def _value(self, result: Result, leaves: Leaves, outputs: list[Any]) -> Any:
        if result.kind == "output":
            y = outputs[result.number]
            if isinstance(y, Tensor):
                return y
            y = outputs[result.number] = wrap(y)
            if result.value:
                y._needs, y._edge = True, (self.broken, 0)
            return y
        if result.kind == "value":
            return result.value
        base = leaves[result.number] if result.value is None else result.value
        base = base.detach() if result.detached else base
        for link in result.chain:
            base = apply(link.name, base, **link.attrs)
        return base
