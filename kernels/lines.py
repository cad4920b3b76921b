"""Which lines of a kernel's source belong to which node of its region.

for kernel in Sources().of(step):           # a Step of a draft
    kernel.source, kernel.lines[node]       # text, numbers from 1 of the lines that make the node
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graphgrad.ir import Node
from graphgrad.regions import LOOP, Region

from .contract.kernels import engine_recipe
from .contract_build import ContractCall
from .draft import Step, kernel_keys
from .lower import KernelCall, lower_region
from .lower.loops import Watch, watching
from .lower.memo import structure
from .lower.nest import Nest
from .lower.values import Value

# ``name = …`` binds a value, ``… = name`` stores it.
_BINDING = re.compile(r"\s*(\w+)(?:\[\w+\])? = ")
_STORING = re.compile(r".*\] = (?:np\.uint8\()?(\w+)")


@dataclass(frozen=True)
class Source:
    """One kernel: its name, text, and the lines of each node.

    ``path`` is where the text lies, for a kernel of the engine, which no node has lines in.
    """

    name: str
    source: str
    path: str = ""
    lines: dict[Node, tuple[int, ...]] = field(default_factory=dict)


class Sources:
    """The kernels of steps, each structure lowered once: layers are mostly alike."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[tuple[Node, ...], list[Source]]] = {}

    def of(self, step: Step, inplace: Mapping[Node, Node] | None = None) -> list[Source]:
        """The kernels that a step calls, in order; ``inplace`` as it was lowered with."""
        if all(isinstance(call, ContractCall) for call in step.calls):
            return _of_engine(step)
        loop = step.region.kind == LOOP and all(isinstance(c, KernelCall) for c in step.calls)
        found = self._loop(step, inplace) if loop else []
        if [k.source for k in found] == [getattr(call, "source", "") for call in step.calls]:
            return found
        # Another device's: their text, as far as it is not a library's.
        return [Source(c.name, c.source) for c in step.calls if getattr(c, "source", "")]

    def _loop(self, step: Step, inplace: Mapping[Node, Node] | None) -> list[Source]:
        order, key = structure(step.region, dict(inplace or {}))
        if key not in self._known:
            self._known[key] = order, generated(step.region, dict(inplace or {}))
        then, kernels = self._known[key]
        now = dict(zip(then, order, strict=True))
        return [replace(k, lines={now.get(x, x): at for x, at in k.lines.items()}) for k in kernels]


def generated(region: Region, inplace: Mapping[Node, Node]) -> list[Source]:
    """The sources of a loop region, lowered once more to see which name is which node."""
    with watching() as watch:
        calls = lower_region.__wrapped__(region, inplace)  # type: ignore[attr-defined]
    named = _named(watch)
    found = dict(watch.kernels)
    result = []
    for call in calls:
        # A root may hand on a call with other slots: its text is what tells.
        nest = found.get(call) or next(
            (n for c, n in watch.kernels if c.source == call.source), None
        )
        names = {} if nest is None else _names(nest)
        values = {name: watch.stands_for.get(v, v) for name, v in names.items()}
        lines = _lines(call.source, {name: named.get(v, []) for name, v in values.items()})
        result.append(Source(call.name, call.source, "", lines))
    return _with_roots(region, result)


def _with_roots(region: Region, kernels: list[Source]) -> list[Source]:
    """A pad, concat, scatter, … is no value of a loop but what a kernel does: its stores."""
    known = {x for kernel in kernels for x in kernel.lines}
    for kernel in kernels:
        stores = [i for i, s in enumerate(kernel.source.splitlines(), 1) if _STORING.match(s)]
        kernel.lines.update({y: tuple(stores) for y in region.outputs if y not in known})
    return kernels


def _names(nest: Nest) -> dict[str, Value]:
    """What each name in a kernel holds."""
    bound = {name: v for v, names in nest.names.items() for name in names}
    return bound | {var.name: v for v, var in (nest.sums | nest.saved).items()}


def _named(watch: Watch) -> dict[Value, list[Node]]:
    found: dict[Value, list[Node]] = {}
    for trace in watch.traces:
        for x, v in trace.nodes():
            nodes = found.setdefault(v, [])
            if x not in nodes:
                nodes.append(x)
    return found


def _lines(source: str, nodes: Mapping[str, list[Node]]) -> dict[Node, tuple[int, ...]]:
    found: dict[Node, list[int]] = {}
    for number, line in enumerate(source.splitlines(), 1):
        names = [m[1] for m in (_BINDING.match(line), _STORING.match(line)) if m]
        for x in dict.fromkeys(x for name in names for x in nodes.get(name, ())):
            found.setdefault(x, []).append(number)
    return {x: tuple(numbers) for x, numbers in found.items()}


def _of_engine(step: Step) -> list[Source]:
    found = []
    for key in dict.fromkeys(key for call in step.calls for key in kernel_keys(call)):
        recipe = engine_recipe(key)
        path = recipe.path or ""
        text = pathlib.Path(path).read_text() if path else recipe.source
        found.append(Source(recipe.name, text, path))
    return found
