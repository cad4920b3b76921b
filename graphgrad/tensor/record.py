"""The records that backward walks: what ``tensor.grad_fn`` shows.

One class per PyTorch name is made on the fly, so that ``<AddBackward0 object at 0x…>`` prints as
users know it. A record keeps the operand and result values its gradient reads, each with the
storage it lay in and the version it had, and the edges along which gradients leave.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import count
from types import CodeType
from typing import Any

from graphgrad.autodiff import backward_name
from graphgrad.errors import Origin
from graphgrad.ir import Node
from graphgrad.tensor.state import state

_tick = count(1).__next__
_kinds: dict[str, type[Record]] = {}


class RemovableHandle:
    """What registering a hook returns; ``remove()`` takes the hook away."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks, self.id = hooks, _tick()

    def remove(self) -> None:
        """Forget the hook; removing twice does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Record:
    """One recorded operation; ``next_functions`` leads towards the leaves."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_hooks",
        "_unpack",
        "code",
        "edges",
        "module",
        "offset",
        "operands",
        "saved",
        "sequence",
        "stamps",
        "versions",
        "way",
    )

    way: Any
    # The composite that a traced operation is part of.
    composite: str = ""
    # What `way.saves` names, in that order; None once backward has freed it.
    saved: tuple[Any, ...] | None
    # What a composite was called with, for gradients of its gradient.
    operands: Any
    stamps: Sequence[Any]
    versions: Sequence[int]
    # One (record or leaf tensor, output number) per operand in `way.needs`.
    edges: Sequence[tuple[Any, int]]
    sequence: int
    code: CodeType | None
    offset: int
    module: str
    _hooks: Hooks | None
    # Turns what a saved_tensors_hooks pair packed back into values; None: nothing was packed.
    _unpack: Any

    def name(self) -> str:
        """PyTorch's name of the operation, such as ``MulBackward0``."""
        return type(self).__name__

    @property
    def origin(self) -> Origin:
        """The user's line that called the operation."""
        return Origin(self.code, self.offset, self.module)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """(record, output number) for every operand; leaves appear as AccumulateGrad."""
        table: list[tuple[Any, int]] = [(None, 0)] * len(self.way.inputs)
        for i, (target, number) in zip(self.way.needs, self.edges, strict=True):
            table[i] = (shown(target), number)
        return tuple(table)

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's notes."""
        return self.__dict__.setdefault("_metadata", {})

    def hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` afterwards; it may replace the former."""
        return self.hooks().add(self.hooks().after, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before this record runs; it may return replacements."""
        return self.hooks().add(self.hooks().before, hook)

    def values(self) -> tuple[Any, ...]:
        """The saved values, or the error that says who freed or overwrote them."""
        if self.saved is None:
            raise RuntimeError(freed(self))
        for storage, version, value in zip(self.stamps, self.versions, self.saved, strict=False):
            # Nodes, which a trace saves, never change.
            if storage.version != version and value.__class__ is not Node:
                raise RuntimeError(overwritten(self, storage, version))
        return self.saved if self._unpack is None else self._unpack(self.saved)

    def keep_own(self, storage: Any) -> None:
        """Copy what was saved from ``storage``, which is about to be overwritten."""
        rows = list(zip(self.saved or (), self.stamps, strict=True))
        self.saved = tuple(v.copy() if s is storage else v for v, s in rows)
        self.stamps = [type(s)() if s is storage else s for _, s in rows]
        self.versions = [s.version for s in self.stamps]

    def moved(self, storage: Any, array: Any) -> None:
        """``storage`` now lies in ``array``: what was saved of it before is this record's alone."""
        rows = zip(self.saved or (), self.stamps, strict=True)
        self.stamps = [storage if v is array else type(s)() if s is storage else s for v, s in rows]
        self.versions = [s.version for s in self.stamps]

    def free(self) -> None:
        """Let go of saved memory; a second backward will say so."""
        if self.way.saves:
            self.saved, self.stamps, self.operands = None, (), None

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self))}>"


class Hooks:
    """The hooks of a record: per output (tensor hooks), and around the whole."""

    __slots__ = ("after", "before", "outputs", "retained")

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}
        self.after: dict[int, Any] = {}
        # output number -> {id: hook}; output number -> weakly held tensor that keeps its gradient
        self.outputs: dict[int, dict[int, Any]] = {}
        self.retained: dict[int, weakref.ref[Any]] = {}

    def add(self, table: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(table)
        table[handle.id] = hook
        return handle

    def __bool__(self) -> bool:
        return bool(self.before or self.after or self.retained or any(self.outputs.values()))


class AccumulateGrad:
    """Stands for a leaf among a record's ``next_functions``; ``variable`` is the leaf."""

    __slots__ = ("__weakref__", "variable")

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    next_functions: tuple[Any, ...] = ()

    def name(self) -> str:
        return "struct torch::autograd::AccumulateGrad"

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` when the leaf receives its gradient."""
        return self.variable.register_post_accumulate_grad_hook(
            lambda leaf: hook((), (leaf.grad,)) and None
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash((AccumulateGrad, id(self.variable)))

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {hex(id(self.variable))}>"


def shown(target: Any) -> Any:
    """A record as itself, a leaf tensor as its AccumulateGrad."""
    return target if isinstance(target, Record) else AccumulateGrad(target)


def make(way: Any, saved: tuple[Any, ...], stamps: Sequence[Any], edges: Sequence[Any]) -> Record:
    """A new record; its class carries PyTorch's name."""
    rec = _new(way.kind)
    rec.way, rec.saved, rec.edges, rec.stamps = way, saved, edges, stamps
    rec.versions = [s.version for s in stamps]
    rec.sequence = _tick()
    rec.code, rec.offset, rec.module, rec._hooks, rec._unpack = None, -1, "", None, None
    # Inside a trace, a composite's own for example, saved values are nodes, and nobody's to pack.
    if state.saved_hooks and state.trace is None:
        rec.saved, rec._unpack = state.saved_hooks[-1](saved)
    return rec


_new = object.__new__


def kind(name: str) -> type[Record]:
    """The record class called ``name``."""
    found = _kinds.get(name)
    if found is None:
        found = _kinds[name] = type(name, (Record,), {"__slots__": ()})
    return found


def kind_of(primitive: str, attrs: dict[str, Any], inputs: Sequence[Any]) -> type[Record]:
    """The class for a primitive, called as PyTorch calls it."""
    return kind(backward_name(primitive, attrs, inputs))


# ------------------------------------------------------------------------------------------- errors


def place(code: CodeType | None, offset: int) -> str:
    """``  File "train.py", line 12, in step:  y.add_(1)``"""
    quoted = Origin(code, offset).quote()
    return f"  {quoted}" if code is None else f"  File {quoted}"


def freed(rec: Record) -> str:
    return (
        "Trying to backward through the graph a second time (or directly access saved tensors "
        "after they have already been freed). Saved intermediate values of the graph are freed "
        "when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to "
        "backward through the graph a second time or if you need to access saved tensors after "
        "calling "
        f"backward.\n{rec.name()} was recorded here:\n{place(rec.code, rec.offset)}"
    )


def overwritten(rec: Record, storage: Any, version: int) -> str:
    written = storage.written
    where = place(*written) if written else "  (line unknown)"
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: a tensor saved by {rec.name()} is at version {storage.version}; expected "
        f"version {version} instead. Hint: write the operation out of place, or clone() the tensor "
        f"before it.\nIt was saved here:\n{place(rec.code, rec.offset)}\n"
        f"and modified here:\n{where}"
    )
