"""A Program: kernel calls over planned memory, as a table you can print. Data, not code.

    build = ProgramBuilder(inputs=2, outputs=1, arena_bytes=4096)
    x, y, out, t = build.input(0), build.input(1), build.output(0), build.arena(0)
    build.call(add_relu, [x, y, t, n], extent=n, grain=4096, name="add_relu")
    with build.loop(trips=10) as loop:
        build.call(step, [t, loop.move(out, 4 * n), 0.5], extent=n, grain=4096, name="step")
    program = build.program()

A slot is a Buffer (plus a byte offset: `x + 64`), an int, a float (its float64 bits), an ndarray (a
constant, by address), a Kernel (its address), or one of these that a loop moves. A float or int
that changes from call to call is an input too: pass the number, and `build.input(i)` fills the slot
with its bits.
"""

import contextlib
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import layout as at
from .cache import Kernel

SCRATCH_ALIGNMENT = 128
BRIEF_NS = 20_000.0


@dataclass(frozen=True, slots=True)
class Buffer:
    """A place whose address is known when the program runs: kind, number, byte offset."""

    kind: str  # "arena" | "input" | "output" | "constant" | "scratch" | "error"
    number: int = 0
    offset: int = 0

    def __add__(self, nbytes: int) -> "Buffer":
        return replace(self, offset=self.offset + nbytes)

    def __str__(self) -> str:
        number = "" if self.kind in ("arena", "scratch", "error") else self.number
        return f"{self.kind}{number}" + (f"+{self.offset}" if self.offset else "")


@dataclass(frozen=True, slots=True)
class Moving:
    """A slot that `delta` (bytes, or units of an int) is added to after every trip of `loop`."""

    value: Any
    loop: "Loop"
    delta: int

    def __str__(self) -> str:
        return f"{self.value}~{self.delta}"


Slot = Buffer | Moving | Kernel | np.ndarray | int | float


class Loop:
    """A LOOP row being built; `move` makes the slots that advance with it."""

    def __init__(self, row: int) -> None:
        self.row = row
        self.bumps: list[tuple[int, int]] = []

    def move(self, value: Slot, delta: int) -> Moving:
        """`value`, and `delta` more after each trip. Inside two loops: `a.move(b.move(x, i), j)`"""
        return Moving(value, self, delta)


class Label:
    """A row that jumps lead to; placed before or after them."""

    def __init__(self) -> None:
        self.row: int | None = None


