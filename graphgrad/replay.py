"""The fast path of a compiled call: an entry's checks and effects as straight-line Python.

``replay_of(entry)`` writes one function from what the trace took for granted. It returns MISS
when anything differs (another shape, a changed flag, strided memory), and the general path decides.
What is the same object at every call (parameters, modules, optimizers) is not even read: one call
says that nothing was assigned there since it was compared last (``graphgrad.kernels.pins``).
The text is kept in ``source`` for the curious: ``print(compiled.replay.source)``.
"""

from __future__ import annotations

import dis
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.config import config
from graphgrad.guards import Guard, is_value
from graphgrad.kernels.layout import DONE
from graphgrad.kernels.pins import Pins, first_changed
from graphgrad.pinning import places
from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.state import state
from graphgrad.views import row_major

MISS = object()
# How often something may change between calls before it is compared at each of them.
RESTLESS = 4
# Functions of numbers alone.
_PURE = frozenset({"float", "math", "sqrt"})
# How a number is packed into eight bytes of its own.
_FORMS = {np.dtype(np.float32): "f4x", np.dtype(np.float64): "d"}


def replay_of(entry: Any) -> Callable[[Sequence[Any]], Any] | None:
    """The generated function, or None where calls have to take the general path.

    One call would not repay writing it, so it is there from an entry's second call on.
    """
    program = entry.executable.ready()
    moves = any(s.place is not None for s in entry.sources) or any(r.leaves for r in entry.results)
    moves = moves or entry.follows_default
    if program is None or entry.flat is None or entry.calls < 2 or moves:
        return None
    if config.tier not in entry.replays:
        entry.replays[config.tier] = _Writer(entry, program).function()
    return entry.replays[config.tier]


class _Renewal:
    """What happens when something was assigned.

    A tensor that has another array, or was written to, is compared again and known from then on.
    After anything else the function is written anew: what it watched (the members of a module) may
    be there no more. What is assigned between most calls (a learning rate that follows a schedule)
    is not worth that, and gets no pin any more.
    """

    def __init__(self, pins: Pins, names: dict[str, Any], entry: Any, tensors: set[int]) -> None:
        self.pins, self.names, self.entry, self.tensors = pins, names, entry, tensors

    def known(self) -> bool:
        """Compare, and know from now on what was there before: nothing in between is missed."""
        if not self.pins.hold() or not self.names["compare"]():
            return False
        self.names["table"] = self.pins.address
        return True

    def __call__(self, number: int) -> bool:
        changed, changes = self.pins.all_changed(), self.entry.changes
        changes.update(changed.values())
        restless = {address for address in changed.values() if changes[address] > RESTLESS}
        self.entry.restless |= restless
        if changed and not restless and self.tensors.issuperset(changed) and self.known():
            return True
        self.entry.replays.clear()
        return False


