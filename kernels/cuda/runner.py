"""Run a Program on a GPU: row by row the first time, then as one CUDA graph.

    runner = DeviceRunner(program, kernels, device, failed)
    runner(*inputs, *outputs)       # DeviceArrays; run-time numbers as NumPy's, floats or ints

A graph holds addresses. One is kept for each of the last few sets of them; a buffer that is
somewhere else at nearly every call gets a place of its own, which is copied to or from. The arena
is lent by the device's stream, as all programs' are, and so stays where it is. Launches, their
order and their arguments are the same either way, so results are the same bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad.device import device as Device

from ..executor import KernelError
from ..program import Program
from .driver import driver
from .flatten import ERROR_BYTES, HostStep, Launch, Question, Walk
from .memory import DeviceArray
from .staging import Numbers

ALIGNMENT = 16  # of the widest load; memory of other libraries may start anywhere
MOST_GRAPHS = 4
MOST_PLACES = 6  # a buffer seen in more places than this is copied to one of its own


class Arenas:
    """Working memory of programs on one stream: lent for a call, the same block every time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, int], list[Any]] = {}

    def borrow(self, nbytes: int, index: int) -> Any:
        """A block of at least ``nbytes``."""
        idle = self._idle.setdefault(self._key(index), [])
        block = idle.pop() if idle else None
        if block is None or block.size < nbytes:
            del block  # before the larger one is made
            block = driver().allocate(max(nbytes, 1), index)
        return block

    def give_back(self, block: Any, index: int) -> None:
        """End a loan; later work of the stream comes after what uses the block now."""
        self._idle.setdefault(self._key(index), []).append(block)

    def clear(self) -> None:
        """Let go of all that nobody uses."""
        self._idle.clear()

    @staticmethod
    def _key(index: int) -> tuple[int, int]:
        return index, driver().current_stream(index).handle


arenas = Arenas()


class Buffers:
    """Where a program's inputs and outputs lie, and which have a place of their own."""

    def __init__(self, count: int, reads: int, written: frozenset[int], index: int) -> None:
        """The first ``reads`` of ``count`` are inputs; ``written`` inputs are results, too."""
        self.reads, self.written, self.index = reads, written, index
        self._seen: list[set[int]] = [set() for _ in range(count)]
        self._own: dict[int, Any] = {}

    def place(self, buffers: Sequence[Any], numbers: Sequence[int]) -> list[int]:
        """The address used for each buffer: its own, or one that it is copied to."""
        addresses = []
        staged = iter(numbers)
        for i, x in enumerate(buffers):
            if x.__class__ is not DeviceArray:
                addresses.append(next(staged))
            else:
                addresses.append(self._address(i, x))
        return addresses

    def _address(self, i: int, x: DeviceArray) -> int:
        own = self._own.get(i)
        if own is None:
            seen = self._seen[i]
            seen.add(x.pointer)
            if len(seen) <= MOST_PLACES and x.pointer % ALIGNMENT == 0:
                return x.pointer
            own = self._own[i] = driver().allocate(max(x.nbytes, 1), self.index)
            seen.clear()
        if i < self.reads and x.size:
            driver().copy(own.pointer, x.pointer, x.nbytes, self.index)
        return own.pointer

    def collect(self, buffers: Sequence[Any]) -> None:
        """Copy results from places of their own to where they belong."""
        for i, own in self._own.items():
            x = buffers[i]
            if (i >= self.reads or i in self.written) and x.size:
                driver().copy(x.pointer, own.pointer, x.nbytes, self.index)


