"""Grid IR: LoopIR for one thread of a grid, with what threads of a block do together.

    expression Thread, Block                              (and all of LoopIR's)
    statement  When, While, Steps, Comment                one thread's control flow
               Shared, Local                              arrays of a block, of a thread
               Barrier, Fold, Scan                        what all threads of a block do together
               AtomicAdd, AtomicMax, GetVector, PutVector memory
               TensorProduct                              what a warp does on tensor cores

Conditions are index arithmetic (``Arith`` with ``<``, ``>=``, ``==``, ``and``, …) or boolean
elements. Barriers, folds and scans stand at the top of a kernel or inside loops whose bounds are
the same for all threads of a block; the emulator cuts a kernel there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphgrad.dtypes import DType

from .. import loopir as ir

WARP = 32
VECTOR_BYTES = 16  # a thread's widest load


@dataclass(frozen=True, slots=True)
class Thread:
    """The thread's number in its block."""


@dataclass(frozen=True, slots=True)
class Block:
    """The block's number."""


@dataclass(frozen=True, slots=True)
class When:
    """``body`` where the condition holds, else ``otherwise``."""

    condition: Any
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class While:
    condition: Any
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """``body`` for ``var`` = start, start + step, … below stop."""

    var: str
    start: Any
    stop: Any
    step: Any
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Comment:
    text: str


@dataclass(frozen=True, slots=True)
class Shared:
    """An array of ``size`` elements that the threads of a block share; at the top of a kernel."""

    name: str
    dtype: DType
    size: int


@dataclass(frozen=True, slots=True)
class Local:
    """An array of ``size`` elements of one thread: registers, where its indices are constants."""

    name: str
    dtype: DType
    size: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """No thread of the block goes on before all have come here."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Bind ``name`` to ``op`` over the values of a group's threads, in every thread of the group.

    With ``stride`` 1 a group is ``lanes`` threads in a row; else threads of equal number modulo
    ``stride``, which are ``lanes`` (so a block is stride·lanes). Folded as a binary tree: halves
    onto halves inside a warp, then across warps.
    """

    name: str
    op: str
    dtype: DType
    value: Any
    lanes: int
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Scan:
    """Bind ``name`` to ``op`` over the values of the group's threads up to this one, itself
    included; groups are ``lanes`` threads in a row."""

    name: str
    op: str
    dtype: DType
    value: Any
    lanes: int


@dataclass(frozen=True, slots=True)
class AtomicAdd:
    """``pointer[index] += value``, whichever threads do the same at once."""

    pointer: ir.Var
    index: Any
    value: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class AtomicMax:
    """``pointer[index] = max(pointer[index], value)``, likewise; of int32."""

    pointer: ir.Var
    index: Any
    value: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class GetVector:
    """Bind ``names`` to elements in a row, from an index that is a multiple of their number."""

    names: tuple[str, ...]
    pointer: ir.Var
    index: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class PutVector:
    """Store values in a row, from an index that is a multiple of their number."""

    pointer: ir.Var
    index: Any
    values: tuple[Any, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class TensorProduct:
    """Add to ``sums[at : at + 4]`` a thread's numbers of its warp's 16x8 product over 16 k.

    ``a`` and ``b`` are shared arrays of uint32, pairs of 16-bit floats (``dtype``) along k: row r
    of the first operand begins at word ``a_first + r·pitch``, column c of the second at
    ``b_first + c·pitch``. Thread t of a warp has rows t // 4 and t // 4 + 8 of columns t % 4 · 2
    and the next: the layout of PTX's mma.m16n8k16. All threads of a warp come here together.
    """

    sums: ir.Var
    at: Any
    a: ir.Var
    a_first: Any
    b: ir.Var
    b_first: Any
    pitch: int
    dtype: DType


COLLECTIVE = (Barrier, Fold, Scan)


@dataclass(frozen=True)
class GridKernel:
    """A kernel of blocks of ``block`` threads, ``resident`` of them at least on a multiprocessor;
    ``wide``: its indices need 64 bits.

    ``kinds`` are the first words of a call's slots. ``grouped``: the function is one over tables of
    slots (see `grouped`).
    """

    name: str
    about: str
    body: tuple[Any, ...]
    block: int
    wide: bool = False
    resident: int = 1
    kinds: tuple[str, ...] = ()
    grouped: bool = False

    @functools.cached_property
    def source(self) -> str:
        """numba-cuda source of a module that defines the kernel."""
        from .emit import emit

        return emit(self)

    @functools.cached_property
    def emulation(self) -> tuple[str, tuple[int, ...]]:
        """Source of the kernel for a CPU, and the bytes of the arrays that each chunk needs."""
        from .emulate import emulation

        return emulation(self)

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """How each slot is passed: "ptr", "i32", "i64", "f32" or "f64"."""
        scalars = {x.slot: x.dtype for x in walk(self.body) if isinstance(x, ir.Scalar)}
        kinds = []
        for k, kind in enumerate(self.kinds):
            if k in scalars:
                dtype = scalars[k]
                narrow = "f64" if dtype.itemsize == 8 else "f32"
                kinds.append(narrow if dtype.is_floating_point else "i64")
            elif kind == "int":
                kinds.append("i64" if self.wide else "i32")
            else:
                kinds.append("ptr")
        return tuple(kinds)

    @property
    def signature(self) -> tuple[str, ...]:
        """How the function's own parameters are passed."""
        return ("ptr", "i32") if self.grouped else self.parameters


def walk(x: Any) -> Iterator[Any]:
    """A statement or expression, or a tuple of them, and all that is inside, outermost first."""
    if isinstance(x, tuple):
        for item in x:
            yield from walk(item)
    elif dataclasses.is_dataclass(x):
        yield x
        for f in dataclasses.fields(x):
            yield from walk(getattr(x, f.name))


def shares(x: Any) -> bool:
    """Whether threads do something together in a statement."""
    return any(isinstance(part, COLLECTIVE) for part in walk(x))


def both(conditions: list[Any]) -> Any:
    """All of some conditions, None if there are none."""
    result = None
    for condition in conditions:
        result = condition if result is None else ir.Arith("and", result, condition)
    return result


def when(condition: Any, body: list[Any]) -> list[Any]:
    """Statements under a condition, if there is one."""
    return [When(condition, tuple(body))] if condition is not None and body else body
