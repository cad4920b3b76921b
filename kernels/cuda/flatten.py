"""A Program's rows as launches in a row: loops unrolled, addresses filled in.

    walk = Walk(program, kernels)
    for step in walk.steps(bases): ...     # Launch, or HostStep, or Question

``bases`` are the addresses of [arena, inputs, outputs, constants] and of the error words, of which
every row that can fail has two of its own. A Question is a jump that depends on a byte in the
device's memory: ``answer`` it before going on.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import layout as at
from ..program import HostCall, Program

ERROR_BYTES = 16  # (code, row) of a row that can fail


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel, how many blocks, its arguments for cuda.core, and the row it comes from."""

    kernel: Any
    grid: int
    arguments: tuple[Any, ...]
    row: int


@dataclass(frozen=True, slots=True)
class HostStep:
    """A Python function over copies of device memory at ``addresses``."""

    call: HostCall
    addresses: tuple[int, ...]


@dataclass(slots=True)
class Question:
    """Whether to jump: ``answer`` becomes the byte at ``address``."""

    address: int
    answer: int = 0


Step = Launch | HostStep | Question


def _float(word: int) -> float:
    return struct.unpack("<d", struct.pack("<q", word))[0]


# What cuda.core takes for each kind of parameter, from a word of a program's slots.
ARGUMENTS: dict[str, Callable[[int], Any]] = {
    "ptr": int,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "f32": lambda word: ctypes.c_float(_float(word)),
    "f64": lambda word: ctypes.c_double(_float(word)),
}


class Walk:
    """The rows of one Program, ready to be walked for any addresses."""

    def __init__(self, program: Program, kernels: Mapping[int, Any]) -> None:
        """``kernels`` by the numbers in the rows; each has ``parameters``, kinds of its slots."""
        self.program, self.kernels = program, kernels
        self.rows: list[list[int]] = program.rows.tolist()
        self.patches: list[list[int]] = program.patches.tolist()
        self.error_base = 1 + program.inputs + program.outputs + len(program.constants)
        self.error_slots = {s for s, base, _ in self.patches if base == self.error_base}
        self.failing = self._failing()
        # Whether what runs is the same every time: it can be replayed as one graph.
        self.is_straight = not {row[0] for row in self.rows} & {at.JUMP_IF, at.HOST}

    def _failing(self) -> dict[int, int]:
        """The rows whose kernel gets the error words, numbered."""
        rows = [r for r, row in enumerate(self.rows) if self._slots(row) & self.error_slots]
        return {row: number for number, row in enumerate(rows)}

    def _slots(self, row: list[int]) -> set[int]:
        if row[0] not in (at.CALL, at.GROUP):
            return set()
        tables, width = (row[at.AUX0], row[at.AUX1]) if row[0] == at.GROUP else (1, 0)
        width = width or len(self.kernels[row[at.FN]].parameters)
        return set(range(row[at.FIRST], row[at.FIRST] + tables * width))

    def steps(self, bases: Sequence[int]) -> Iterator[Step]:
        """What a run does, in order, with these addresses."""
        words = self.program.args.tolist()
        for slot, base, offset in self.patches:
            words[slot] = bases[base] + offset
        # Of loops: [first row, row behind the last, trips left, bumps, trips].
        stack: list[list[int]] = []
        pc = 0
        while True:
            while stack and pc == stack[-1][1]:
                pc = self._next_trip(words, stack)
            if pc >= len(self.rows):
                return
            number, row = pc, self.rows[pc]
            opcode = row[0]
            pc += 1
            if opcode in (at.CALL, at.GROUP):
                yield from self._launches(number, row, words)
            elif opcode == at.LOOP:
                if row[at.AUX0] > 0:
                    trips = row[at.AUX0]
                    stack.append([pc, pc + row[at.AUX1], trips, row[at.AUX2], trips])
                else:
                    pc += row[at.AUX1]
            elif opcode == at.JUMP:
                pc += row[at.AUX1] - 1
            elif opcode == at.JUMP_IF:
                question = Question(words[row[at.AUX0]])
                yield question
                if (question.answer != 0) == (row[at.AUX2] != 0):
                    pc += row[at.AUX1] - 1
            else:
                host = self.program.hosts[row[at.AUX0]]
                last = host.first + len(host.operands)
                yield HostStep(host, tuple(words[host.first : last]))

    @staticmethod
    def _next_trip(words: list[int], stack: list[list[int]]) -> int:
        """At the end of a loop's body: move its slots, and say where to go on."""
        loop = stack[-1]
        loop[2] -= 1
        first, behind, left, bumps, trips = loop
        # After the last trip they move back: an outer loop may come by again.
        times = 1 if left else 1 - trips
        for i in range(bumps + 1, bumps + 1 + 2 * words[bumps], 2):
            words[words[i]] += times * words[i + 1]
        if left:
            return first
        stack.pop()
        return behind

    def _launches(self, number: int, row: list[int], words: list[int]) -> Iterator[Launch]:
        kernel = self.kernels[row[at.FN]]
        convert = [ARGUMENTS[kind] for kind in kernel.parameters]
        tables, width, grids = self._tables(row, words, len(convert))
        for t in range(tables):
            first = row[at.FIRST] + t * width
            values = words[first : first + width]
            if number in self.failing:
                shift = ERROR_BYTES * self.failing[number]
                values = [
                    value + shift if first + k in self.error_slots else value
                    for k, value in enumerate(values)
                ]
            if grids[t] > 0:
                arguments = tuple(f(v) for f, v in zip(convert, values, strict=True))
                yield Launch(kernel, grids[t], arguments, number)

    @staticmethod
    def _tables(row: list[int], words: list[int], width: int) -> tuple[int, int, list[int]]:
        if row[0] == at.CALL:
            return 1, width, [row[at.EXTENT]]
        tables = row[at.AUX0]
        return tables, row[at.AUX1], words[row[at.EXTENT] : row[at.EXTENT] + tables]
