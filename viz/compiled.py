"""What a compiled function's inputs and outputs are called in the user's program.

A trace knows tensors, not names: arguments are named by the function's signature, captured tensors
by the variables the function reads, results by what is done with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .records import names_in, types_in


@dataclass(frozen=True)
class Labels:
    """Names of a graph's inputs and outputs, by position; an empty one is left to the graph."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    # Positions of inputs that the program writes: state, whatever else they are.
    written: frozenset[int] = frozenset()
    # The class of every module the function reaches, by its dotted path: {"Net.fc": "Linear"}.
    types: Mapping[str, str] = field(default_factory=dict)
    # The optimizer that updates the parameters.
    optimizer: str = ""


NONE = Labels()


def tensor_names(function: Any) -> dict[int, str]:
    """Names by ``id`` of the tensors that a function reads from around it."""
    return names_in(_variables(function))


def labels(function: Any, entry: Any) -> Labels:
    """The names for one trace (``entry``) of a compiled function."""
    names = tensor_names(function)
    arguments = _arguments(function)

    def owner(source: Any) -> str:
        if source.tensor is not None:
            return names.get(id(source.tensor), "")
        known = 0 <= source.argument < len(arguments)
        return arguments[source.argument] if known else f"argument {source.argument}"

    def input_name(source: Any) -> str:
        if source.kind in ("number", "float"):
            return owner(source) if source.number is None else ""
        name = owner(source)
        return f"{name}.grad" if source.kind == "grad" and name else name

    outputs = [""] * len(entry.executable.graph.outputs)
    returned = [r.number for r in entry.results if r.kind == "output"]
    for i, number in enumerate(returned):
        outputs[number] = "result" if len(returned) == 1 else f"result {i}"
    for source, number in entry.grads:
        if number is not None and owner(source):
            outputs[number] = f"{owner(source)}.grad"
    for position, source in entry.executable.aliases.items():
        outputs[position] = f"{input_name(entry.sources[source])} updated".strip()
    return Labels(
        tuple(map(input_name, entry.sources)),
        tuple(outputs),
        frozenset(entry.executable.aliases.values()),
        module_types(function),
        _optimizer(entry.sources),
    )


def module_types(function: Any) -> dict[str, str]:
    """The class names of the modules a function reaches, as their calls are called in a trace."""
    return types_in(_variables(function))


def _optimizer(sources: Any) -> str:
    """The class of the optimizers whose numbers, such as the learning rate, a trace reads."""
    parts = (getattr(s.number, "parts", None) for s in sources)
    return ", ".join(dict.fromkeys(type(p[1]).__name__ for p in parts if p is not None))


# How deep functions that a function calls are looked into for modules and tensors.
_DEPTH = 3


def _variables(function: Any, depth: int = _DEPTH) -> dict[str, Any]:
    """What a function reads from around it, and what the functions among that read.

    For a Module, or a method of one, the module.
    """
    function = getattr(function, "__self__", function)
    if hasattr(type(function), "named_parameters"):
        return {"self": function}
    if not inspect.isfunction(function):
        return {}
    around = inspect.getclosurevars(function)
    found = {**around.globals, **around.nonlocals}
    for value in list(found.values()) if depth else ():
        if value is not function and (inspect.isfunction(value) or inspect.ismethod(value)):
            found = _variables(value, depth - 1) | found
    return found


def _arguments(function: Any) -> list[str]:
    called = function.forward if hasattr(type(function), "named_parameters") else function
    return list(inspect.signature(called).parameters)
