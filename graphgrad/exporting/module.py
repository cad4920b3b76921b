"""The text of an exported file, from its parts."""

from __future__ import annotations

import pprint
from collections.abc import Sequence

import numpy as np

from .body import SMALL, Body
from .helpers import helper_texts
from .interface import Interface
from .kernels import Kernel
from .source import FunctionSource
from .text import apart, quoted, section

HELPERS = {
    "kernel": '''
def kernel(function):
    """A compiled loop over memory: arrays of any shape are handed to it flat."""
    compiled = njit(cache=True, error_model="numpy", fastmath=FASTMATH)(function)

    @functools.wraps(function)
    def call(*operands):
        compiled(*(x.reshape(-1) if isinstance(x, np.ndarray) else x for x in operands))

    return call
''',
    "given": '''
def given(name, x, dtype, shape, written=False):
    """An argument as an array; its type and shape are part of the code below."""
    array = np.asarray(x)
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} must be {np.dtype(dtype).name}{list(shape)}, not {array.dtype}"
            f"{list(array.shape)}: this file computes one shape; export again for another"
        )
    if written and not (array is x and x.flags.c_contiguous and x.flags.writeable):
        raise ValueError(f"{name} is written in place: it must be a contiguous, writeable array")
    return np.asarray(array, order="C")
''',
    "fixed": '''
def fixed(name, x, traced):
    """An argument that decided what was traced: there is code for this value only."""
    if type(x) is not type(traced) or x != traced:
        raise ValueError(f"{name} must be {traced!r}, as it was traced, not {x!r}; export again")
''',
    "place": '''
def place(offset, dtype, shape):
    """A contiguous array at some bytes into the arena."""
    count = int(np.prod(shape))
    return arena[offset : offset + count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
''',
    "check_range": '''
def check_range(where):
    """Raise what a kernel noted: an index outside of its dimension."""
    if error[0]:
        error[0] = 0
        raise IndexError(f"index out of range ({where})")
''',
    "save": '''
def save(path=FILE):
    """Write the state to a file, in one step; by default over the one it came from."""
    part = pathlib.Path(f"{path}.part")
    with part.open("wb") as file:
        np.savez(file, **arrays, **state)
    part.replace(path)
''',
    "load": '''
def load(path=FILE):
    """Read the state from a file that ``save`` wrote."""
    with np.load(path) as file:
        for name, array in state.items():
            array[...] = file[name]
''',
}


