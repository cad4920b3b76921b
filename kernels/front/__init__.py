"""The compiler of the kernel language: from a Python function to LLVM's text, in milliseconds.

    text = translate(function, "name")     # raises Unsupported for what is not in the language

Kernels, generated or written by hand, are plain functions over int64 tables, typed pointers and
numbers: assignments, `if`, `while`, `for … in range(…)`, arithmetic, tuples of fixed length, calls
of instructions (`kernels.abi`, `kernels.atomics`, `kernels.vecmath`) and of functions like
themselves, which are inlined. Every type follows from the operands, so one walk over the syntax
tree types and emits at once; numba, whose inference serves all of Python, takes 30 times as long
and 0.5 s to load. What is known is computed (`3 * at.LINE`, an attribute of a module, an `if` over
a closure's constant); what is not is emitted.

numba remains the reference: it compiles the same sources (`kernels.numba_front`), tests compare
the two, and it takes over for a kernel that leaves the language.
"""

from .function import translate
from .operands import Unsupported

__all__ = ["Unsupported", "translate"]
