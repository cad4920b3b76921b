"""gg.compile: a function, a Module or a whole train step, traced once and replayed as one program.

    step = gg.compile(step)           @gg.compile           model = gg.compile(model)
    print(gg.explain(step))           # traces, guards, kernels, launches, arena bytes

The first call runs the Python code with tracers in place of values. Everything it read is then an
input of the program (arguments, tensors reached by closure or attribute, random state, optimizer
hyper-parameters) or a guard compared at each call (flags, numbers, hooks, shapes). A guard that
fails means a new trace, never a stale answer. What the code changed, the program changes: tensors
written in place, ``.grad``, running statistics, the random generator.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.capture import trace_entry
from graphgrad.device import thread
from graphgrad.entry import Entry
from graphgrad.errors import TraceError
from graphgrad.replay import MISS, replay_of
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.state import state
from graphgrad.tree import flatten

_STATIC = (bool, int, str, bytes, type(None))
_MOST_TRACES = 64
# Options of torch.compile that choose between its backends; there is one here.
_IGNORED = frozenset(
    "fullgraph dynamic backend mode options name recompile_limit isolate_recompiles".split()
)


def compile(function: Any = None, *, disable: bool = False, **options: Any) -> Any:
    """Compile a function or Module; usable as a decorator.

    The result takes the same arguments and means the same. torch.compile's options (fullgraph,
    dynamic, backend, mode, options) are accepted and change nothing.

    Raises, when called: TraceError with the user's line where Python needs a traced value
    (``if x > 0``, ``.item()``), naming ``graphgrad.where`` and ``graphgrad.cond`` as the way out.
    """
    for name in options:
        if name not in _IGNORED:
            raise TypeError(f"compile() got an unexpected keyword argument {name!r}")
    if function is None:
        return functools.partial(compile, disable=disable, **options)
    return function if disable else Compiled(function)


class Compiled:
    """A compiled function: calls like the original and forwards its attributes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__: Any = function
        self.entries: dict[Any, list[Entry]] = {}
        self.retraces: list[str] = []
        self._static_floats: set[int] = set()
        self._by_identity: set[int] = set()
        # The fast path of the latest entry.
        self.replay: Callable[..., Any] | None = None
        self._methods: dict[int, Compiled] = {}
        if isinstance(function, types.FunctionType):
            functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not state.plain:
            return self._not_plain(args, kwargs)
        if self.replay is not None and not kwargs:
            result = self.replay(args)
            if result is not MISS:
                return result
        leaves, shape = flatten((args, kwargs))
        entry = self._find(leaves, shape)
        result = entry.run(leaves)
        self.replay = replay_of(entry)
        return result

    def _not_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call inside another trace, which it becomes a part of, or in anomaly mode."""
        if state.trace is not None:
            return self.__wrapped__(*args, **kwargs)
        leaves, shape = flatten((args, kwargs))
        return self._find(leaves, shape).run(leaves)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: one compiled function per instance, so that guards watch that instance."""
        if instance is None:
            return self
        bound = self._methods.get(id(instance))
        if bound is None or bound.__wrapped__.__self__ is not instance:
            bound = Compiled(types.MethodType(self.__wrapped__, instance))
            self._methods[id(instance)] = bound
        return bound

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in dir(self.__dict__.get("__wrapped__")):
            raise AttributeError(f"compiled function has no attribute {name!r}")
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return f"<compiled {self.__wrapped__!r}>"

    @property
    def name(self) -> str:
        """What the traced graph is called."""
        wrapped = self.__wrapped__
        return getattr(wrapped, "__qualname__", type(wrapped).__name__)

    # ------------------------------------------------------------------------------------- traces

    def trace(self, *args: Any, **kwargs: Any) -> Entry:
        """The trace that fits some arguments, made if there is none; nothing runs.

        Without arguments, the latest one. Raises ValueError where there is none yet.
        """
        if not (args or kwargs) and self.entries:
            return list(self.entries.values())[-1][0]
        try:
            inspect.signature(self._called).bind(*args, **kwargs)
        except TypeError as error:
            raise ValueError(
                f"{self.name} was never called: call it first, or give example arguments ({error})"
            ) from error
        leaves, shape = flatten((args, kwargs))
        return self._find(leaves, shape)

    @property
    def _called(self) -> Callable[..., Any]:
        """What takes the arguments: a Module's ``forward``."""
        wrapped = self.__wrapped__
        return wrapped.forward if hasattr(type(wrapped), "named_parameters") else wrapped

    def _find(self, leaves: list[Any], shape: Any) -> Entry:
        """The entry whose signature and guards fit, traced now if there is none."""
        found = self.entries.setdefault(self._key(leaves, shape), [])
        changed = ""
        for entry in found:
            reason = entry.changed(leaves)
            if reason is None:
                return entry
            changed = changed or reason
        if found:
            self.retraces.append(changed)
        entry = self._trace(leaves, shape)
        # A float that had to be specialised, or a shared argument, changes the signature.
        found = self.entries.setdefault(self._key(leaves, shape), [])
        found.insert(0, entry)
        del found[_MOST_TRACES:]
        return entry

    def _key(self, leaves: list[Any], shape: Any) -> tuple[Any, ...]:
        rows = [self._signature(i, x) for i, x in enumerate(leaves)]
        casting = () if state.casting is None else state.casting.key
        settings = (state.grad, dtypes.get_default_dtype(), thread.default, casting)
        return (shape, *settings, *rows, *_sharing(leaves))

    def _signature(self, position: int, x: Any) -> Any:
        """What of an argument is structure; floats are run-time values unless Python reads them."""
        if isinstance(x, Tensor):
            if position in self._by_identity:
                return (id(x), x.shape, x.dtype, x.device, x._needs)
            return (Tensor, x.shape, x.dtype, x.device, x._needs, x._edge is None)
        if isinstance(x, np.ndarray):
            return (np.ndarray, x.shape, x.dtype)
        if type(x) is float and position not in self._static_floats:
            return float
        if isinstance(x, (float, complex)):
            return (type(x), repr(x))  # tells 0.0 from -0.0, and a NaN equals any other
        if isinstance(x, _STATIC):
            return (type(x), x)
        return (id(x),)

    def _trace(self, leaves: list[Any], shape: Any) -> Entry:
        """Trace; arguments that turn out to be structure are traced again as such."""
        self._by_identity.update(_overlapping(leaves))
        while True:
            try:
                entry = trace_entry(
                    self.__wrapped__,
                    self.name,
                    leaves,
                    shape,
                    self._static_floats,
                    self._by_identity,
                )
            except TraceError:
                # Perhaps Python needed the value of a float argument: make them all structure.
                floats = {i for i, x in enumerate(leaves) if type(x) is float}
                if floats <= self._static_floats:
                    raise
                self._static_floats |= floats
                continue
            also_captured = entry.arguments_captured(leaves) - self._by_identity
            if not also_captured:
                return entry
            self._by_identity |= also_captured


def _sharing(leaves: Sequence[Any]) -> tuple[int, ...]:
    """Which tensor arguments are one tensor; empty when all are apart."""
    tensors = [id(x) for x in leaves if isinstance(x, Tensor)]
    if len(set(tensors)) == len(tensors):
        return ()
    return tuple(tensors.index(t) for t in tensors)


def _overlapping(leaves: Sequence[Any]) -> set[int]:
    """Positions of different tensors over one storage: their aliasing is part of the trace."""
    first: dict[int, tuple[int, Tensor]] = {}
    found: set[int] = set()
    for i, x in enumerate(leaves):
        if isinstance(x, Tensor):
            j, other = first.setdefault(id(x._storage), (i, x))
            if other is not x:
                found |= {i, j}
    return found
