"""What goes wrong, in at most ten lines: the user's line, the operation, the shapes, what to do.

``Origin`` is a place in the user's program; ``here()`` finds the innermost frame outside graphgrad.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from types import CodeType, FrameType
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_ROOTS: tuple[str, ...] = (_PACKAGE, os.path.join(os.path.dirname(_PACKAGE), "kernels"))
_ROOTS += (os.path.join(os.path.dirname(_PACKAGE), "viz"),)
# Shipped programs are user code: their lines are what a reader of a graph wants to see.
_USER = tuple(os.path.join(_PACKAGE, part) for part in ("examples", "bench"))
_is_ours: dict[str, bool] = {}


class GraphError(RuntimeError):
    """An operation that cannot be built or run; the message names line, operation and shapes."""


class ShapeError(GraphError):
    """Operands whose shapes do not fit the operation."""


class DTypeError(GraphError):
    """Operands whose element types do not fit the operation."""


class TraceError(GraphError):
    """Something a static graph cannot hold, met while tracing."""


class AnomalyError(GraphError):
    """A NaN, met in anomaly mode; the message names the operation that made the first one."""


class RangeError(IndexError, RuntimeError):
    """An index outside its dimension; for PyTorch's gather and scatter that is a RuntimeError."""


class VerificationError(AssertionError):
    """A graph that breaks the type rules, or a kernel that disagrees with the interpreter."""


# The phase of an Origin that belongs to a gradient.
BACKWARD = "backward"
# The output of an Origin that adds up gradients which reach one value by several ways.
SUM = -2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the user's program, and in which module, an operation was called.

    What belongs to a gradient points at the line it derives from: ``record`` is PyTorch's name of
    the backward function, ``output`` the operand whose gradient it is (or SUM). What a user's own
    backward does is at a line of its own, and derives from ``parent``. ``sequence`` counts up.
    """

    code: CodeType | None = None
    offset: int = -1
    module: str = ""
    composite: str = ""
    phase: str = ""
    record: str = field(default="", compare=False)
    output: int = field(default=-1, compare=False)
    parent: Origin | None = field(default=None, compare=False)
    sequence: int = field(default_factory=count().__next__, compare=False, repr=False)

    def of_output(self, output: int) -> Origin:
        """The same place, for the gradient of one operand."""
        place = (self.code, self.offset, self.module, self.composite, self.phase)
        return Origin(*place, self.record, output, self.parent)

    def quote(self) -> str:
        """``"train.py", line 12, in step: y = x.log()``"""
        if self.code is None:
            return "(line unknown)"
        text = linecache.getline(self.file, self.line).strip()
        return f'"{self.file}", line {self.line}, in {self.function}: {text}'

    @property
    def file(self) -> str:
        """The file of the line that called the operation."""
        return self.code.co_filename if self.code else "<unknown>"

    @property
    def function(self) -> str:
        """The function that the line is in; empty where unknown."""
        return self.code.co_name if self.code else ""

    @property
    def line(self) -> int:
        """The number of the line; 0 where unknown."""
        if self.code is None:
            return 0
        for start, stop, line in _line_table(self.code):
            if start <= self.offset < stop:
                return line
        return self.code.co_firstlineno

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


UNKNOWN = Origin()


def _line_table(code: CodeType) -> Iterable[tuple[int, int, int]]:
    return ((start, stop, line or 0) for start, stop, line in code.co_lines())


def is_ours(filename: str) -> bool:
    """Whether a file belongs to graphgrad itself (its example programs do not)."""
    known = _is_ours.get(filename)
    if known is None:
        path = os.path.abspath(filename)
        known = path.startswith(_ROOTS) and not path.startswith(_USER)
        _is_ours[filename] = known
    return known


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame that is not graphgrad's."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def here(module: str = "", composite: str = "") -> Origin:
    """The user's line that is running now."""
    frame = user_frame(2)
    if frame is None:
        return Origin(None, -1, module, composite)
    return Origin(frame.f_code, frame.f_lasti, module, composite)


def describe(operand: Any) -> str:
    """``float32[2, 3]`` for anything with a shape and a dtype, else its repr."""
    if hasattr(operand, "shape") and hasattr(operand, "dtype"):
        name = getattr(operand.dtype, "name", str(operand.dtype))
        place = getattr(operand.dtype, "device", None)
        where = "" if place is None else f" on {place}"
        return f"{name}[{', '.join(map(str, operand.shape))}]{where}"
    return repr(operand)


def message(reason: str, op: str = "", operands: Iterable[Any] = (), hint: str = "") -> str:
    """Compose an error text: reason, the user's line, operation and operands, what to do."""
    origin = here()
    lines = [reason]
    if op:
        lines.append(f"  operation: {op}({', '.join(describe(x) for x in operands)})")
    if origin.code is not None:
        lines.append(f'  at: "{origin.file}", line {origin.line}, in {origin.function}')
    if hint:
        lines.append(f"  hint: {hint}")
    return "\n".join(lines)