class _Writer:
    """Collects lines, and the objects that their names stand for."""

    def __init__(self, entry: Any, program: Any) -> None:
        self.entry, self.program = entry, program
        self.lines: list[str] = []
        # Python text for each result of the program.
        self.results: list[str] = []
        # Run-time numbers: (how it is packed, text), lines for those that are not, lines before.
        self.packed: list[tuple[str, str]] = []
        self.others: list[str] = []
        self.looks: dict[str, None] = {}
        self.memory = bytearray(8 * len(entry.sources))
        # What is compared only when something was assigned: as text, and what assignments tell.
        self.pins = Pins(entry.restless)
        self.pinned: list[str] = []
        # The pins of captured tensors; whether all was as the trace has it.
        self.tensors: set[int] = set()
        self.is_known = True
        self._known: dict[tuple[str, int], str] = {}
        self.names: dict[str, Any] = {
            "MISS": MISS,
            "StructError": struct.error,
            "Tensor": Tensor,
            "config": config,
            "dtypes": dtypes,
            "entry": entry,
            "program": program,
            "state": state,
            "wrap": wrap,
        }

    def function(self) -> Callable[[Sequence[Any]], Any] | None:
        """The function; None where something is not as it was when the trace was found to fit."""
        self._modes()
        for i, expected in enumerate(self.entry.flat):
            self._argument(i, expected)
        self._apart()
        for tensor, _, needs in self.entry.captured:
            self._fixed(tensor, "_needs", f"{self.known('t', tensor)}._needs is {needs}")
        for source, was_none in self.entry.grads_read:
            condition = f"({self._owner(source)}._grad is None) is {was_none}"
            self._fixed(source.tensor if was_none else None, "_grad", condition)
        operands = [self._source(i, s) for i, s in enumerate(self.entry.sources)]
        storages = [self._storage(source) for source in self.entry.mutated]
        self._guard()
        self._pin()
        if not self.is_known:
            return None
        self._write_numbers()
        self.lines += [f"{self._owner(s)}._grad = None" for s in self.entry.replaced()]
        self.lines.append("entry.calls += 1")
        self._run(operands)
        self._effects(storages)
        body = "\n".join(f"    {line}" for line in self.lines)
        source = f"def replay(args):\n{body}\n"
        exec(compile(source, "<replay>", "exec"), self.names)
        replay = self.names["replay"]
        replay.source = source
        return replay

    def name(self, prefix: str, value: Any) -> str:
        """A name for an object that is known now."""
        name = f"{prefix}_{len(self.names)}"
        self.names[name] = value
        return name

    def known(self, prefix: str, value: Any) -> str:
        """The name that an object already has, or a new one."""
        key = prefix, id(value)
        if key not in self._known:
            self._known[key] = self.name(prefix, value)
        return self._known[key]

    def check(self, condition: str, indent: int = 0) -> None:
        """Go on only if ``condition`` holds."""
        self.lines.append(f"{'    ' * indent}if not ({condition}): return MISS")

    # ------------------------------------------------------------------------- what stays as it is

    def _fixed(self, owner: Any, slot: str, condition: str) -> None:
        """A condition that depends on one attribute of a captured tensor."""
        if owner is not None and self._slot(owner, slot) is not None:
            self.pinned.append(f"if not ({condition}): return False")
        else:
            self.check(condition)

    def _slot(self, tensor: Any, name: str) -> int | None:
        """The pin of an attribute of a captured tensor."""
        number = self.pins.slot(tensor, name)
        if number is not None:
            self.tensors.add(number)
        return number

    def _guard(self) -> None:
        """The guard's conditions: those that assignments do not tell are evaluated at each call."""
        guard = self.entry.guard
        decided = places(guard.checks, guard.objects, self.pins)
        left = {
            condition: path
            for (condition, path), found in zip(guard.checks.items(), decided, strict=True)
            if found is None
        }
        if len(left) < len(guard.checks):
            self.pinned.append(f"if not {self.name('holds', guard.holds)}(): return False")
        if left:
            self.check(f"{self.name('holds', Guard(left, guard.objects).holds)}()")

    def _pin(self) -> None:
        """One call that says whether anything was assigned; if so, all of it is compared."""
        if not self.pinned:
            return
        assigned = sorted({line.partition(" = ")[0] for line in self.pinned if _is_binding(line)})
        lines = [f"global {', '.join(assigned)}"] * bool(assigned) + self.pinned
        body = "\n".join(f"    {line}" for line in [*lines, "return True"])
        exec(compile(f"def compare():\n{body}\n", "<replay>", "exec"), self.names)
        renewal = _Renewal(self.pins, self.names, self.entry, self.tensors)
        self.names |= {"first_changed": first_changed(), "renew": renewal}
        self.is_known = renewal.known()
        self.lines += [
            "number = first_changed(table)",
            "if number >= 0 and not renew(number): return MISS",
        ]

    def _keep(self, name: str, text: str) -> None:
        """``name`` is what ``text`` says, read when something was assigned."""
        self.pinned.append(f"{name} = {text}")

    def _modes(self) -> None:
        entry = self.entry
        default = self.name("default", entry.default)
        self.check(
            f"len(args) == {len(entry.flat)} and state.grad is {entry.grad_mode} "
            f"and dtypes._default is {default} and config.tier is {self.name('tier', config.tier)}"
        )

    # ------------------------------------------------------------------------------------- inputs

    def _argument(self, i: int, expected: tuple[Any, ...]) -> None:
        kind, *rest = expected
        self.lines.append(f"x{i} = args[{i}]")
        self.check(f"x{i}.__class__ is {self.name('kind', kind)}")
        if kind is Tensor:
            array, needs, is_leaf = rest
            self.lines.append(f"a{i} = x{i}._array")
            self.check(f"x{i}._needs is {needs} and (x{i}._edge is None) is {is_leaf}")
            self._plain(f"a{i}", array)
        elif kind is np.ndarray:
            self.lines.append(f"a{i} = x{i}")
            self._plain(f"a{i}", rest[0])
        elif rest:
            self.check(is_value(f"x{i}", self.name("value", rest[0]), rest[0]))

    def _plain(self, array: str, like: np.ndarray) -> None:
        """Row-major memory of the traced shape and type."""
        self.check(self._is_plain(array, like))

    def _still_plain(self, array: str, like: np.ndarray) -> None:
        """The same for what the trace captured: an array that is still the same object is known.

        Asking for shape and strides makes two tuples, which is most of the cost of a small call.
        """
        known = self.name("known", [None])
        self.lines.append(f"if {array} is not {known}[0]:")
        self.check(self._is_plain(array, like), indent=1)
        self.lines.append(f"    {known}[0] = {array}")

    def _is_plain(self, array: str, like: np.ndarray) -> str:
        strides = tuple(n * like.itemsize for n in row_major(like.shape))
        dtype = self.known("dtype", like.dtype)
        return (
            f"{array}.shape == {like.shape} and {array}.strides == {strides} "
            f"and {array}.dtype is {dtype}"
        )

    def _apart(self) -> None:
        """Arguments that share memory are another trace, where it matters."""
        tensors = [i for i, row in enumerate(self.entry.flat) if row[0] is Tensor]
        if len(tensors) > 1 and (self.entry.mutated or self.entry.way is not None):
            storages = ", ".join(f"id(x{i}._storage)" for i in tensors)
            self.check(f"len({{{storages}}}) == {len(tensors)}")

    def _source(self, number: int, source: Any) -> str:
        """An expression for one program input, after the lines that check it."""
        if source.kind == "argument":
            return f"a{source.argument}"
        if source.kind in ("number", "float"):
            return self._number(source)
        owner = self._owner(source)
        if source.kind == "grad":
            self.check(f"{owner}._grad is not None")
            owner += "._grad"
        name, text = self.name("array", None), f"{owner}._array"
        if source.kind == "tensor" and self._slot(source.tensor, "_array") is not None:
            self._keep(name, text)
            self.pinned.append(f"if not ({self._is_plain(name, source.like)}): return False")
        else:
            self.lines.append(f"{name} = {text}")
            self._still_plain(name, source.like)
        return name

    def _owner(self, source: Any) -> str:
        return f"x{source.argument}" if source.tensor is None else self.known("t", source.tensor)

    # ------------------------------------------------------------------------------------- numbers

    def _number(self, source: Any) -> str:
        """The array that takes a run-time number, once it is known that the trace fits."""
        number, _, group, _ = getattr(source.number, "parts", (None, None, {}, None))
        if _is_constant(number, group) and self.pins.mapping(group) is not None:
            name, read = self.name("cell", source.cell), self.known("number", number)
            self.pinned.append(f"{name}[()] = {read}({self.known('group', group)}, 0.0)")
            return name
        text, form = self._read(source), _FORMS.get(source.cell.dtype)
        if form is None:
            name = self.name("cell", source.cell)
            self.others.append(f"{name}[()] = {text}")
            return name
        cell = np.ndarray((), source.cell.dtype, self.memory, 8 * len(self.packed))
        self.packed.append((form, text))
        return self.name("cell", cell)

    def _write_numbers(self) -> None:
        """All at once. What numpy would round to infinity is left to the general path."""
        self.lines += [*self.looks, *self.others]
        if self.packed:
            forms, texts = zip(*self.packed, strict=True)
            pack = self.name("pack", struct.Struct("=" + "".join(forms)).pack_into)
            memory = self.name("memory", self.memory)
            self.lines.append(f"try: {pack}({memory}, 0, {', '.join(texts)})")
            self.lines.append("except (OverflowError, StructError): return MISS")

    def _read(self, source: Any) -> str:
        """Python text for a number now. Those of an optimizer share a look at the steps taken."""
        if source.number is None:
            return f"x{source.argument}"
        parts = getattr(source.number, "parts", None)
        if parts is None:
            return f"{self.name('number', source.number)}()"
        number, _, group, steps = parts
        taken = "0.0"
        if steps is not None:
            tensor = self.known("t", steps)
            taken = f"steps_of_{tensor}"
            self.looks[f"{taken} = {self._array_of(steps)}.item()"] = None
        return f"{self.known('number', number)}({self.known('group', group)}, {taken})"

    def _array_of(self, tensor: Any) -> str:
        """An expression for a captured tensor's array, whatever it is like."""
        text = f"{self.known('t', tensor)}._array"
        if self._slot(tensor, "_array") is None:
            return text
        if ("array", id(tensor)) not in self._known:
            self._keep(self.known("array", tensor), text)
        return self.known("array", tensor)

    # ------------------------------------------------------------------------------------- effects

    def _run(self, operands: list[str]) -> None:
        """The program, over its inputs and new arrays for the results that replace no input."""
        buffers = list(operands)
        for i, row in enumerate(self.program.results):
            if isinstance(row, int):
                self.results.append(operands[row])
                continue
            new, shape, dtype = row
            made = f"{self.known('empty', new)}({shape}, {self.known('dtype', dtype)})"
            self.lines.append(f"y{i} = {made}")
            self.results.append(f"y{i}")
            buffers.append(f"y{i}")
        runner, given = self.program.runner, ", ".join(buffers)
        if not getattr(runner, "is_direct", False):
            self.lines.append(f"program.runner({given})")
            return
        # As the runner does, without a call in between.
        from graphgrad.kernels.executor import timing

        names = {"runner": runner, "idle": runner.idle, "enter": runner.enter, "timing": timing}
        self.names |= names
        self.lines += [
            "if program.runner is runner and not timing:",
            "    context = idle.pop() if idle else runner.context()",
            f"    if enter(context.address, context.arena.address, {given}) != {DONE}:",
            f"        runner.finish(context, ({given},))",
            "    idle.append(context)",
            f"else: program.runner({given})",
        ]

    def _storage(self, source: Any) -> str:
        """An expression for the memory that a source's tensor is in."""
        if source.tensor is None or source.kind == "grad":
            grad = "._grad" if source.kind == "grad" else ""
            return f"{self._owner(source)}{grad}._storage"
        if self._slot(source.tensor, "_storage") is None:
            return f"{self._owner(source)}._storage"
        name = self.name("storage", None)
        self._keep(name, f"{self._owner(source)}._storage")
        return name

    def _effects(self, storages: Sequence[str]) -> None:
        entry = self.entry
        if entry.host is not None:
            self.lines.append(f"{self.name('host', entry.host)}(args)")
        self.lines += [f"{storage}.version += 1" for storage in storages]
        for source, number in entry.grads:
            value = "None" if number is None else f"wrap({self.results[number]})"
            self.lines.append(f"{self._owner(source)}._grad = {value}")
        single = entry.result_shape is None and entry.way is None
        if not single or entry.results[0].kind != "output":
            self.lines.append(f"return entry.returned(args, [{', '.join(self.results)}])")
            return
        self.lines.append(f"result = wrap({self.results[entry.results[0].number]})")
        if entry.results[0].value:
            edge = self.name("edge", (entry.broken, 0))
            self.lines.append(f"result._needs, result._edge = True, {edge}")
        self.lines.append("return result")


def _is_binding(line: str) -> bool:
    return line.partition(" = ")[0].isidentifier()


def _is_constant(number: Any, group: Mapping[str, Any]) -> bool:
    """Whether a number of an optimizer changes only when something is assigned in its group.

    So it does not if it reads the steps taken or anything else, or what is there can be written to.
    """
    code = getattr(number, "__code__", None)
    if code is None or code.co_freevars or code.co_argcount != 2:
        return False
    if not _PURE.issuperset(code.co_names):
        return False
    steps = code.co_varnames[1]
    if any(i.argval == steps for i in dis.get_instructions(code)):
        return False
    values = [value for key, value in group.items() if key != "params"]
    plain = (bool, int, float, str, type(None))
    parts = [x for v in values for x in (v if isinstance(v, tuple) else (v,))]
    return all(isinstance(x, plain) for x in parts)
