"""What a trace takes, keeps and gives back, under names: the face of an exported file.

face = Interface(function, entry, names)
face.signature                 # "images, labels"
face.arguments                 # lines that check them
face.inputs                    # an expression for each input of the graph
face.state                     # arrays that outlive a call, by name
face.returned(outputs)         # the text of what is returned
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphgrad.ir import Node
from graphgrad.random import default_generator
from graphgrad.tensor.core import Tensor
from graphgrad.tree import LEAF, unflatten

from .names import Names
from .source import FunctionSource
from .statements import expression
from .text import quoted

_STATIC = (bool, int, float, complex, str, bytes, type(None))


_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class Interface:
    """Arguments, state and results of one trace of ``function``."""

    def __init__(self, function: Any, entry: Any, names: Names, functions: FunctionSource) -> None:
        self.function, self.entry = function, entry
        self.names, self.functions = names, functions
        self.state: dict[str, np.ndarray] = {}
        # Optimizer options, and the lines that read numbers from them.
        self.options: list[dict[str, Any]] = []
        self.numbers: list[str] = []
        # Where gradients are left: (name, shape, dtype) by output position.
        self.grads: dict[int, tuple[str, Any]] = {}
        self.arguments: list[str] = []
        self._groups: list[tuple[Any, list[Any]]] = []
        self._owners: dict[int, str] = {}
        self._name_tensors()
        self._leaves: dict[int, str] = {}
        self.signature = self._parameters()
        self.inputs = [self._input(i, s) for i, s in enumerate(entry.sources)]
        self._gradients()

    # ------------------------------------------------------------------------------------ arguments

    def _parameters(self) -> str:
        """The parameters that the traced call gave, and lines that check what is in them."""
        shape, leaves = self.entry.call
        numbers = iter(range(len(leaves)))
        args, kwargs = unflatten(shape, [_Leaf(next(numbers)) for _ in leaves])
        called = self.function
        if hasattr(type(called), "named_parameters"):
            called = called.forward
        bound = inspect.signature(called).bind(*args, **kwargs)
        parts: list[str] = []
        kinds = inspect.Parameter
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            local = self.names.fresh(name)
            if kind is kinds.KEYWORD_ONLY and not any(p.startswith("*") for p in parts):
                parts.append("*")
            parts.append(_STARS.get(kind, "") + local)
            for leaf, path in _paths(value, local):
                self._argument(leaf.number, path, leaves[leaf.number])
        return ", ".join(parts)

    def _argument(self, number: int, path: str, described: Any) -> None:
        """The line that checks one leaf of the arguments."""
        if isinstance(described, Node):
            name = path if path.isidentifier() else self.names.fresh(path)
            written = ", written=True" if self._is_written(number) else ""
            shape, dtype = described.shape, described.dtype.name
            checked = f"given({quoted(path)}, {path}, np.{dtype}, {shape}{written})"
            self.arguments.append(f"{name} = {checked}")
            self._leaves[number] = name
        elif any(s.kind == "float" and s.argument == number for s in self.entry.sources):
            name = path if path.isidentifier() else self.names.fresh(path)
            self.arguments.append(f"{name} = np.array(float({path}))")
            self._leaves[number] = name
        elif isinstance(described, _STATIC):
            self.arguments.append(f"fixed({quoted(path)}, {path}, {described!r})")
        elif isinstance(described, Tensor):
            raise NotImplementedError(
                f"{path} is also reached by {self._called()} another way, so it is both an "
                "argument and state: export a function that takes or keeps it, not both"
            )
        else:
            raise NotImplementedError(
                f"{path} is a {type(described).__name__}, which an exported function cannot take: "
                "export a function that reaches it from around it, as a global or closure does"
            )

    def _is_written(self, number: int) -> bool:
        return any(s.kind == "argument" and s.argument == number for s in self.entry.mutated)

    def _called(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    # --------------------------------------------------------------------------------------- inputs

    def _input(self, number: int, source: Any) -> str:
        node = self.entry.graph.inputs[number]
        if source.kind in ("argument", "float"):
            return self._leaves[source.argument]
        if source.kind == "number":
            return self._number(source.number, node)
        name = self._owner(source)
        if source.kind == "grad":
            return self.keep(f"{name}.grad", source.owner(())._grad._array)
        return self.keep(name, source.tensor._array)

    def keep(self, name: str, array: np.ndarray) -> str:
        """The expression for an array of the state, which it becomes."""
        number, unique = 1, name
        # Two names are parameters of numpy.savez.
        while unique in ("file", "allow_pickle") or self.state.get(unique, array) is not array:
            number += 1
            unique = f"{name} {number}"
        self.state[unique] = array
        return f"state[{quoted(unique)}]"

    def _owner(self, source: Any) -> str:
        """The name of the tensor that is read, or whose gradient is."""
        if source.tensor is None:
            return self._leaves[source.argument]
        return self._owners.setdefault(id(source.tensor), self._unlike("tensor"))

    def _unlike(self, name: str) -> str:
        """A name that no other tensor has."""
        taken = set(self._owners.values())
        numbered = (f"{name} {i}" for i in itertools.count(2))
        return next(n for n in itertools.chain([name], numbered) if n not in taken)

    def _name_tensors(self) -> None:
        """What the user calls the tensors that the trace reached; every name is given once."""
        from graphgrad.viz.compiled import tensor_names

        known = {id(default_generator.state): "random state", **tensor_names(self.function)}
        pairs = list(zip(self.entry.sources, self.entry.graph.inputs, strict=True))
        for source, node in pairs:
            if source.kind == "tensor":
                # Parameters of modules that the function reaches have their names in the graph.
                name = known.get(id(source.tensor)) or node.attrs["name"] or ""
                if name:
                    self._owners[id(source.tensor)] = self._unlike(name)
        parts = [getattr(s.number, "parts", None) for s, _ in pairs]
        for optimizer in {id(p[1]): p[1] for p in parts if p is not None}.values():
            for p, kept in optimizer.state.items():
                owner = self._owners.get(id(p), "parameter")
                for name, t in kept.items():
                    self._owners.pop(id(t), None)
                    self._owners[id(t)] = self._unlike(f"{owner} {name}")

    def _number(self, read: Any, node: Node) -> str:
        """A number that an optimizer gives each step, computed as the optimizer computes it."""
        number, _, group, steps = getattr(read, "parts", (None,) * 4)
        if number is None or type(group) is not dict:
            raise NotImplementedError(
                f"a number that {self._called()} reads at each call has no source to export; an "
                "optimizer's very first step may be such a case: export after it"
            )
        index = self._group(group, number)
        t = "0.0"
        if steps is not None:
            name = self._owners.get(id(steps), "step")
            t = f"float({self.keep(name, steps._array)})"
        function = self.functions.add(number, read.name)
        local = self.names.fresh(f"{read.name}_now")
        call = f"{function}(options[{index}], {t})"
        self.numbers.append(f"{local} = np.array({call}, np.{node.dtype.name})")
        return local

    def _group(self, group: dict[str, Any], number: Callable[..., float]) -> int:
        for i, (known, used) in enumerate(self._groups):
            if known is group:
                used.append(number)
                return i
        self._groups.append((group, [number]))
        return len(self._groups) - 1

    def option_values(self) -> list[dict[str, Any]]:
        """The options that the exported numbers look at, by parameter group."""
        wanted = self.functions.strings
        return [
            {k: _plain(v) for k, v in group.items() if k in wanted and k != "params"}
            for group, _ in self._groups
        ]

    # ------------------------------------------------------------------------------------ gradients

    def _gradients(self) -> None:
        """Where ``.grad`` of each tensor is found after a call."""
        kept = {id(s.tensor) for s in self.entry.sources if s.kind == "grad"}
        set_now = {id(s.tensor) for s, n in self.entry.grads if n is not None}
        for source, was_none in self.entry.grads_read:
            if was_none and id(source.tensor) in set_now:
                raise NotImplementedError(
                    f"{self._called()} found .grad of {self._owner(source)} None, and sets it: the "
                    "next call would add to it. Export it after two calls, or let it begin with "
                    "zero_grad()"
                )
        for source, number in self.entry.grads:
            if number is None:
                continue
            name = self._owner(source)
            if source.tensor is not None and id(source.tensor) in kept:
                target = self.keep(f"{name}.grad", source.tensor._grad._array)
            else:
                target = f"grads[{quoted(name)}]"
            self.grads[number] = (target, name)

    # -------------------------------------------------------------------------------------- results

    def returned(self, outputs: Sequence[str]) -> str:
        """The text of the returned value, given those of the graph's outputs."""
        values = iter([self._result(r, outputs) for r in self.entry.results])
        return _container(self.entry.result_shape, values)

    def _result(self, result: Any, outputs: Sequence[str]) -> str:
        if result.kind == "output":
            return outputs[result.number]
        if result.kind == "value" and not isinstance(result.value, Tensor):
            if not isinstance(result.value, _STATIC):
                raise NotImplementedError(
                    f"{self._called()} returns a {type(result.value).__name__}, which an exported "
                    "file cannot hold: return tensors, numbers and containers of them"
                )
            return repr(result.value)
        if isinstance(result.value, Tensor):
            name = self._owners.get(id(result.value), "tensor")
            text = self.keep(name, result.value._array)
        else:
            text = self._leaves[result.number]
        for link in result.chain:
            text = expression(link.name, [text], dict(link.attrs), None, self.functions)
        return text


class _Leaf:
    """Stands for one leaf of the arguments."""

    def __init__(self, number: int) -> None:
        self.number = number


def _paths(value: Any, text: str) -> Iterator[tuple[_Leaf, str]]:
    """The leaves of an argument, each with the expression that reaches it."""
    if isinstance(value, _Leaf):
        yield value, text
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _paths(part, f"{text}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            yield from _paths(part, f"{text}[{i}]")


def _container(shape: Any, values: Iterator[str]) -> str:
    """A nested container as text; a named tuple as a tuple."""
    if shape is LEAF:
        return next(values)
    parts = [_container(s, values) for s in shape[-1]]
    if len(shape) == 3:
        keys = (quoted(k) if isinstance(k, str) else repr(k) for k in shape[1])
        return "{" + ", ".join(f"{k}: {v}" for k, v in zip(keys, parts, strict=True)) + "}"
    if shape[0] is list:
        return f"[{', '.join(parts)}]"
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _plain(value: Any) -> Any:
    """An option as a number, a flag, or a tuple of such."""
    return value.item() if isinstance(value, Tensor) else value
