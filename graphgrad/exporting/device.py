"""A compiled function on a GPU as a file: launches in their order, with machine code beside it.

    text, arrays = exported_on_device(compiled, entry, "step", ("sm_80", "sm_90"))

The file needs NumPy and cuda.core. Its state lives in the device's memory; arguments and results
are NumPy arrays. The second call records all launches as one CUDA graph, which later calls replay.
"""

from __future__ import annotations

import functools
import linecache
import os
import pprint
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad.compile import optimise, plan_graph
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.ir import Graph, Node
from graphgrad.passes.memory import assign, best_fit
from graphgrad.tensor.place import on_device, to_host

from .device_text import FUNCTIONS, HEAD, RESERVED, RUN
from .interface import Interface
from .module import HELPERS
from .names import RESERVED as COMMON
from .names import Names
from .source import FunctionSource
from .statements import expression, scalar
from .text import apart, broken, quoted, section, wrapped

REGION = 40  # bits of an address below those that say which buffer it is in


def exported_on_device(
    compiled: Any, entry: Any, stem: str, architectures: Sequence[str]
) -> tuple[str, dict[str, np.ndarray]]:
    """The text of the file, and the arrays beside it: state, constants and machine code.

    Raises NotImplementedError for control flow and host calls, which no list of launches holds.
    """
    return _DeviceFile(compiled, entry, stem, architectures).written()


class _Face(Interface):
    """An Interface whose state is Arrays: what is returned of it is copied to the host."""

    returning = False

    def keep(self, name: str, array: Any) -> str:
        text = super().keep(name, array)
        return f"host_of({text})" if self.returning else text

    def returned(self, outputs: Sequence[str]) -> str:
        self.returning = True
        return super().returned(outputs)


