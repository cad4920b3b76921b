"""What a thread is doing: recording gradients or not, tracing or not, inside which module.

    with no_grad(): ...          @no_grad()          set_grad_enabled(False)

Every switch is thread-local, so a data loader's thread does not disturb the training loop's.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class State(threading.local):
    """Class attributes are what a new thread starts with."""

    grad: bool = True
    inference: bool = False
    # Anomaly mode as PyTorch's names ask for it; what it checks results with while it is on.
    anomaly: bool = False
    check_nan: bool = True
    watch: Any = None
    trace: Any = None
    # A traced bool, 0-d: where it is true, optimizers' steps change nothing (GradScaler).
    skip: Any = None
    # What autocast converts operands to; None outside of it.
    casting: Any = None
    # None of the three: the one thing that the short paths of operations look up.
    plain: bool = True
    module: str = ""
    # The module that was called from outside all modules, and the last layer that ran in it.
    root: Any = None
    before: Any = None
    # Whose gradient is being computed: the Origin of the record.
    deriving: Any = None
    # What packs the saved values of new records (autograd.graph), innermost last.
    saved_hooks: tuple[Any, ...] = ()

    def set_trace(self, trace: Any) -> None:
        self.trace = trace
        self.plain = trace is None and self.watch is None and self.casting is None

    def set_watch(self, watch: Any) -> None:
        self.watch = watch
        self.plain = watch is None and self.trace is None and self.casting is None

    def set_casting(self, casting: Any) -> None:
        self.casting = casting
        self.plain = casting is None and self.trace is None and self.watch is None


state = State()


def as_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """To anomaly mode ``function`` is one operation: what it masks itself is its own affair."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if state.watch is None or state.trace is not None:
            return function(*args, **kwargs)
        return state.watch.whole(function, args, kwargs)

    return wrapper


class _Switch:
    """A context manager that is also a decorator, for functions and generator functions alike."""

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *_: Any) -> None:
        raise NotImplementedError

    def clone(self) -> _Switch:
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The switch holds while the generator runs, not while its consumer does."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            sent = None
            while True:
                try:
                    with self.clone():
                        value = generator.send(sent)
                except StopIteration as stop:
                    return stop.value
                sent = yield value

        return wrapper


class _GradMode(_Switch):
    """Sets ``state.grad`` to ``wanted`` between enter and exit."""

    wanted = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        # ``@no_grad`` without parentheses decorates straight away, as PyTorch allows.
        self = super().__new__(cls)
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self.before = state.grad
        state.grad = self.wanted

    def __exit__(self, *_: Any) -> None:
        state.grad = self.before


class no_grad(_GradMode):
    """Operations inside leave no gradient record; results have ``requires_grad=False``."""


class enable_grad(_GradMode):
    """Record again inside a ``no_grad`` block."""

    wanted = True


class set_grad_enabled(_Switch):
    """``set_grad_enabled(flag)`` acts at once, and restores when used as a context manager."""

    def __init__(self, mode: bool) -> None:
        self.before, self.mode = state.grad, bool(mode)
        state.grad = self.mode

    def clone(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self.before
        return super().__call__(function)

    def __enter__(self) -> None:
        state.grad = self.mode

    def __exit__(self, *_: Any) -> None:
        state.grad = self.before


class inference_mode(_Switch):
    """``no_grad`` whose results say ``is_inference()``; ``inference_mode(False)`` undoes it."""

    mode: bool

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = bool(mode)
        return self

    def clone(self) -> inference_mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.before = (state.grad, state.inference)
        state.grad, state.inference = not self.mode, self.mode

    def __exit__(self, *_: Any) -> None:
        state.grad, state.inference = self.before


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside ``inference_mode``."""
    return state.inference
