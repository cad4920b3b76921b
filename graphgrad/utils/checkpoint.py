"""Less memory for more time: ``checkpoint(block, x)`` computes the block again in backward.

Eagerly nothing that the block computes is kept but its result. Inside ``gg.compile`` the call is
the block itself: there the compiler chooses what to keep and what to compute again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from graphgrad.autograd.graph import saved_tensors_hooks
from graphgrad.random.generator import Snapshot, restore, snapshot
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import enable_grad, state


class CheckpointError(RuntimeError):
    """The function did something else when it was computed again."""


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate results backward computes once more.

    Random draws are repeated exactly, unless ``preserve_rng_state`` is False. ``use_reentrant`` and
    the options for debugging change nothing: there is one way, and gradients are the same.
    """
    if context_fn is not None:
        raise NotImplementedError(
            "checkpoint: context_fn chooses what PyTorch keeps; here gg.compile chooses"
        )
    if state.trace is not None or not state.grad:
        return function(*args, **kwargs)
    frame = _Frame(function, args, kwargs, preserve_rng_state)
    with saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


class _Frame:
    """A call whose saved tensors are numbers until backward asks for the first of them."""

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, preserve: bool
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        self.random = snapshot(*{x.device for x in tensors}) if preserve else None
        self.count = 0
        self.values: dict[int, Tensor] = {}

    def pack(self, t: Tensor) -> int:
        """Keep a number in place of the tensor."""
        self.count += 1
        return self.count - 1

    def unpack(self, number: int) -> Tensor:
        """The tensor again; each is given out once, so that none is held longer than needed."""
        if number not in self.values:
            self._compute_again()
        return self.values.pop(number)

    def _compute_again(self) -> None:
        found: dict[int, Tensor] = {}

        def keep(t: Tensor) -> Tensor:
            found[len(found)] = t.detach()
            return t

        hooks = saved_tensors_hooks(keep, lambda t: t)
        with enable_grad(), _random(self.random), hooks:
            self.function(*map(_cut, self.args), **{k: _cut(v) for k, v in self.kwargs.items()})
        if len(found) != self.count:
            raise CheckpointError(
                f"the checkpointed function saved {self.count} tensors for backward, but "
                f"{len(found)} when it was computed again: it must do the same both times"
            )
        self.values = found


def _cut(x: Any) -> Any:
    """An argument without its history, so that the second computation ends there."""
    return x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x


@contextlib.contextmanager
def _random(begin: Snapshot | None) -> Iterator[None]:
    """Draws inside repeat those after ``begin``, and count for nobody else."""
    if begin is None:
        yield
        return
    now = snapshot()
    restore(begin)
    try:
        yield
    finally:
        restore(now)


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **options: Any,
) -> Any:
    """A Sequential (or list of functions) in ``segments`` parts, all but the last checkpointed."""
    parts = list(functions)
    size = max(1, math.floor(len(parts) / segments))
    ends = [*range(size, size * segments, size), len(parts)]
    begin = 0
    for end in ends:
        part = _chain(parts[begin:end])
        input = part(input) if end == ends[-1] else checkpoint(part, input, **options)
        begin = end
    return input


def _chain(functions: list[Callable[..., Any]]) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        for function in functions:
            x = function(x)
        return x

    return run