@dataclass(frozen=True)
class HostCall:
    """A Python function the program calls with arrays over the operands at `args[first:]`.

    It writes those from number `reads` on.
    """

    function: Callable[..., None]
    first: int
    operands: tuple[tuple[tuple[int, ...], np.dtype], ...]
    reads: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """What runs: rows and slots as in `layout`, and everything they refer to."""

    rows: np.ndarray
    args: np.ndarray
    patches: np.ndarray
    inputs: int
    outputs: int
    constants: tuple[np.ndarray, ...]
    arena_bytes: int
    hosts: tuple[HostCall, ...]
    names: tuple[str, ...]
    slots: dict[int, Slot] = field(repr=False)
    kernels: tuple[Kernel, ...] = field(repr=False)
    # Slots that hold the address of a kernel which other kernels call.
    called: tuple[tuple[int, Kernel], ...] = field(repr=False)
    # About how long it takes on one core; not known if a call's maker did not say.
    ns: float = math.inf

    @property
    def launches(self) -> int:
        """Kernel rows in the table; a row inside a loop counts once."""
        return int(np.isin(self.rows[:, 0], (at.CALL, at.GROUP)).sum())

    @property
    def table_bytes(self) -> int:
        """What the rows, their slots and the constants take."""
        tables = (self.rows, self.args, self.patches, *self.constants)
        return sum(table.nbytes for table in tables)

    @property
    def brief(self) -> bool:
        """Whether it takes less time than a change of threads, on one thread."""
        kind, grain = self.rows[:, 0], self.rows[:, at.GRAIN]
        one_chunk = (kind == at.CALL) & ((grain == 0) | (self.rows[:, at.EXTENT] <= grain))
        little = (kind == at.GROUP) & (self.rows[:, at.AUX2] == 1)
        return self.ns <= BRIEF_NS and bool((one_chunk | little).all())

    def __repr__(self) -> str:
        head = (
            f"Program: {self.inputs} inputs, {self.outputs} outputs, {len(self.constants)} "
            f"constants, {self.launches} launches, arena {self.arena_bytes} bytes"
        )
        return "\n".join([head, *map(self._line, range(len(self.rows)))])

    def _line(self, number: int) -> str:
        opcode, _, first, extent, grain, aux0, aux1, aux2 = map(int, self.rows[number])
        text = {
            at.CALL: lambda: f"call   {self._slots(first)} over {extent} by {grain}",
            at.GROUP: lambda: (
                f"group  {aux0} tables of {aux1} slots by {grain}{', not shared' * aux2}"
            ),
            at.LOOP: lambda: f"loop   {aux0} trips of rows {number + 1}..{number + aux1}",
            at.JUMP_IF: lambda: (
                f"jump   to {number + aux1} if {self.slots[aux0]} is {'set' if aux2 else 'zero'}"
            ),
            at.JUMP: lambda: f"jump   to {number + aux1}",
            at.HOST: lambda: f"host   {self.hosts[aux0].function}",
        }[opcode]()
        return f"{number:4d}  {self.names[number]:<24s}  {text}"

    def _slots(self, first: int) -> str:
        shown = []
        while first in self.slots:
            slot = self.slots[first]
            shown.append(_shown(slot))
            first += 1
        return f"({', '.join(shown)})"


