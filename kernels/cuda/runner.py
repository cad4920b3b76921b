"""Run a Program on a GPU: launch by launch the first time, then as CUDA graphs.

    runner = DeviceRunner(program, kernels, device, failed)
    runner(*inputs, *outputs)       # DeviceArrays; run-time numbers as NumPy's, floats or ints

A graph holds addresses. One is kept for each of the last few sets of them; a buffer that is
somewhere else at nearly every call gets a place of its own, which is copied to or from. The arena
is lent by the device's stream, as all programs' are, and so stays where it is. Launches, their
order and their arguments are the same either way, so results are the same bits.

A graph is a whole run where the host has no part in it. Behind the last row that can fail, the host
looks at the error words: it waits for the rows up to there, not for those that then write state.
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
from .flatten import ERROR_BYTES, START, Check, HostStep, Question, State, Walk
from .memory import DeviceArray
from .staging import Numbers
from .tape import Tape

ALIGNMENT = 16  # of the widest load; memory of other libraries may start anywhere
MOST_GRAPHS = 4  # sets of addresses
MOST_PLACES = 6  # a buffer seen in more places than this is copied to one of its own


class Arenas:
    """Working memory of programs on one stream: lent for a call, the same block every time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, int], list[Any]] = {}

    def borrow(self, nbytes: int, index: int, stream: Any) -> Any:
        """A block of at least ``nbytes``."""
        idle = self._idle.setdefault((index, stream.handle), [])
        block = idle.pop() if idle else None
        if block is None or block.size < nbytes:
            del block  # before the larger one is made
            block = driver().allocate(max(nbytes, 1), index)
        return block

    def give_back(self, block: Any, index: int, stream: Any) -> None:
        """End a loan; later work of the stream comes after what uses the block now."""
        self._idle.setdefault((index, stream.handle), []).append(block)

    def clear(self) -> None:
        """Let go of all that nobody uses."""
        self._idle.clear()


arenas = Arenas()


class Buffers:
    """Where a program's inputs and outputs lie, and which have a place of their own."""

    def __init__(self, count: int, reads: int, written: frozenset[int], index: int) -> None:
        """The first ``reads`` of ``count`` are inputs; ``written`` inputs are results, too."""
        self.reads, self.written, self.index = reads, written, index
        self._seen: list[set[int]] = [set() for _ in range(count)]
        self.own: dict[int, Any] = {}

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
        own = self.own.get(i)
        if own is None:
            seen = self._seen[i]
            seen.add(x.pointer)
            if len(seen) <= MOST_PLACES and x.pointer % ALIGNMENT == 0:
                return x.pointer
            own = self.own[i] = driver().allocate(max(x.nbytes, 1), self.index)
            seen.clear()
        if i < self.reads and x.size:
            driver().copy(own.pointer, x.pointer, x.nbytes, self.index)
        return own.pointer

    def collect(self, buffers: Sequence[Any]) -> None:
        """Copy results from places of their own to where they belong."""
        for i, own in self.own.items():
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
        self._tapes: OrderedDict[tuple[int, ...], Tape] = OrderedDict()
        # The same by where buffers are, as long as none has a place of its own.
        self._known: dict[tuple[int | None, ...], Tape] = {}
        self._seen: set[State] = set()
        self._errors: Any = None
        self._clean = b""  # what they are while nothing was reported
        self._last: Any = None
        self._lock = threading.RLock()

    def __call__(self, *buffers: Any) -> None:
        """Run over the inputs and then the outputs.

        Raises KernelError where a kernel reported one, before anything is written in place.
        """
        with self._lock:
            index = self.index
            stream = driver().current_stream(index)
            if stream is not self._last:
                self._follow(stream)
            arena = arenas.borrow(self.program.arena_bytes, index, stream)
            try:
                self._play(self._tape(arena.pointer, buffers), stream, buffers)
                if self._buffers.own:
                    self._buffers.collect(buffers)
            finally:
                arenas.give_back(arena, index, stream)

    # ---- what stays

    def _fixed(self) -> list[int]:
        """Addresses of constants and error words, made at the first call."""
        if self._addresses is None:
            self._constants = [self._upload(x) for x in self.program.constants]
            errors = 0
            if self.walk.failing:
                # Page-locked: kernels write there, and the host reads it without a copy.
                nbytes = ERROR_BYTES * len(self.walk.failing)
                self._errors = driver().pinned(nbytes).view(np.int64).reshape(-1, 2)
                self._errors[...] = 0
                self._clean = self._errors.tobytes()
                errors = self._errors.ctypes.data
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
        if self._last is not None:
            stream.wait(self._last)
        self._last = stream

    def _tape(self, arena: int, buffers: Sequence[Any]) -> Tape:
        """The tape for where everything is, numbers on the device and buffers in their places."""
        where = [x.pointer if x.__class__ is DeviceArray else None for x in buffers]
        where.append(arena)
        if None in where:
            self._numbers.stage([x for x in buffers if x.__class__ is not DeviceArray])
        key = tuple(where)
        tape = self._known.get(key)
        if tape is None:
            places = self._buffers.place(buffers, self._numbers.addresses)
            tape = self._placed((arena, *places, *self._fixed()))
            if not self._buffers.own:
                self._known[key] = tape
        return tape

    def _placed(self, bases: tuple[int, ...]) -> Tape:
        """The tape for these addresses: kept, or made of the one that was used longest ago."""
        tape = self._tapes.get(bases)
        if tape is not None:
            self._tapes.move_to_end(bases)
            return tape
        old = None
        if len(self._tapes) == MOST_GRAPHS:
            _, old = self._tapes.popitem(last=False)
        if old is not None or self._buffers.own:
            self._known.clear()
        tape = self._tapes[bases] = Tape(self.walk, bases, self.index, self._seen, old)
        return tape

    def _play(self, tape: Tape, stream: Any, buffers: Sequence[Any]) -> None:
        """Launch stretch after stretch, with the host's parts between."""
        state: State | None = START
        while state is not None:
            stretch = tape.at(state)
            if stretch.graph is not None:
                stretch.graph.launch(stream)
            state, stop = stretch.after, stretch.stop
            if isinstance(stop, Check):
                stream.synchronize()
                if self._errors.tobytes() != self._clean:
                    self._report(buffers)
            elif isinstance(stop, Question):
                state = stop.then[self._answer(stop)]
            elif stop is not None:
                self._serve(stop)

    def _answer(self, question: Question) -> bool:
        cell = np.zeros(1, np.uint8)
        driver().copy_out(cell, question.address, self.index)
        return bool(cell[0])

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

    def _report(self, buffers: Sequence[Any]) -> None:
        """Raise what the first failing row reported; the next call starts without it."""
        words = self._errors.copy()
        self._errors[...] = 0
        row, code = next((r, words[n, 0]) for r, n in self.walk.failing.items() if words[n].any())
        error = KernelError(int(code), row, self.program.names[row])
        if self._failed is not None:
            self._failed(error, [x.host() if x.__class__ is DeviceArray else x for x in buffers])
        raise error
