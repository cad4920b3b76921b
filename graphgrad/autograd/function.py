"""Operations with a gradient of the user's own: ``autograd.Function``.

class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y

Exp.apply(x)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.tensor import record
from graphgrad.tensor.core import Tensor, alias
from graphgrad.tensor.hooks import users_code
from graphgrad.tensor.plan import Type, edge_of, locate
from graphgrad.tensor.state import no_grad, state


class FunctionCtx:
    """What forward leaves for backward; also the home of the user's attributes."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._opaque: tuple[Tensor, ...] = ()
        self._materialise = True
        self._record: Any = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for backward, where they are checked for having been overwritten."""
        self._saved = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved; an error after it was freed or overwritten in place."""
        if self._record is not None and self._record.saved is None:
            raise RuntimeError(record.freed(self._record))
        for t, version in zip(self._saved, self._versions, strict=True):
            if t is not None and t._storage.version != version:
                raise RuntimeError(record.overwritten(self._record, t._storage, version))
        return self._saved

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declare arguments that forward wrote in place (and returns)."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declare outputs that no gradient flows from."""
        self._opaque = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward receives zeros (default) or None for outputs that were not used."""
        self._materialise = value

    @property
    def name(self) -> str:
        return type(self).__name__


class Function:
    """Subclass with static ``forward`` and ``backward``, call as ``MyFunction.apply(…)``."""

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; with ``setup_context`` defined, without ``ctx``."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs, where forward takes no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient (or None) per argument of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward without recording, and leave one record whose backward is the user's."""
        ctx = FunctionCtx()
        needs = [isinstance(x, Tensor) and x._needs and state.grad for x in args]
        ctx.needs_input_grad = tuple(needs)
        with no_grad():
            result = _forward(cls, ctx, args, kwargs)
        outputs = result if isinstance(result, tuple) else (result,)
        ctx._versions = tuple(0 if t is None else t._storage.version for t in ctx._saved)
        if any(needs):
            outputs = _recorded(cls, ctx, args, needs, outputs)
        return outputs if isinstance(result, tuple) else outputs[0]


def _forward(cls: Any, ctx: FunctionCtx, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if cls.setup_context is Function.setup_context:
        return cls.forward(ctx, *args, **kwargs)
    result = cls.forward(*args, **kwargs)
    cls.setup_context(ctx, args, result)
    return result


def _recorded(
    cls: Any, ctx: FunctionCtx, args: Sequence[Any], needs: Sequence[bool], outputs: Sequence[Any]
) -> tuple[Any, ...]:
    tensors = [(i, x) for i, (x, needed) in enumerate(zip(args, needs, strict=True)) if needed]
    # An argument that comes back unchanged is a new tensor with a history of its own.
    fresh = tuple(
        alias(y, y._array, y._node)
        if any(y is x for x in args) and not any(y is d for d in ctx._dirty)
        else y
        for y in outputs
    )
    among_tensors = [sum(isinstance(x, Tensor) for x in args[:i]) for i, _ in tensors]
    needing = tuple(i for i, _ in tensors)
    kinds = [(x.dtype, x.device) for _, x in tensors]
    way = FunctionWay(cls, ctx, len(args), needing, tuple(among_tensors), fresh, kinds)
    rec = record.make(way, (), (), [edge_of(x) for _, x in tensors])
    ctx._record = rec
    locate(rec)
    for i, y in enumerate(fresh):
        opaque = any(y is o or outputs[i] is o for o in ctx._opaque)
        if isinstance(y, Tensor) and y.dtype.is_differentiable and not opaque:
            y._needs, y._edge = True, (rec, i)
    return fresh


class FunctionWay:
    """Differentiates by calling the user's ``backward``."""

    graphable = False
    own_lines = False
    saves = ("context",)
    composite = ""

    def __init__(
        self,
        cls: Any,
        ctx: FunctionCtx,
        count: int,
        needs: tuple[int, ...],
        numbers: tuple[int, ...],
        outputs: Sequence[Any],
        kinds: Sequence[tuple[Any, Any]],
    ) -> None:
        self.kind = record.kind(f"{cls.__name__}Backward")
        self.cls, self.ctx, self.needs, self.count = cls, ctx, needs, count
        # Of the arguments that want a gradient.
        self.kinds = kinds
        self.inputs = [None] * count
        # Outputs of the backward function are counted over the arguments that are tensors.
        self.numbers = numbers
        self.outputs = len(outputs)
        self._results = [Type(tuple(y.shape), y.dtype) for y in outputs]
        self.device = outputs[0].device

    def results(self) -> list[Type]:
        return self._results

    def saved_types(self) -> list[Type]:
        return []

    def restore(self, rec: Any, values: Sequence[Any], revived: Any) -> Sequence[Any]:
        return ()

    def pull(self, cotangents: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The user's gradients of the arguments that want one."""
        if self.ctx._materialise:
            cotangents = [self._zeros(i) if g is None else g for i, g in enumerate(cotangents)]
        with users_code(self.ctx._record):
            pulled = self.cls.backward(self.ctx, *cotangents)
        pulled = pulled if isinstance(pulled, tuple) else (pulled,)
        if len(pulled) < self.count or any(g is not None for g in pulled[self.count :]):
            raise RuntimeError(
                f"function {self.kind.__name__} returned an incorrect number of gradients "
                f"(expected {self.count}, got {len(pulled)})"
            )
        pairs = zip(self.needs, self.kinds, strict=True)
        return [self._matching(pulled[i], *kind) for i, kind in pairs]

    def _matching(self, g: Any, dtype: Any, place: Any) -> Any:
        """A gradient in the type and on the device of the argument, as the engine's are."""
        if not isinstance(g, Tensor) or (g.dtype is dtype and g.device == place):
            return g
        return g.to(place, dtype)

    def _zeros(self, i: int) -> Tensor:
        from graphgrad.tensor.creation import full_of

        shape, dtype = self._results[i]
        return full_of(shape, 0, dtype, self.device)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` whose own gradient must not be taken."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return backward(ctx, *grads)

    return wrapper
