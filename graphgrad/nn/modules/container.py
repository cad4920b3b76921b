"""Containers: modules (and parameters) in a chain, a list or a dictionary.

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
net[0], net[:2], net.append(nn.Softmax(-1))
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphgrad.nn.modules.module import Module, indent
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor


def _position(index: Any, length: int, text: str = "index {} is out of range") -> int:
    """An index counted from the front; IndexError outside."""
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(text.format(index))
    return index % length


class _Indexed(Module):
    """Children named "0", "1", …: reached by position, slice, append and insert."""

    def _key(self, index: Any) -> str:
        return list(self._modules)[_position(index, len(self))]

    def _replace(self, modules: Iterable[Module]) -> None:
        children = list(modules)
        self._modules.clear()
        for i, module in enumerate(children):
            self.add_module(str(i), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def append(self, module: Module) -> Any:
        """Add ``module`` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add every module at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got "
                f"{type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key: int) -> Module:
        """Remove and return the module at a position."""
        module = self[key]  # type: ignore[index]
        del self[key]  # type: ignore[attr-defined]
        return module

    def __dir__(self) -> list[str]:
        return [key for key in super().__dir__() if not key.isdigit()]


class Sequential(_Indexed):
    """Calls its children one after the other; takes modules, or one OrderedDict of them."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = len(args) == 1 and isinstance(args[0], OrderedDict)
        rows = args[0].items() if named else ((str(i), m) for i, m in enumerate(args))
        for name, module in rows:
            self.add_module(name, module)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def __delitem__(self, index: Any) -> None:
        keys = list(self._modules)[index] if isinstance(index, slice) else [self._key(index)]
        for key in keys:
            delattr(self, key)
        # Positions stay numbered without gaps, so that append finds the next free one.
        values = list(self._modules.values())
        self._modules.clear()
        for i, module in enumerate(values):
            self.add_module(str(i), module)

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, "
                f"but {type(other)} is given."
            )
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Sequential:
        return self.extend(list(other))

    def __mul__(self, times: int) -> Sequential:
        _check_times(times)
        return Sequential(*(module for _ in range(times) for module in self))

    def __rmul__(self, times: int) -> Sequential:
        return self * times

    def __imul__(self, times: int) -> Sequential:
        _check_times(times)
        return self.extend([module for _ in range(times - 1) for module in self])

    def insert(self, index: int, module: Module) -> Sequential:
        """Put ``module`` before the one at ``index``."""
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"Index out of range: {index}")
        children = list(self)
        children.insert(index, module)
        self._replace(children)
        return self

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


def _check_times(times: Any) -> None:
    if not isinstance(times, int):
        raise TypeError(f"unsupported operand type(s) for *: Sequential and {type(times)}")
    if times <= 0:
        raise ValueError(f"Non-positive multiplication factor {times} for Sequential")


class ModuleList(_Indexed):
    """A list of modules, each found by ``parameters()`` and friends."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._key(index)]

    def __delitem__(self, index: Any) -> None:
        children = list(self)
        if not isinstance(index, slice):
            index = _position(index, len(self))
        del children[index]
        self._replace(children)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def insert(self, index: int, module: Module) -> None:
        """Put ``module`` before the one at ``index``."""
        children = list(self)
        children.insert(index, module)
        self._replace(children)

    def __repr__(self) -> str:
        if not len(self):
            return f"{self._get_name()}()"
        lines, texts = [], [repr(module) for module in self]
        start = 0
        # Equal neighbours share one line: (0-3): 4 x Linear(…).
        for i in range(1, len(texts) + 1):
            if i < len(texts) and texts[i] == texts[start]:
                continue
            count = i - start
            head = f"({start}): " if count == 1 else f"({start}-{i - 1}): {count} x "
            lines.append(indent(head + texts[start], 2))
            start = i
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class _Mapping:
    """What a dictionary of modules and one of parameters share, over ``_items()``."""

    def _pairs(self, rows: Any) -> list[tuple[str, Any]]:
        name = type(self).__name__
        if not isinstance(rows, Iterable):
            raise TypeError(
                f"{name}.update should be called with an iterable of key/value pairs, "
                f"but got {type(rows).__name__}"
            )
        if isinstance(rows, (Mapping, _Mapping)):
            return list(rows.items())  # type: ignore[arg-type]
        pairs = []
        for i, row in enumerate(rows):
            if not isinstance(row, Iterable):
                kind = type(row).__name__
                raise TypeError(f"{name} update sequence element #{i} should be Iterable; is{kind}")
            row = tuple(row)
            if len(row) != 2:
                raise ValueError(
                    f"{name} update sequence element #{i} has length {len(row)}; 2 is required"
                )
            pairs.append(row)
        return pairs


class ModuleDict(_Mapping, Module):
    """A dictionary of modules, in order of insertion."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove every module."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Remove and return a module."""
        return self._modules.pop(key)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Pairs of name and module."""
        return self._modules.items()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add the modules of a mapping or of pairs."""
        for key, module in self._pairs(modules):
            self[key] = module


# ------------------------------------------------------------------------------------ parameters


def _parameter(value: Any) -> Any:
    """Tensors become parameters; anything else is kept as it is."""
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value, requires_grad=value.is_floating_point())
    return value


def _described(value: Any, brackets: bool) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "x".join(map(str, value.shape))
    kind = value.dtype if brackets else value.type()
    if brackets:
        return f"{type(value).__name__} containing: [{kind} of size {size}]"
    return f"{type(value).__name__} containing: [{kind} of size {size}]"


class ParameterList(Module):
    """A list of parameters; tensors that are put in become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter(self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(getattr(self, str(i)) for i in range(len(self))[index])
        return getattr(self, str(_position(index, len(self))))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_position(index, len(self))), _parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        setattr(self, str(self._size), _parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add every parameter at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(
                "ParameterList.extend should be called with an iterable, but got "
                f"{type(values).__name__}"
            )
        for value in list(values):
            self.append(value)
        return self

    __iadd__ = extend

    def extra_repr(self) -> str:
        rows = (f"  ({i}): {_described(value, True)}" for i, value in enumerate(self))
        return "\n".join(rows)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(_Mapping, Module):
    """A dictionary of parameters; tensors that are put in become parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(
                "Index given to ParameterDict cannot be used as a key as it is not a string "
                f"(type is '{type(key).__name__}'). Open an issue on github if you need non-string "
                "keys."
            )
        self._keys[key] = None
        setattr(self, key, _parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return (self[key] for key in self._keys)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and parameter."""
        return ((key, self[key]) for key in self._keys)

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter, or ``default``."""
        return self[key] if key in self._keys else default

    def pop(self, key: str) -> Any:
        """Remove and return a parameter."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Remove every parameter."""
        for key in list(self._keys):
            del self[key]

    def update(self, parameters: Any) -> None:
        """Add the parameters of a mapping or of pairs."""
        for key, value in self._pairs(parameters):
            self[key] = value

    def extra_repr(self) -> str:
        rows = (f"  ({key}): {_described(value, False)}" for key, value in self.items())
        return "\n".join(rows)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterDict should not be called.")
