"""A Program's rows as stretches of launches: loops unrolled, addresses filled in.

    walk = Walk(program, kernels)
    launches, stop, state = walk.cursor(bases).stretch()     # and on from there:
    walk.cursor(bases, state).stretch()
    for launch in walk.steps(bases): ...                     # of a program that never stops

``bases`` are the addresses of [arena, inputs, outputs, constants] and of the error words, of which
every row that can fail has two of its own. A stretch ends where the host has a part: a HostStep, a
Question (a jump that depends on a byte in the device's memory), or the Check of the error words.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import layout as at
from ..program import HostCall, Program
from .grouped import words_of

ERROR_BYTES = 16  # (code, row) of a row that can fail


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel, how many blocks, its arguments for cuda.core, and the row it comes from.

    Before the arguments comes the address of ``table``, words in the device's memory, if there are.
    """

    kernel: Any
    grid: int
    arguments: tuple[Any, ...]
    row: int
    table: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HostStep:
    """A Python function over copies of device memory at ``addresses``."""

    call: HostCall
    addresses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """Whether to jump: the byte at ``address``; after it, the rows in ``then`` by what it says."""

    address: int
    then: tuple[State, State]


@dataclass(frozen=True, slots=True)
class Check:
    """The error words, behind all rows that can fail: what outlives the call is not yet written."""


Stop = HostStep | Question | Check
# Where a run is: the next row, whether errors were looked for, and the loops it is in.
State = tuple[int, bool, tuple[tuple[int, ...], ...]]
START: State = (0, False, ())


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
        self.check_at = self._behind(max(self.failing)) if self.failing else -1
        # Whether what runs is the same every time, without a part of the host's.
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

    def _behind(self, row: int) -> int:
        """The first row that every run comes by after it has been at ``row`` for the last time."""
        behind, before = row + 1, row
        while before != behind:
            before = behind
            for number, (opcode, *_, aux1, _) in enumerate(self.rows):
                if opcode not in (at.LOOP, at.JUMP, at.JUMP_IF):
                    continue
                end = number + 1 + aux1 if opcode == at.LOOP else number + aux1
                if number < behind < end:  # inside of a loop, or of what a jump leaves out
                    behind = end
                elif end < behind <= number:  # a jump leads back to before it
                    behind = number + 1
        return behind

    def cursor(self, bases: Sequence[int], state: State = START) -> Cursor:
        """A run with these addresses, at some place of it."""
        words = self.program.args.tolist()
        for slot, base, offset in self.patches:
            words[slot] = bases[base] + offset
        return Cursor(self, words, state)

    def steps(self, bases: Sequence[int]) -> Iterator[Launch]:
        """All launches of a straight program, in order."""
        state: State | None = START
        while state is not None:
            launches, _, state = self.cursor(bases, state).stretch()
            yield from launches


class Cursor:
    """A run at some place: its slots, the loops it is in, the next row."""

    def __init__(self, walk: Walk, words: list[int], state: State) -> None:
        self.walk, self.words = walk, words
        self.row, self.checked, loops = state
        # Of loops: [first row, row behind the last, trips left, bumps, trips].
        self.stack = [list(loop) for loop in loops]
        for loop in self.stack:
            self._move(loop, loop[4] - loop[2])

    @property
    def state(self) -> State:
        """From where a later Cursor goes on."""
        return self.row, self.checked, tuple(map(tuple, self.stack))

    def stretch(self) -> tuple[list[Launch], Stop | None, State | None]:
        """Launches up to the next part of the host's, that part, and where it goes on after it;
        (launches, None, None) at the end."""
        walk, launches = self.walk, list[Launch]()
        while True:
            while self.stack and self.row == self.stack[-1][1]:
                self._next_trip()
            if self.row == walk.check_at and not self.checked:
                self.checked = True
                return launches, Check(), self.state
            if self.row >= len(walk.rows):
                return launches, None, None
            number, row = self.row, walk.rows[self.row]
            self.row += 1
            if row[0] in (at.CALL, at.GROUP):
                launches += self._launches(number, row)
            elif row[0] == at.LOOP:
                self._enter(row)
            elif row[0] == at.JUMP:
                self.row += row[at.AUX1] - 1
            elif row[0] == at.JUMP_IF:
                return launches, self._question(row), self.state
            else:
                host = walk.program.hosts[row[at.AUX0]]
                last = host.first + len(host.operands)
                step = HostStep(host, tuple(self.words[host.first : last]))
                return launches, step, self.state

    def _question(self, row: list[int]) -> Question:
        _, *rest = self.state
        stay, jump = (self.row, *rest), (self.row + row[at.AUX1] - 1, *rest)
        then = (stay, jump) if row[at.AUX2] else (jump, stay)
        return Question(self.words[row[at.AUX0]], then)

    def _enter(self, row: list[int]) -> None:
        trips, rows = row[at.AUX0], row[at.AUX1]
        if trips > 0:
            self.stack.append([self.row, self.row + rows, trips, row[at.AUX2], trips])
        else:
            self.row += rows

    def _next_trip(self) -> None:
        """At the end of a loop's body: move its slots, and go on."""
        loop = self.stack[-1]
        loop[2] -= 1
        first, behind, left, _, trips = loop
        # After the last trip they move back: an outer loop may come by again.
        self._move(loop, 1 if left else 1 - trips)
        self.row = first if left else behind
        if not left:
            self.stack.pop()

    def _move(self, loop: list[int], times: int) -> None:
        words, bumps = self.words, loop[3]
        for i in range(bumps + 1, bumps + 1 + 2 * words[bumps], 2):
            words[words[i]] += times * words[i + 1]

    def _launches(self, number: int, row: list[int]) -> Iterator[Launch]:
        walk, words = self.walk, self.words
        kernel = walk.kernels[row[at.FN]]
        convert = [ARGUMENTS[kind] for kind in kernel.parameters]
        tables, width, grids = self._tables(row, words, len(convert))
        if row[0] == at.GROUP and kernel.grouped:
            yield from self._grouped(number, row, grids)
            return
        for t in range(tables):
            first = row[at.FIRST] + t * width
            values = words[first : first + width]
            if number in walk.failing:
                shift = ERROR_BYTES * walk.failing[number]
                values = [
                    value + shift if first + k in walk.error_slots else value
                    for k, value in enumerate(values)
                ]
            if grids[t] > 0:
                arguments = tuple(f(v) for f, v in zip(convert, values, strict=True))
                yield Launch(kernel, grids[t], arguments, number)

    def _grouped(self, number: int, row: list[int], grids: list[int]) -> Iterator[Launch]:
        """All tables with work in one launch."""
        first, width = row[at.FIRST], row[at.AUX1]
        busy = [t for t, blocks in enumerate(grids) if blocks > 0]
        if busy:
            tables = [self.words[first + t * width : first + (t + 1) * width] for t in busy]
            blocks = [grids[t] for t in busy]
            count = ctypes.c_int32(len(busy))
            kernel, table = self.walk.kernels[row[at.FN]], words_of(tables, blocks)
            yield Launch(kernel, sum(blocks), (count,), number, table)

    @staticmethod
    def _tables(row: list[int], words: list[int], width: int) -> tuple[int, int, list[int]]:
        if row[0] == at.CALL:
            return 1, width, [row[at.EXTENT]]
        tables = row[at.AUX0]
        return tables, row[at.AUX1], words[row[at.EXTENT] : row[at.EXTENT] + tables]
