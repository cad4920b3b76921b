"""Functions that compile to a few instructions: the words of the kernel language.

@instruction(plain)                   # a call of `plain` in a kernel runs `emit`
def emit(builder, table, index): ...  # operands as `front.operands` lists them

@machine_instruction(literals=1)      # no plain form: the call is the emitter
def load_lanes(builder, dtype, address): ...    # LLVM int64s after the literals
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..vecmath.value import Value
from .operands import Unsupported, is_static, word


def instruction(plain: Any) -> Callable:
    """Decorates what emits a call of `plain`, and returns its operand (None: nothing)."""

    def decorate(emit: Callable) -> Callable:
        plain.emit = emit
        return emit

    return decorate


def machine_instruction(literals: int = 0) -> Callable:
    """Decorates an emitter over LLVM int64 values, the first `literals` arguments being known.

    Tuples among its arguments stay tuples; what it returns, if anything, is an LLVM int64.
    """

    def decorate(emit: Callable) -> Callable:
        def emit_call(builder: ir.IRBuilder, *operands: Any) -> Value | None:
            known, rest = operands[:literals], operands[literals:]
            if not is_static(known):
                raise Unsupported(f"{emit.__name__} of what is not known while compiling")
            result = emit(builder, *known, *(_words(builder, x) for x in rest))
            return None if result is None else Value(builder, "int64", result)

        emit.emit = emit_call  # type: ignore[attr-defined]
        return emit

    return decorate


def _words(builder: ir.IRBuilder, x: Any) -> Any:
    return [word(builder, item) for item in x] if isinstance(x, tuple) else word(builder, x)
