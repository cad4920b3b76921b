"""What a trace took for granted, as one generated function that says whether it still holds.

    watch = Watch(Tensor)
    watch.roots(step)               # closure cells, globals, defaults, modules, containers it reads
    guard = watch.guard()
    guard()                         # None while nothing changed, else the text of the first change

Values that a Python program reads while being traced (flags, numbers, containers up to 64 items,
which hooks are registered, which tensor a name stands for) are compared by value or identity at
each call. Only attributes whose names occur in the code that was reached are watched.
"""

from __future__ import annotations

import dis
import functools
import keyword
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from graphgrad.errors import is_ours

_SCALARS = (bool, int, float, complex, str, bytes, type(None))
# What reading a place raises when it is no longer there; a guard that cannot be read does not hold.
_GONE = "(AttributeError, LookupError, TypeError, ValueError)"
# Tables of a module that a call does not read, or only for a hook, whose registration is noticed.
_NOT_CALLED = frozenset(
    "_state_dict_hooks _state_dict_pre_hooks "
    "_load_state_dict_pre_hooks _load_state_dict_post_hooks "
    "_non_persistent_buffers_set _with_kwargs _always_called".split()
)
_LARGEST_CONTAINER = 64
_DEEPEST = 12
_LIBRARY = tuple({p for p in (sys.prefix, sys.base_prefix) if p})


def is_value(expression: str, name: str, value: Any) -> str:
    """Python text for "``expression`` is ``value``", which ``name`` stands for."""
    if isinstance(value, (float, complex)):
        if value != value:  # any NaN is as good as another
            return f"{expression} != {expression}"
        if not value:  # zeros are equal, but 1/0.0 and 1/-0.0 are not
            return f"repr({expression}) == {repr(value)!r}"
    return f"{expression} == {name}"