class _DeviceFile:
    """What is known of one file while it is written."""

    def __init__(self, compiled: Any, entry: Any, stem: str, architectures: Sequence[str]) -> None:
        self.entry, self.stem, self.architectures = entry, stem, architectures
        self.function = compiled.__wrapped__
        self.names = Names(COMMON | RESERVED)
        base = getattr(self.function, "__name__", "forward").replace("<lambda>", "function")
        self.name = self.names.fresh(base)
        self.functions = FunctionSource(self.names.fresh)
        self.face = _Face(self.function, entry, self.names, self.functions)
        count = len(entry.graph.outputs) if entry.way is None else entry.way.outputs
        self.graph = Graph(entry.graph.inputs, entry.graph.outputs[:count], compiled.name)
        self.aliases: Mapping[int, int] = entry.executable.aliases
        self.arrays: dict[str, np.ndarray] = {}
        self.kernels: dict[Any, tuple[str, str]] = {}
        self.memory: list[str] = []
        self.before: list[str] = []
        self.after: list[str] = []

    def written(self) -> tuple[str, dict[str, np.ndarray]]:
        """The file."""
        program, walk = self._program()
        inputs = [self._input(i, x) for i, x in enumerate(self.face.inputs)]
        outputs = self._outputs(inputs)
        for k, x in enumerate(program.constants):
            self.arrays[f"constant {k}"] = x
        buffers = ["arena", *inputs, *(outputs[p] for p in self._own)]
        buffers += [f"constants[{k}]" for k in range(len(program.constants))]
        calls = self._calls(walk, [*buffers, "errors"])
        self._host_part()
        returned = self.face.returned([f"{y}.host()" for y in outputs])
        for name, x in self.face.state.items():
            self.arrays[f"state {name}"] = to_host(x)
        text = self._text(program, walk, calls, returned)
        return text, self.arrays

    # ---- the program, for every architecture

    def _program(self) -> tuple[Any, Any]:
        from graphgrad.kernels.build import build
        from graphgrad.kernels.cuda.flatten import Walk
        from graphgrad.kernels.cuda.modules import compile_modules
        from graphgrad.kernels.cuda.target import listing_target
        from graphgrad.kernels.draft import Planner

        made: dict[str, dict[Any, Any]] = {}

        def compile_all(keys: Any) -> Any:
            keys = list(keys)
            for arch in self.architectures:
                made[arch] = compile_modules(keys, arch)
            return made[self.architectures[0]]

        place = self.entry.executable.device
        planner = Planner(functools.partial(plan_graph, device=place), assign, best_fit)
        with config.scope(cuda_blas="own", cuda_dnn="own"):
            plan = plan_graph(optimise(self.graph), self.aliases, device=place)
            target = listing_target(compile_all)
            program, making = build(plan, planner, self.aliases, (), target)  # type: ignore[misc]
        kernels = {kernel.address: kernel.keep for kernel in program.kernels}
        walk = Walk(program, kernels)
        if not walk.is_straight:
            raise NotImplementedError(
                f"{self.name} has branches, while loops or parts that run in Python: a file of "
                "launches cannot hold them; export it from the CPU"
            )
        for arch, by_key in made.items():
            for key, kernel in by_key.items():
                self._keep_code(key, arch, kernel.keep)
        first = made[self.architectures[0]]
        self._key_of = {id(kernel.keep): key for key, kernel in first.items()}
        self._regions = making.row_regions
        return program, walk

    def _keep_code(self, key: Any, arch: str, module: Any) -> None:
        if key not in self.kernels:
            self.kernels[key] = (self.names.fresh(module.entry), module.entry)
        name, _ = self.kernels[key]
        self.arrays[f"{name} {arch}"] = np.frombuffer(module.code, np.uint8)

    # ---- inputs and outputs

    def _input(self, number: int, text: str) -> str:
        """The Array that a graph's input is, and the line that fills it at each call."""
        if text.startswith("state["):
            source = self.entry.sources[number]
            if on_device(source.fetch(())):
                return text
            return self._filled(text[7:-2], text, self.graph.inputs[number])
        name = self._filled(text, text, self.graph.inputs[number])
        if number in self.aliases.values():
            self.after.append(f"{text}[...] = {name}.host()")
        return name

    def _filled(self, base: str, text: str, x: Node) -> str:
        name = self.names.fresh(f"{base}_there")
        self.memory.append(f"{name} = Array({x.shape}, np.{_numpy_name(x)})")
        self.before.append(f"{name}.fill({text})")
        return name

    def _outputs(self, inputs: Sequence[str]) -> list[str]:
        """The Array of each output: state, a gradient, or one of its own."""
        outputs = [""] * len(self.graph.outputs)
        for position, source in self.aliases.items():
            outputs[position] = inputs[source]
        self._own = [p for p in range(len(outputs)) if p not in self.aliases]
        for position in self._own:
            y = self.graph.outputs[position]
            name = outputs[position] = self.names.fresh("result")
            self.memory.append(f"{name} = Array({y.shape}, np.{_numpy_name(y)})")
            target, kept = self.face.grads.get(position, ("", ""))
            if target:
                self.memory.append(f"grads[{quoted(kept)}] = {name}")
            if target.startswith("state["):
                self.after.append(f"move({target}, {name})")
        return outputs

    def _host_part(self) -> None:
        """Lines of what the host counts: the steps of an optimizer."""
        part = self.entry.host
        if part is None:
            return
        text: dict[Node, str] = {}
        for x, source in zip(part.graph.inputs, part.sources, strict=True):
            text[x] = self.face.keep(self.face._owner(source), source.fetch(()))
        for x in part.graph.nodes:
            if x in text:
                continue
            if x.op.kind == "source":
                text[x] = scalar(x)
            else:
                operands = [text[i] for i in x.inputs]
                text[x] = f"({expression(x.op.name, operands, x.attrs, x, self.functions)})"
        for target, y in zip(part.targets, part.graph.outputs, strict=True):
            kept = self.face.keep(self.face._owner(target), target.fetch(()))
            self.after.append(f"{kept}[...] = {text[y]}")

    # ---- launches

    def _calls(self, walk: Any, buffers: Sequence[str]) -> list[str]:
        """A line a launch, below the lines of the user's program that it computes."""
        bases = [(k + 1) << REGION for k in range(len(buffers))]
        lines: list[str] = []
        said: tuple[str, ...] = ()
        for step in walk.steps(bases):
            above = _written(self._regions.get(step.row, ()))
            if above != said and above:
                lines += ["", *(f"    # {line}" for line in above)]
                said = above
            name, _ = self.kernels[self._key_of[id(step.kernel)]]
            arguments = [
                _argument(kind, value, buffers)
                for kind, value in zip(step.kernel.parameters, step.arguments, strict=True)
            ]
            lines += wrapped("    ", f"{name}(", ["queue", str(step.grid), *arguments], ")")
        return lines or ["    pass"]

    # ---- the text

    def _text(self, program: Any, walk: Any, calls: list[str], returned: str) -> str:
        face = self.face
        where = [_place(self._regions.get(row, ())) for row in walk.failing]
        checks = [f"check({where!r})"] if where else []
        body = [*face.arguments, *face.numbers, *self.before, "run()", *checks, *self.after]
        helpers = [HELPERS[n] for n in ("given", "fixed") if any(f"{n}(" in x for x in body)]
        options = face.option_values()
        shaped = pprint.pformat(options, width=80, sort_dicts=False)
        parts = [
            self._docstring(bool(options)),
            "",
            *sorted({"import ctypes", "import pathlib", *self.functions.imports}),
            "",
            "import numpy as np",
            "from cuda.bindings import driver",
            "from cuda.core import Device, LaunchConfig, ObjectCode, launch",
            "",
            section("the device"),
            self._head(program, walk),
            *self.memory,
            *([f"options = {shaped}"] if options else []),
            "",
            "",
            section("functions"),
            "",
            "",
            *apart([*helpers, *FUNCTIONS, *self.functions.texts.values()]),
            section("kernels"),
            "",
            *(row for key in self.kernels for row in broken("", self._kernel_line(key))),
            "",
            "",
            section("the calls"),
            "",
            "",
            "def calls(queue):",
            '    """All launches, in their order."""',
            *calls,
            RUN,
            "",
            f"def {self.name}({face.signature}):",
            f'    """One call of {self.name}: see the top of this file."""',
            *(row for line in body for row in broken("    ", line)),
            f"    return {returned}",
            "",
        ]
        return "\n".join(parts)

    def _head(self, program: Any, walk: Any) -> str:
        on_host = sorted(name for name, x in self.face.state.items() if not on_device(x))
        words = {
            "CELLS": max(len(walk.failing), 1),
            "BYTES": max(program.arena_bytes, 1),
            "HOST_NAMES": tuple(on_host),
        }
        text = HEAD
        for word, value in words.items():
            text = text.replace(word, pprint.pformat(value, width=84))
        return text

    def _kernel_line(self, key: Any) -> str:
        name, entry = self.kernels[key]
        return f'{name} = kernel("{name}", "{entry}", {key.block})'

    def _docstring(self, has_options: bool) -> str:
        code = getattr(getattr(self.function, "forward", self.function), "__code__", None)
        file = os.path.basename(code.co_filename) if code else type(self.function).__name__
        origin = f"{file}:{code.co_firstlineno}" if code else file
        lines = [
            f"{self.name}, exported from {origin} for {', '.join(self.architectures)}.",
            "",
            f"    import {self.stem}",
            "",
            f"    result = {self.stem}.{self.name}({self.face.signature})",
            f"    {self.stem}.save()    # the state as it is now, into {self.stem}.npz",
            "",
            "NumPy and cuda.core are all it needs: machine code, state and constants are read from",
            f"{self.stem}.npz beside this file. Arguments and results are NumPy arrays of the",
            "traced types and shapes. ``state`` is what outlives a call: ``state[name].host()``",
            "copies it, ``.fill(x)`` replaces it; ``grads`` is what .grad was after the last call.",
        ]
        if has_options:
            lines.append("``options`` holds the optimizer's numbers, to be changed at will.")
        lines += [
            "",
            "The first call launches one kernel after the other, the second records the launches",
            "as one CUDA graph, and all later ones replay that.",
        ]
        return '"""' + "\n".join(lines) + '\n"""'