class Module:
    """The file of one exported function."""

    def __init__(
        self,
        name: str,
        stem: str,
        origin: str,
        version: str,
        face: Interface,
        body: Body,
        functions: FunctionSource,
    ) -> None:
        self.name, self.stem, self.origin, self.version = name, stem, origin, version
        self.face, self.body, self.functions = face, body, functions
        self.kernels: Sequence[Kernel] = body.kernels()
        # Before anything else is asked of the body: these lines name memory and constants.
        self.calls = body.lines()
        constants = body.constants.items()
        self.small = {k: v for k, v in constants if v.size <= SMALL and np.isfinite(v).all()}
        self.stored = {k: v for k, v in constants if k not in self.small}
        self.grads = {
            name: target for target, name in face.grads.values() if target.startswith("grads[")
        }

    def text(self, allocated: Sequence[str], returned: str) -> str:
        """The whole file; ``allocated`` are lines that make the arrays to be returned."""
        parts = [
            self._docstring(),
            "",
            *self._imports(),
            "",
            *self._arrays(),
            *self._memory(),
            *self._functions(),
            section("the calls"),
            "",
            "",
            f"def {self.name}({self.face.signature}):",
            f'    """One call of {self.name}: see the top of this file."""',
            *(f"    {line}" for line in (*self.face.arguments, *self.face.numbers, *allocated)),
            *self.calls,
            f"    return {returned}",
            "",
        ]
        return "\n".join(parts)

    def _docstring(self) -> str:
        face, has_state = self.face, bool(self.face.state)
        lines = [
            f"{self.name}, exported from {self.origin} by graphgrad {self.version}.",
            "",
            f"    import {self.stem}",
            "",
            f"    result = {self.stem}.{self.name}({face.signature})",
        ]
        if has_state:
            lines += [
                f'    {self.stem}.save("{self.stem}.npz")    # {self.stem}.state, as it is now',
            ]
        lines += [
            "",
            "NumPy and numba are all it needs. Types and shapes are those of the trace; others",
            "raise a ValueError. One call at a time: calls share their memory.",
        ]
        if has_state:
            lines += [
                "``state`` holds the arrays that outlive a call, by name: assign into them. They",
                f"are read from {self.stem}.npz beside this file; keep the two together.",
            ]
        if self.grads:
            lines.append("``grads`` holds what .grad was after the last call.")
        if face.option_values():
            lines.append("``options`` holds the optimizer's numbers, to be changed at will.")
        lines += [
            "",
            "From top to bottom: arrays, memory, kernels, calls. A kernel is a loop that numba",
            "compiles; set NUMBA_DISABLE_JIT=1 and a debugger steps through it.",
        ]
        return '"""' + "\n".join(lines) + '\n"""'

    def _imports(self) -> list[str]:
        lines = {"import numpy as np", *self.functions.imports}
        if self.kernels:
            lines |= {"import functools", "from numba import njit"}
        if any("math." in helper_texts()[h] for k in self.kernels for h in k.helpers):
            lines.add("import math")
        if self._has_file:
            lines.add("import pathlib")
        if self.face.state or self.grads:
            lines.add("import types")
        known = ("functools", "math", "pathlib", "types")
        standard = sorted(x for x in lines if x.split()[1] in known)
        others = sorted(lines - set(standard), key=lambda x: (x.startswith("from"), x))
        return [*standard, *([""] if standard else []), *others]

    @property
    def _has_file(self) -> bool:
        return bool(self.face.state or self.stored)

    def _arrays(self) -> list[str]:
        """The state, constants and options."""
        lines = [section("arrays"), ""]
        if self._has_file:
            lines += [
                'FILE = pathlib.Path(__file__).with_suffix(".npz")',
                "with np.load(FILE) as file:",
                "    arrays = dict(file)",
            ]
        lines += [f'{name} = arrays["{name}"]' for name in self.stored]
        for name, value in self.small.items():
            text = f"np.array({value.tolist()}, np.{value.dtype.name})"
            lines.append(f"{name} = {text}" + f".reshape({value.shape})" * (not value.size))
        if self.face.state:
            kept = ", ".join(quoted(name) for name in self.stored)
            unstated = f" if name not in ({kept},)" if kept else ""
            lines += [
                f"state = types.MappingProxyType({{name: arrays.pop(name) for name in [*arrays]"
                f"{unstated}}})",
            ]
        if self.grads:
            lines += ["grads = types.MappingProxyType(", "    {"]
            for position, (target, name) in self.face.grads.items():
                if target.startswith("grads["):
                    y = self.face.entry.graph.outputs[position]
                    zeros = f"np.zeros({y.shape}, np.{y.dtype.name})"
                    lines.append(f"        {quoted(name)}: {zeros},")
            lines += ["    }", ")"]
        if options := self.face.option_values():
            lines.append(f"options = {pprint.pformat(options, width=80, sort_dicts=False)}")
        return [*lines, "", ""] if len(lines) > 2 else []

    def _memory(self) -> list[str]:
        lines = []
        places = [*self.body.places, *self.body.scratch_lines()]
        if places:
            total = self.body.nbytes + self.body.scratch_bytes
            lines += [
                section("memory"),
                "",
                "# One block for all values on the way; those that never live at once share bytes.",
                f"arena = np.empty({total}, np.uint8)",
                "",
                HELPERS["place"],
                "",
                *places,
            ]
        if any(k.has_error for k in self.kernels):
            lines.append("error = np.zeros(1, np.int64)  # not 0: an index was out of range")
        return [*lines, "", ""] if lines else []

    def _functions(self) -> list[str]:
        lines = []
        names = ["given"] * any("given(" in x for x in self.face.arguments)
        names += ["fixed"] * any(x.startswith("fixed(") for x in self.face.arguments)
        names += ["check_range"] * any("check_range(" in x for x in self.calls)
        names += ["save", "load"] if self.face.state else []
        texts = [HELPERS[name] for name in names] + list(self.functions.texts.values())
        if texts:
            lines += [section("functions"), "", "", *apart(texts)]
        if self.kernels:
            used = dict.fromkeys(h for k in self.kernels for h in sorted(k.helpers))
            texts = [HELPERS["kernel"], *(helper_texts()[h] for h in used)]
            texts += [k.text() for k in self.kernels]
            fast = '{"contract", "reassoc", "nsz", "arcp", "afn"}  # NaN and infinity are values'
            lines += [section("kernels"), "", f"FASTMATH = {fast}", "", "", *apart(texts)]
        return lines