class ProgramBuilder:
    """Appends rows; `program()` resolves every slot and label and returns the finished Program."""

    def __init__(self, inputs: int, outputs: int, arena_bytes: int = 0) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.arena_bytes = -(-arena_bytes // SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT
        self.ns = 0.0
        self.scratch_bytes = 0
        self.rows: list[list[int]] = []
        self.names: list[str] = []
        self.constants: list[np.ndarray] = []
        self.hosts: list[HostCall] = []
        self.kernels: dict[int, Kernel] = {}
        # Slot 0 holds the address of the error words; a None ends the slots of one row.
        self.slots: list[Slot | None] = [Buffer("error"), None]
        self.open_loops: list[Loop] = []
        self.jumps: list[tuple[int, Label]] = []
        self.loops: list[Loop] = []
        self.called: list[tuple[int, Kernel]] = []
        self._constant_numbers: dict[int, int] = {}

    # ---- places ----------------------------------------------------------------------------------

    def input(self, number: int) -> Buffer:
        """The data of an input array, or the bits of an input number."""
        return self._checked("input", number, self.inputs)

    def output(self, number: int) -> Buffer:
        """The data of an output array."""
        return self._checked("output", number, self.outputs)

    def arena(self, offset: int) -> Buffer:
        """A place in the planned memory of one call."""
        return Buffer("arena", 0, offset)

    def constant(self, array: np.ndarray) -> Buffer:
        """The data of an array that lives as long as the program."""
        number = self._constant_numbers.setdefault(id(array), len(self.constants))
        if number == len(self.constants):
            self.constants.append(array)
        return Buffer("constant", number)

    def scratch(self, nbytes: int) -> Buffer:
        """Memory that one row uses while it runs; all rows get the same."""
        self.scratch_bytes = max(self.scratch_bytes, nbytes)
        return Buffer("scratch")

    @property
    def error(self) -> Buffer:
        """The words (code, row): a kernel that writes a code other than 0 ends the run."""
        return Buffer("error")

    def _checked(self, kind: str, number: int, count: int) -> Buffer:
        if not 0 <= number < count:
            raise IndexError(f"{kind} {number} of a program with {count}")
        return Buffer(kind, number)

    # ---- rows ------------------------------------------------------------------------------------

    def call(
        self,
        kernel: Kernel,
        slots: Sequence[Slot],
        extent: int,
        grain: int = 0,
        name: str = "",
        ns: float = math.inf,
    ) -> None:
        """Run `kernel` over [0, extent) in chunks of `grain` iterations, 0 for one chunk.

        ``ns``: about how long that takes on one core.
        """
        self.ns += ns
        first = self._add_slots(slots)
        self._add_row(name or kernel.name, at.CALL, kernel, first, extent, grain)

    def group(
        self,
        kernel: Kernel,
        tables: Sequence[Sequence[Slot]],
        extents: Sequence[int],
        grain: int,
        name: str = "",
        shared: bool = True,
        ns: float = math.inf,
    ) -> None:
        """Run `kernel` once for each table of slots, in one launch, `shared` by the team's threads.

        Table t is run over [0, extents[t]) in chunks of `grain`. All tables are equally long.
        ``ns``: about how long all of it takes on one core.
        """
        self.ns += ns
        if len(tables) != len(extents) or len({len(table) for table in tables}) != 1:
            raise ValueError("a group has one extent a table, and tables of one length")
        first = self._add_slots([slot for table in tables for slot in table])
        chunks = [-(-extent // grain) for extent in extents]
        before = np.concatenate([[0], np.cumsum(chunks)])
        listed = self._add_slots([*map(int, extents), *map(int, before)])
        shape = (len(tables), len(tables[0]))
        columns = (first, listed, grain, *shape, int(not shared))
        self._add_row(name or kernel.name, at.GROUP, kernel, *columns)

    @contextlib.contextmanager
    def loop(self, trips: int, name: str = "loop") -> Iterator[Loop]:
        """Repeat the rows built inside the `with` block; `trips` may be 0."""
        if len(self.open_loops) == at.MAX_DEPTH - 1:
            raise NotImplementedError(f"more than {at.MAX_DEPTH - 1} loops inside each other")
        loop = Loop(len(self.rows))
        self._add_row(name, at.LOOP, None, 0, 0, 0, trips)
        self.open_loops.append(loop)
        yield loop
        self.open_loops.pop()
        self.loops.append(loop)
        self.rows[loop.row][at.AUX1] = len(self.rows) - loop.row - 1

    def label(self) -> Label:
        """A target for jumps, to be placed."""
        return Label()

    def place(self, label: Label) -> Label:
        """Make `label` mean the next row."""
        label.row = len(self.rows)
        return label

    def jump(self, label: Label, name: str = "jump") -> None:
        """Go on at `label`, in the same loop body."""
        self.jumps.append((len(self.rows), label))
        self._add_row(name, at.JUMP)

    def jump_if(self, cell: Slot, label: Label, when: bool = False, name: str = "jump_if") -> None:
        """Go on at `label` if the bool at `cell` is `when`."""
        self.jumps.append((len(self.rows), label))
        self._add_row(name, at.JUMP_IF, None, 0, 0, 0, self._add_slots([cell]), 0, int(when))

    def branch(
        self,
        cell: Slot,
        then: Callable[[], None],
        otherwise: Callable[[], None] | None = None,
        name: str = "cond",
    ) -> None:
        """Rows built by `then` run if the bool at `cell` is set, those of `otherwise` if not."""
        skip, end = self.label(), self.label()
        self.jump_if(cell, skip, name=name)
        then()
        if otherwise is not None:
            self.jump(end, name)
        self.place(skip)
        if otherwise is not None:
            otherwise()
        self.place(end)

    def while_loop(
        self, condition: Callable[[], Slot], body: Callable[[], None], name: str = "while"
    ) -> None:
        """Run `condition`'s rows, leave if the bool at its cell is zero, run `body`'s, repeat."""
        top, end = self.place(self.label()), self.label()
        self.jump_if(condition(), end, name=name)
        body()
        self.jump(top, name)
        self.place(end)

    def host(
        self,
        function: Callable[..., None],
        operands: Sequence[tuple[Slot, tuple[int, ...], np.dtype]],
        name: str = "",
        reads: int = 0,
    ) -> None:
        """Call a Python function with writable arrays over (slot, shape, dtype) of each operand.

        The first `reads` of them are only read.
        """
        first = self._add_slots([slot for slot, _, _ in operands])
        kinds = tuple((tuple(shape), np.dtype(dtype)) for _, shape, dtype in operands)
        self.hosts.append(HostCall(function, first, kinds, reads))
        label = name or getattr(function, "__qualname__", type(function).__qualname__)
        self._add_row(label, at.HOST, None, 0, 0, 0, len(self.hosts) - 1)

    def _add_row(self, name: str, opcode: int, kernel: Kernel | None = None, *columns: int) -> None:
        address = 0
        if kernel is not None:
            address = kernel.address
            self.kernels[address] = kernel
        row = [opcode, address, *map(int, columns)]
        self.rows.append(row + [0] * (at.COLUMNS - len(row)))
        self.names.append(name)

    def _add_slots(self, slots: Sequence[Slot]) -> int:
        first = len(self.slots)
        self.slots += [*slots, None]
        return first

    # ---- the finished table ----------------------------------------------------------------------

    def program(self) -> Program:
        """The Program built so far."""
        for row, label in self.jumps:
            if label.row is None:
                raise ValueError(f"row {row} jumps to a label that was never placed")
            self.rows[row][at.AUX1] = label.row - row
        args, patches = self._resolved()
        # Rows are read one ahead of the test that ends a run, hence never empty.
        rows = np.array(self.rows or [[at.JUMP, *[0] * 5, 1, 0]], np.int64)
        return Program(
            rows=rows,
            args=np.array(args, np.int64),
            patches=np.array(patches, np.int64).reshape(-1, at.PATCH_WORDS),
            inputs=self.inputs,
            outputs=self.outputs,
            constants=tuple(self.constants),
            arena_bytes=self.arena_bytes + self.scratch_bytes,
            hosts=tuple(self.hosts),
            names=tuple(self.names or ["nothing"]),
            slots={k: slot for k, slot in enumerate(self.slots) if slot is not None},
            kernels=tuple(self.kernels.values()),
            called=tuple(self.called),
            ns=self.ns,
        )

    def _resolved(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Initial args with the bump lists after them, and patches for all that is an address."""
        args, patches = [], []
        for index, slot in enumerate(self.slots):
            while isinstance(slot, Moving):
                slot.loop.bumps.append((index, slot.delta))
                slot = slot.value
            if isinstance(slot, np.ndarray):
                slot = self.constant(slot)
            if isinstance(slot, Buffer):
                patches.append((index, *self._base(slot)))
                slot = 0
            if isinstance(slot, Kernel):
                self.called.append((index, slot))
                slot = slot.address
            args.append(_word(slot))
        for loop in self.loops:
            self.rows[loop.row][at.AUX2] = len(args)
            args += [len(loop.bumps), *(word for bump in loop.bumps for word in bump)]
        # Constants found on the way lie behind the inputs and outputs, the error words behind them.
        behind = 1 + self.inputs + self.outputs + len(self.constants)
        return args, [(s, behind if b < 0 else b, offset) for s, b, offset in patches]

    def _base(self, buffer: Buffer) -> tuple[int, int]:
        """(index into the bases, byte offset) of a buffer: [arena, inputs, outputs, constants]."""
        if buffer.kind == "scratch":
            return 0, self.arena_bytes + buffer.offset
        first = {"arena": 0, "input": 1, "output": 1 + self.inputs}
        first["constant"] = 1 + self.inputs + self.outputs
        return (first[buffer.kind] + buffer.number if buffer.kind in first else -1), buffer.offset


def _shown(slot: Slot) -> str:
    if isinstance(slot, np.ndarray):
        return f"array{slot.shape}"
    return slot.name if isinstance(slot, Kernel) else str(slot)


def _word(value: float | int | bool | None) -> int:
    """An int slot as it is, a float as the bits of a float64."""
    if isinstance(value, float | np.floating):
        return struct.unpack("<q", struct.pack("<d", value))[0]
    return int(value or 0)