def _numpy_name(x: Node) -> str:
    if x.dtype.numpy.kind == "V":
        raise NotImplementedError(f"an exported file has no NumPy type for {x.dtype.name}")
    return "bool_" if x.dtype.name == "bool" else x.dtype.name


def _argument(kind: str, value: Any, buffers: Sequence[str]) -> str:
    """One argument of a launch as text."""
    if kind != "ptr":
        return f"{kind}({value.value!r})"
    number, offset = (value >> REGION) - 1, value & ((1 << REGION) - 1)
    pointer = f"{buffers[number]}.pointer"
    return f"{pointer} + {offset}" if offset else pointer


def _written(regions: Sequence[Any]) -> tuple[str, ...]:
    """The user's lines that some regions compute."""
    origins = dict.fromkeys(
        x.origin for region in regions for x in region.nodes if x.origin.code is not None
    )
    lines = (f"{o}: {linecache.getline(o.file, o.line).strip()}".rstrip(": ") for o in origins)
    return tuple(dict.fromkeys(lines))[:3]


def _place(regions: Sequence[Any]) -> str:
    """Where a row that may fail is written."""
    found = (str(x.origin) for r in regions for x in r.nodes if x.origin.code)
    return next(found, "the traced function")


def architectures_of(place: device) -> tuple[str, ...]:
    """What a file is made for: ``config.cuda_archs``, the GPU's own, or on the emulator two."""
    from graphgrad.kernels.cuda.driver import driver

    if config.cuda_archs:
        return tuple(config.cuda_archs.split(","))
    return ("sm_80", "sm_90") if driver().emulated else (driver().arch(place.index or 0),)