class Watch:
    """Collects guards by walking what a function can read."""

    def __init__(self, tensor_type: type) -> None:
        self.tensor_type = tensor_type
        # The modules that were reached, outermost first.
        self.modules: list[Any] = []
        # Conditions, as Python text, and what each is about.
        self.checks: dict[str, str] = {}
        # The names in them.
        self.objects: dict[str, Any] = {}
        self.tensors: dict[int, Any] = {}
        self._held: dict[int, str] = {}
        # What was walked; held, so that no other object gets its id.
        self._seen: dict[int, Any] = {}
        self._names: set[str] = set()

    # ------------------------------------------------------------------------------ what is walked

    def roots(self, function: Any, arguments: Iterable[Any] = ()) -> None:
        """Everything ``function`` reaches, and what opaque ``arguments`` hold."""
        done: set[int] = set()
        for value in (function, *arguments):
            self._collect_names(value, done)
        self._value(function, getattr(function, "__qualname__", type(function).__name__), 0)
        for i, value in enumerate(arguments):
            self._value(value, f"argument {i}", 0)

    def _collect_names(self, value: Any, done: set[int]) -> None:
        """The attribute names that reached code mentions, found before anything is watched."""
        if id(value) in done or len(done) > 10_000:
            return
        done.add(id(value))
        for code, owner in _codes(value):
            self._names.update(code.co_names)
            for child in _reachable(code, owner):
                self._collect_names(child, done)
        if _is_module(value):
            for child in value.modules():
                self._collect_names(type(child).forward, done)
        if isinstance(value, types.MethodType):
            self._collect_names(value.__self__, done)

    def _value(self, value: Any, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            return
        walker = self._walker(value)
        if walker is None or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        walker(value, path, depth)

    def _walker(self, value: Any) -> Callable[[Any, str, int], None] | None:
        if hasattr(type(value), "__graphgrad_guards__"):
            return self._custom
        if _is_module(value):
            return self._module
        if isinstance(value, types.MethodType):
            return self._method
        if isinstance(value, types.FunctionType):
            return None if _is_library(value.__code__.co_filename) else self._function
        if isinstance(value, (list, tuple, dict, set, frozenset)):
            return self._container
        if isinstance(value, (type, types.ModuleType, self.tensor_type)) or callable(value):
            return None
        return self._object if hasattr(value, "__dict__") else None

    def _method(self, method: types.MethodType, path: str, depth: int) -> None:
        self._value(method.__self__, f"{path}.self", depth + 1)
        self._value(method.__func__, path, depth + 1)

    def _function(self, function: types.FunctionType, path: str, depth: int) -> None:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            if _filled(cell):
                holder = self._hold(cell)
                self._slot(f"{holder}.cell_contents", cell.cell_contents, name, depth)
        used = function.__globals__
        for name in sorted(_global_names(function.__code__)):
            if name in used:
                self._slot(f"{self._hold(used)}[{name!r}]", used[name], name, depth)
        for i, default in enumerate(function.__defaults__ or ()):
            holder = self._hold(function)
            self._slot(f"{holder}.__defaults__[{i}]", default, f"{path} default {i}", depth)

    def _module(self, module: Any, path: str, depth: int) -> None:
        """Flags, numbers, hooks and members of an nn.Module, then of its children."""
        # Reading the dict is twice as fast as asking a module, whose class has a __getattr__.
        holder = self._hold(module.__dict__)
        self._check(f"{self._hold(module)}.__dict__ is {holder}", path)
        self.modules.append(module)
        own = is_ours(getattr(sys.modules[type(module).__module__], "__file__", None) or "")
        for name, value in module.__dict__.items():
            expression = f"{holder}[{name!r}]"
            if name in _NOT_CALLED:
                continue
            if name in ("_parameters", "_buffers", "_modules"):
                self._members(value, expression, path, depth)
            elif name.endswith("_hooks"):
                self._mapping(value, expression, f"{path}.{name}", depth)
            elif name == "training" or own or name in self._names:
                self._slot(expression, value, f"{path}.{name}", depth)
        forward = type(module).forward
        if not own:
            self._value(forward, f"{path}.forward", depth + 1)

    def _members(self, members: dict[str, Any], holder: str, path: str, depth: int) -> None:
        self._check(_length(holder, members), f"the members of {path}")
        for name, value in members.items():
            self._slot(f"{holder}[{name!r}]", value, f"{path}.{name}", depth)

    def _mapping(self, value: Any, expression: str, path: str, depth: int) -> None:
        """Hooks: how many, and which functions."""
        if not isinstance(value, dict):
            return
        self._check(_length(expression, value), f"{path} (a hook was added or removed)")
        for key, hook in value.items():
            held = self._hold(hook)
            self._check(f"{expression}[{key!r}] is {held}", path)
            self._value(hook, path, depth + 1)

    def _container(self, value: Any, path: str, depth: int) -> None:
        if len(value) > _LARGEST_CONTAINER:
            return
        if isinstance(value, (tuple, frozenset)):  # who holds it is guarded; it cannot change
            for i, item in enumerate(value):
                self._constant(item, f"{path}[{i}]", depth)
            return
        holder = self._hold(value)
        self._check(_length(holder, value), f"the length of {path}")
        if isinstance(value, set):
            self._check(f"{holder} == {self._hold(frozenset(value))}", path)
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items):
            if isinstance(value, dict) and not isinstance(key, _SCALARS):
                self._slot(f"{holder}[{self._hold(key)}]", item, f"{path}[…]", depth)
            else:
                self._slot(f"{holder}[{key!r}]", item, f"{path}[{key!r}]", depth)

    def _object(self, value: Any, path: str, depth: int) -> None:
        """A user's object: the attributes that reached code mentions."""
        holder = self._hold(value)
        for name, item in list(vars(value).items()):
            if name in self._names:
                self._slot(_attribute(holder, value, name), item, f"{path}.{name}", depth)

    def _custom(self, value: Any, path: str, _: int) -> None:
        """An object that says itself what a trace depends on: ``(name, condition, *objects)`` rows.

        A condition is Python text that holds now, with ``{}`` for each of the objects.
        """
        for name, condition, *objects in value.__graphgrad_guards__():
            self.condition(f"{path}{name}", condition, *objects)

    def condition(self, about: str, text: str, *objects: Any) -> None:
        """Guard what Python text says of objects, which stand in it as ``{}`` or by number."""
        self._check(text.format(*map(self._hold, objects)), about)

    # ------------------------------------------------------------------------------ what is checked

    def _slot(self, expression: str, value: Any, path: str, depth: int) -> None:
        """Guard one place that holds ``value``, and walk into the value."""
        if isinstance(value, _SCALARS):
            self._scalar(expression, value, path)
        elif isinstance(value, (types.ModuleType, type, types.BuiltinFunctionType)):
            return
        else:
            self._check(f"{expression} is {self._hold(value)}", path)
            self._constant(value, path, depth)

    def _constant(self, value: Any, path: str, depth: int) -> None:
        """Walk into what stays in its place."""
        if isinstance(value, self.tensor_type):
            self.tensors.setdefault(id(value), value)
        self._value(value, path, depth + 1)

    def _scalar(self, expression: str, value: Any, path: str) -> None:
        if value is None or isinstance(value, bool):
            self._check(f"{expression} is {value!r}", path)
        else:
            same_type = f"type(v := {expression}) is {type(value).__name__}"
            same = is_value("v", self._hold(value), value)
            self._check(f"{same_type} and {same}", path)

    def _check(self, expression: str, path: str) -> None:
        self.checks.setdefault(expression, path)

    def _hold(self, value: Any) -> str:
        name = self._held.get(id(value))
        if name is None:
            name = self._held[id(value)] = f"o{len(self._held)}"
            self.objects[name] = value
        return name

    # ------------------------------------------------------------------------------ the guard

    def guard(self) -> Guard:
        """What says whether all checks hold."""
        return Guard(self.checks, self.objects)


