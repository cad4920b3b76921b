"""Calling a module, and the hooks that watch or change what goes in, what comes out, and gradients.

    handle = layer.register_forward_hook(lambda module, args, output: print(output.shape))
    layer(x)
    handle.remove()

``HookMixin`` is the part of ``Module`` that runs ``forward``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from graphgrad.autograd.function import Function
from graphgrad.nn.modules._channels import Widths, explain
from graphgrad.tensor import Tensor
from graphgrad.tensor.record import RemovableHandle
from graphgrad.tensor.state import state

Hook = Callable[..., Any]


class _Pass(Function):
    """Identity on tensors whose gradients ``watch`` sees, and may replace, on their way back."""

    @staticmethod
    def forward(ctx: Any, watch: Hook, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.watch = watch
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return (None, *ctx.watch(grads))


def _pass_through(values: Any, watch: Hook) -> tuple[Any, bool]:
    """Send the tensors among ``values`` (one tensor or a tuple) through ``_Pass``."""
    items = values if isinstance(values, tuple) else (values,)
    places = [i for i, x in enumerate(items) if isinstance(x, Tensor)]
    if not any(items[i].requires_grad for i in places):
        return values, False

    def spread(grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * len(items)
        for i, grad in zip(places, grads, strict=True):
            full[i] = grad
        new = watch(tuple(full))
        return tuple(new[i] for i in places)

    passed = list(items)
    for i, x in zip(places, _Pass.apply(spread, *(items[i] for i in places)), strict=True):
        passed[i] = x
    return (tuple(passed) if isinstance(values, tuple) else passed[0]), True


def _replaced(hook_result: Any, grads: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """The gradients after a hook that may return None, one gradient or a tuple of them."""
    if hook_result is None:
        return grads
    new = hook_result if isinstance(hook_result, tuple) else (hook_result,)
    if len(new) != len(grads):
        raise RuntimeError(
            f"Backward {what} hook returned an invalid number of grad_{what}, "
            f"got {len(new)}, but expected {len(grads)}"
        )
    return new


class _BackwardWatch:
    """One call's module-backward hooks: sees gradients of outputs first, of inputs last."""

    def __init__(self, module: HookMixin) -> None:
        self.module = module
        self.grad_output: tuple[Any, ...] | None = None
        self.inputs = 0
        self.has_input = False

    def wrap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = len(args)
        args, self.has_input = _pass_through(args, self.on_input)
        return args

    def wrap_output(self, output: Any) -> Any:
        return _pass_through(output, self.on_output)[0]

    def on_output(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in tuple(self.module._backward_pre_hooks.values()):
            grads = _replaced(hook(self.module, grads), grads, "output")
        self.grad_output = grads
        if not self.has_input:
            self.on_input((None,) * self.inputs)
        return grads

    def on_input(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in tuple(self.module._backward_hooks.values()):
            grads = _replaced(hook(self.module, grads, self.grad_output), grads, "input")
        return grads


class HookMixin:
    """Hook registration, and ``__call__``: pre-hooks, ``forward``, hooks."""

    forward: Callable[..., Any]
    # A layer with weights of a fixed width says here what it takes and gives.
    _widths: Callable[[], Widths] | None = None
    _forward_pre_hooks: OrderedDict[int, Hook]
    _forward_hooks: OrderedDict[int, Hook]
    _backward_hooks: OrderedDict[int, Hook]
    _backward_pre_hooks: OrderedDict[int, Hook]
    _with_kwargs: set[int]
    _always_called: set[int]

    def _init_hooks(self) -> None:
        for table in _TABLES:
            object.__setattr__(self, table, OrderedDict())
        object.__setattr__(self, "_with_kwargs", set())
        object.__setattr__(self, "_always_called", set())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` with every hook; ops inside know this module's path."""
        outer = state.module
        name = self.__dict__.get("_path_name") or type(self).__name__
        state.module = f"{outer}.{name}" if outer else name
        if not outer:
            state.root = self
        try:
            if not (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
            ):
                output = self.forward(*args, **kwargs)
            else:
                output = self._call_with_hooks(args, kwargs)
            if self._widths is not None:
                state.before = self
            return output
        except (RuntimeError, ValueError) as error:
            if self._widths is not None:
                explain(self, args, error)
            raise
        finally:
            state.module = outer
            if not outer:
                state.root = state.before = None

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        try:
            for key, hook in tuple(self._forward_pre_hooks.items()):
                args, kwargs = self._run_pre_hook(key, hook, args, kwargs)
            watch = None
            if self._backward_hooks or self._backward_pre_hooks:
                watch = _BackwardWatch(self)
                args = watch.wrap_inputs(args)
            output = self.forward(*args, **kwargs)
            for key, hook in tuple(self._forward_hooks.items()):
                called.add(key)
                output = self._run_hook(key, hook, args, kwargs, output)
            return output if watch is None else watch.wrap_output(output)
        except Exception:
            for key in (self._always_called - called) & self._forward_hooks.keys():
                self._run_hook(key, self._forward_hooks[key], args, kwargs, None)
            raise

    def _run_pre_hook(self, key: int, hook: Hook, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if key in self._with_kwargs:
            result = hook(self, args, kwargs)
            if result is None:
                return args, kwargs
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple "
                    f"of (new_args, new_kwargs), but got {result}."
                )
            return result
        result = hook(self, args)
        if result is None:
            return args, kwargs
        return (result if isinstance(result, tuple) else (result,)), kwargs

    def _run_hook(self, key: int, hook: Hook, args: Any, kwargs: Any, output: Any) -> Any:
        with_kwargs = key in self._with_kwargs
        result = hook(self, args, kwargs, output) if with_kwargs else hook(self, args, output)
        return output if result is None else result

    def _register(self, table: str, hook: Hook, prepend: bool) -> RemovableHandle:
        hooks = getattr(self, table)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; its result replaces the arguments."""
        handle = self._register("_forward_pre_hooks", hook, prepend)
        if with_kwargs:
            self._with_kwargs.add(handle.id)
        return handle

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; its result replaces the output."""
        handle = self._register("_forward_hooks", hook, prepend)
        if with_kwargs:
            self._with_kwargs.add(handle.id)
        if always_call:
            self._always_called.add(handle.id)
        return handle

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once gradients of the inputs are known."""
        return self._register("_backward_hooks", hook, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` once gradients of the outputs are known."""
        return self._register("_backward_pre_hooks", hook, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The old, ill-defined hook; raises: use ``register_full_backward_hook``."""
        raise NotImplementedError(
            "register_backward_hook gave gradients of the module's last operation, not of the "
            "module; use register_full_backward_hook"
        )


_TABLES = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
