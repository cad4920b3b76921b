"""What a compiled function's inputs and outputs are called in the user's program.

A trace knows tensors, not names: arguments are named by the function's signature, captured tensors
by the variables the function reads, results by what is done with them.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from .records import names_in


@dataclass(frozen=True)
class Labels:
    """Names of a graph's inputs and outputs, by position; an empty one is left to the graph."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    # Positions of inputs that the program writes: state, whatever else they are.
    written: frozenset[int] = frozenset()


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
    written = frozenset(entry.executable.aliases.values())
    return Labels(tuple(map(input_name, entry.sources)), tuple(outputs), written)


def _variables(function: Any) -> dict[str, Any]:
    """The variables a function reads from around it; for a Module, the module."""
    if hasattr(type(function), "named_parameters"):
        return {"self": function}
    if not inspect.isfunction(function):
        return {}
    around = inspect.getclosurevars(function)
    return {**around.globals, **around.nonlocals}


def _arguments(function: Any) -> list[str]:
    called = function.forward if hasattr(type(function), "named_parameters") else function
    return list(inspect.signature(called).parameters)