class DeviceRunner:
    """Runs one Program on one device."""

    def __init__(
        self,
        program: Program,
        kernels: Mapping[int, Any],
        device: Device,
        written: frozenset[int],
        failed: Callable[..., None] | None = None,
    ) -> None:
        """``written``: inputs that results are written into; ``failed`` as for ``Runner``."""
        self.program, self.walk = program, Walk(program, kernels)
        self.index: int = device.index or 0
        self._failed = failed
        self._constants: list[Any] = []
        self._addresses: list[int] | None = None
        count = program.inputs + program.outputs
        self._buffers = Buffers(count, program.inputs, written, self.index)
        self._numbers = Numbers(self.index)
        self._graphs: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._errors: Any = None
        self._last: Any = None
        self._calls = 0
        self._lock = threading.RLock()

    def __call__(self, *buffers: Any) -> None:
        """Run over the inputs and then the outputs.

        Raises KernelError where a kernel reported one, once the call is done: on a GPU nothing
        stops in between, so what the program writes in place is written.
        """
        with self._lock:
            self._call(buffers)

    def _call(self, buffers: Sequence[Any]) -> None:
        gpu, index = driver(), self.index
        self._follow(gpu.current_stream(index))
        arena = arenas.borrow(self.program.arena_bytes, index)
        try:
            staged = self._numbers.stage([x for x in buffers if x.__class__ is not DeviceArray])
            places = self._buffers.place(buffers, staged)
            bases = [arena.pointer, *places, *self._fixed()]
            if self._calls and self.walk.is_straight:
                self._graph(tuple(bases)).launch(gpu.current_stream(index))
            else:
                self._run(bases)
            self._calls += 1
            self._buffers.collect(buffers)
            if self.walk.failing:
                self._look_for_errors(buffers)
        finally:
            arenas.give_back(arena, index)

    def launches(self, bases: Sequence[int]) -> int:
        """How many launches a straight program's run has."""
        return sum(isinstance(step, Launch) for step in self.walk.steps(bases))

    # ---- what stays

    def _fixed(self) -> list[int]:
        """Addresses of constants and error words, put on the device at the first call."""
        if self._addresses is None:
            self._constants = [self._upload(x) for x in self.program.constants]
            if self.walk.failing:
                self._errors = self._upload(np.zeros(2 * len(self.walk.failing), np.int64))
            errors = 0 if self._errors is None else self._errors.pointer
            self._addresses = [*(block.pointer for block in self._constants), errors]
        return self._addresses

    def _upload(self, array: np.ndarray) -> Any:
        array = np.ascontiguousarray(array)
        block = driver().allocate(max(array.nbytes, 1), self.index)
        if array.nbytes:
            driver().copy_in(block.pointer, array, self.index)
        return block

    # ---- one call

    def _follow(self, stream: Any) -> None:
        """What is kept from call to call is used in order, on whichever stream that was."""
        if self._last is not stream:
            if self._last is not None:
                stream.wait(self._last)
            self._last = stream

    def _graph(self, bases: tuple[int, ...]) -> Any:
        """The graph for these addresses: kept, or made of the one that was used longest ago."""
        graph = self._graphs.get(bases)
        if graph is not None:
            self._graphs.move_to_end(bases)
            return graph
        gpu = driver()

        def record(queue: Any) -> None:
            self._put(self.walk.steps(bases), queue)

        if len(self._graphs) < MOST_GRAPHS:
            graph = gpu.capture(record, self.index)
        else:
            _, graph = self._graphs.popitem(last=False)
            gpu.recapture(graph, record, self.index)
        self._graphs[bases] = graph
        return graph

    def _run(self, bases: Sequence[int]) -> None:
        """Every step by itself, with the host's part of it."""
        gpu = driver()
        self._put(self.walk.steps(bases), gpu.queue(self.index))

    def _put(self, steps: Any, queue: Any) -> None:
        gpu = driver()
        for step in steps:
            if isinstance(step, Launch):
                step.kernel.put(gpu, queue, self.index, step.grid, step.arguments)
            elif isinstance(step, Question):
                cell = np.zeros(1, np.uint8)
                gpu.copy_out(cell, step.address, self.index)
                step.answer = int(cell[0])
            else:
                self._serve(step)

    def _serve(self, step: HostStep) -> None:
        """A Python function over copies; what it writes is copied back."""
        gpu, call = driver(), step.call
        arrays = [np.empty(shape, dtype) for shape, dtype in call.operands]
        pairs = list(zip(arrays, step.addresses, strict=True))
        for array, address in pairs[: call.reads]:
            if array.nbytes:
                gpu.copy_out(array, address, self.index)
        call.function(*arrays)
        for array, address in pairs[call.reads :]:
            if array.nbytes:
                gpu.copy_in(address, array, self.index)

    # ---- errors

    def _look_for_errors(self, buffers: Sequence[Any]) -> None:
        """Wait for the end, and raise what the first failing row reported."""
        gpu = driver()
        words = np.empty((len(self.walk.failing), ERROR_BYTES // 8), np.int64)
        gpu.copy_out(words, self._errors.pointer, self.index)
        if not words.any():
            return
        gpu.copy_in(self._errors.pointer, np.zeros_like(words), self.index)
        row, code = next((r, words[n, 0]) for r, n in self.walk.failing.items() if words[n].any())
        error = KernelError(int(code), row, self.program.names[row])
        if self._failed is not None:
            self._failed(error, [x.host() if x.__class__ is DeviceArray else x for x in buffers])
        raise error
