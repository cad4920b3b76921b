"""gg.export: a compiled function as one readable Python file and its arrays.

    step(images, labels)                     # a compiled function, called at least once
    gg.export(step, "step.py")               # step.py, and step.npz with parameters and state
    gg.export(model, "model.py", images)     # a Module or plain function, with example arguments

The file needs NumPy and numba, not graphgrad: generated kernels, a planned block of memory, and the
sequence of calls. An exported train step trains: what it changes is the file's ``state``.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphgrad.compile import optimise, plan_graph
from graphgrad.device import CPU
from graphgrad.ir import Graph
from graphgrad.jit import Compiled, compile
from graphgrad.passes.memory import assign, best_fit

from .body import Body, ExportContext
from .device import architectures_of, exported_on_device
from .flow import FLOW
from .interface import Interface
from .module import Module
from .names import Names
from .source import FunctionSource

__all__ = ["export"]


def export(function: Any, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> pathlib.Path:
    """Write ``function`` to ``path`` (a ``.py``), its arrays to the ``.npz`` beside it.

    A compiled function that was called is exported as it was traced last; anything else, or another
    shape, with example arguments: they are traced, nothing runs. Returns the path.

    What runs on a CUDA device becomes a file of launches that needs NumPy and cuda.core, with
    machine code for ``config.cuda_archs`` (the device's own, unless set) beside it.

    Raises ValueError for a path that is no ``.py`` or a function without a trace, OSError where the
    files cannot be written, NotImplementedError for what a file cannot hold (host functions,
    arguments that are neither arrays nor numbers).
    """
    path = pathlib.Path(path)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(f"{path.name!r} is no name for a Python module: end it in .py")
    compiled = function if isinstance(function, Compiled) else compile(function)
    entry = compiled.trace(*args, **kwargs)
    place = entry.executable.device
    if place is CPU:
        text, arrays = _exported(compiled, entry, path.stem)
    else:
        text, arrays = exported_on_device(compiled, entry, path.stem, architectures_of(place))
    if arrays:
        _write(path.with_suffix(".npz"), lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    _write(path, lambda file: file.write(text.encode()))
    return path


def _exported(compiled: Compiled, entry: Any, stem: str) -> tuple[str, dict[str, np.ndarray]]:
    """The text of the file, and the arrays beside it."""
    from graphgrad import __version__
    from graphgrad.kernels.draft import Planner, draft_plan

    function = compiled.__wrapped__
    names = Names()
    name = names.fresh(getattr(function, "__name__", "forward").replace("<lambda>", "function"))
    functions = FunctionSource(names.fresh)
    face = Interface(function, entry, names, functions)
    # Without what only a backward pass outside of the function would read.
    count = len(entry.graph.outputs) if entry.way is None else entry.way.outputs
    graph = Graph(entry.graph.inputs, entry.graph.outputs[:count], compiled.name)
    aliases: Mapping[int, int] = entry.executable.aliases
    plan = plan_graph(optimise(graph), aliases)
    context = ExportContext(Planner(plan_graph, assign, best_fit))
    draft = draft_plan(plan, context, aliases, (), commit=True)
    body = Body(names, functions, FLOW)
    inputs, lines = _inputs(face, names)
    outputs = [""] * count
    for position, (target, _) in face.grads.items():
        outputs[position] = target
    for position, source in aliases.items():
        outputs[position] = inputs[source]
    for position, y in enumerate(graph.outputs):
        if not outputs[position]:
            outputs[position] = names.fresh("result")
            lines.append(f"{outputs[position]} = np.empty({y.shape}, np.{y.dtype.name})")
    body.graph(draft, inputs, outputs)
    returned = face.returned(outputs)
    origin = _origin(function)
    module = Module(name, stem, origin, __version__, face, body, functions)
    return module.text(lines, returned), {**module.stored, **face.state}


def _inputs(face: Interface, names: Names) -> tuple[list[str], list[str]]:
    """What the graph's inputs are called inside the function, and the lines that bind them."""
    found, lines = [], []
    for text in face.inputs:
        if text.startswith("state["):
            name = names.fresh(text[7:-2])
            lines.append(f"{name} = {text}")
            text = name
        found.append(text)
    return found, lines


def _origin(function: Any) -> str:
    """Where the function is written."""
    code = getattr(getattr(function, "forward", function), "__code__", None)
    if code is None:
        return f"a {type(function).__name__}"
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"


def _write(path: pathlib.Path, write: Any) -> None:
    """Write a file in one step: nobody sees half of one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            write(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