class Guard:
    """``guard()`` is None if all checks hold, else the text of the first change.

    A first call, which makes a trace, needs no guard, so what is generated is made at its first
    use: ``holds``, one function over all checks, and, where that says no, one function a check.
    """

    def __init__(self, checks: Mapping[str, str], objects: Mapping[str, Any]) -> None:
        self.checks, self.objects = checks, objects

    def __call__(self) -> str | None:
        return None if self.holds() else self._changed()

    @property
    def texts(self) -> tuple[str, ...]:
        """What each check is about."""
        return tuple(self.checks.values())

    @functools.cached_property
    def holds(self) -> Callable[[], bool]:
        """Whether every check holds."""
        arguments = ", ".join(f"{n}={n}" for n in self.objects)
        whole = " and ".join(f"({c})" for c in self.checks) or "True"
        source = (
            f"def holds({arguments}):\n    try:\n        return {whole}\n"
            f"    except {_GONE}:\n        return False\n"
        )
        return self._made(source, "holds")

    @functools.cached_property
    def _rows(self) -> list[Callable[[], bool]]:
        rows = ", ".join(f"(lambda: {c})" for c in self.checks)
        return self._made(f"rows = [{rows}]", "rows")

    def _made(self, source: str, name: str) -> Any:
        scope = dict(self.objects)
        exec(compile(source, "<guards>", "exec"), scope)
        return scope[name]

    def _changed(self) -> str | None:
        """The path of the first check that fails (or cannot be evaluated any more)."""
        for row, text in zip(self._rows, self.texts, strict=True):
            try:
                if not row():
                    return text
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                return f"{text} ({type(error).__name__})"
        return None


def _attribute(holder: str, value: Any, name: str) -> str:
    """Python text for an instance's own attribute; the plain spelling is several times faster."""
    if name.isidentifier() and not hasattr(type(value), name) and not keyword.iskeyword(name):
        return f"{holder}.{name}"
    return f"{holder}.__dict__[{name!r}]"


def _length(expression: str, value: Any) -> str:
    """Python text for "as many items as ``value`` has"."""
    return f"len({expression}) == {len(value)}" if value else f"not {expression}"


def _is_module(value: Any) -> bool:
    """An nn.Module, known by its tables: the modules live above this one."""
    return "_parameters" in getattr(value, "__dict__", ()) and "_modules" in value.__dict__


def _is_library(filename: str) -> bool:
    """Code of graphgrad, of the standard library or of installed packages: not the user's."""
    return is_ours(filename) or "site-packages" in filename or filename.startswith(_LIBRARY)


def _codes(value: Any) -> Iterator[tuple[types.CodeType, types.FunctionType]]:
    function = value.__func__ if isinstance(value, types.MethodType) else value
    if isinstance(function, types.FunctionType) and not _is_library(function.__code__.co_filename):
        stack = [function.__code__]
        while stack:
            code = stack.pop()
            yield code, function
            stack.extend(c for c in code.co_consts if isinstance(c, types.CodeType))


def _reachable(code: types.CodeType, function: types.FunctionType) -> Iterator[Any]:
    for name in _global_names(code):
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        if _filled(cell):
            yield cell.cell_contents


@functools.lru_cache(maxsize=1024)
def _global_names(code: types.CodeType) -> frozenset[str]:
    """The global variables that code loads (attributes may have the same names)."""
    rows = dis.get_instructions(code)
    names = {row.argval for row in rows if row.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = [_global_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(names.union(*inner))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not _filled
    except ValueError:  # a variable that is not assigned yet
        return False
