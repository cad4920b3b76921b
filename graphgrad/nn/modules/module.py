"""``Module``: the base class of layers and models.

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)         # found by parameters(), state_dict(), to(), repr

    def forward(self, x):
        return self.fc(x).relu()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import graphgrad as gg
from graphgrad.dtypes import DType, Unsupported, as_dtype
from graphgrad.nn.modules._hooks import HookMixin
from graphgrad.nn.modules._registry import Registry
from graphgrad.nn.modules._state import StateMixin
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor
from graphgrad.tensor.sparse import SparseTensor
from graphgrad.tensor.state import no_grad

M = TypeVar("M", bound="Module")


def _not_implemented(self: Module, *_: Any) -> None:
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(Registry, HookMixin, StateMixin):
    """A function with parameters: attributes that are Parameters or Modules register themselves."""

    training: bool
    forward: Callable[..., Any] = _not_implemented

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        if kwargs:
            wrong = next(iter(kwargs))
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{wrong}'")
        if args:
            given = len(args) + 1
            raise TypeError(f"{name}.__init__() takes 1 positional argument but {given} were given")
        object.__setattr__(self, "training", True)
        self._init_registry()
        self._init_hooks()
        self._init_state_hooks()

    # ----------------------------------------------------------------------------------- traversal

    def _named(
        self,
        members: Callable[[Module], Any],
        prefix: str,
        recurse: bool,
        remove_duplicate: bool,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in owners:
            for name, x in members(module):
                if x is None or id(x) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(x))
                yield (f"{path}.{name}" if path else name), x

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Pairs of dotted name and parameter, each parameter once."""
        return self._named(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter once; what an optimizer takes."""
        return (x for _, x in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Pairs of dotted name and buffer."""
        return self._named(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer once."""
        return (x for _, x in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Pairs of name and direct child, each child once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children."""
        return (child for _, child in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Pairs of dotted name and module, this one (named ``prefix``) first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and every module below it, each once."""
        return (module for _, module in self.named_modules())

    # ----------------------------------------------------------------------------------- conversion

    def apply(self: M, fn: Callable[[Module], None]) -> M:
        """Call ``fn`` on every module below, then on this one; for initialisation."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        if recurse:
            for child in self.children():
                child._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with no_grad():
                parameter.data = fn(parameter.data)
                if isinstance(parameter.grad, SparseTensor):
                    parameter.grad = fn(parameter.grad)
                elif parameter.grad is not None:
                    parameter.grad.data = fn(parameter.grad.data)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move and convert in place: ``to(device)``, ``to(dtype)``, ``to(tensor)``, or keywords.

        Only floating-point parameters and buffers take a new dtype.
        """
        device, dtype = _parse_to(args, kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, "
                f"but got desired dtype={dtype}"
            )

        def convert(x: Tensor) -> Tensor:
            if device is not None:
                x = x.to(device)
            return x.to(dtype) if dtype is not None and x.dtype.is_differentiable else x

        return self._apply(convert)

    def type(self: M, dst_type: DType) -> M:
        """Convert every parameter and buffer, whatever its type."""
        return self._apply(lambda x: x.type(dst_type))

    def _convert_floats(self: M, name: str) -> M:
        return self._apply(lambda x: getattr(x, name)() if x.is_floating_point() else x)

    def float(self: M) -> M:
        """Floating-point parameters and buffers to float32."""
        return self._convert_floats("float")

    def double(self: M) -> M:
        """Floating-point parameters and buffers to float64."""
        return self._convert_floats("double")

    def half(self: M) -> M:
        """Floating-point parameters and buffers to float16."""
        return self._convert_floats("half")

    def bfloat16(self: M) -> M:
        """Floating-point parameters and buffers to bfloat16."""
        return self._convert_floats("bfloat16")

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Parameters and buffers of the same shapes with any values, on ``device``."""
        return self._apply(lambda x: gg.empty_like(x, device=device), recurse=recurse)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Run ``forward`` compiled from now on (``graphgrad.compile``), in place."""
        object.__setattr__(self, "forward", gg.compile(self.forward, *args, **kwargs))

    def cpu(self: M) -> M:
        """Move to the CPU."""
        return self._apply(lambda x: x.cpu())

    def cuda(self: M, device: Any = None) -> M:
        """Move to a CUDA device; raises as ``Tensor.cuda`` does where there is none."""
        return self._apply(lambda x: x.cuda(device))

    def share_memory(self: M) -> M:
        """Move to memory shared with child processes."""
        return self._apply(lambda x: x.share_memory_())

    # ----------------------------------------------------------------------------------- modes

    def train(self: M, mode: bool = True) -> M:
        """Training (or, with False, evaluation) mode for this module and all below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: M) -> M:
        """Evaluation mode: dropout off, batch norm uses its running statistics."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze (False) or unfreeze every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of every parameter (or fill them with zeros)."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach().zero_()

    # ----------------------------------------------------------------------------------- printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of a layer's repr; override."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indent(repr(c), 2)}" for name, c in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({extra})"
        if not lines and not children:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"

    def __dir__(self) -> list[str]:
        tables = (self._parameters, self._modules, self._buffers)
        keys = {*super().__dir__(), *(name for table in tables for name in table)}
        return sorted(key for key in keys if not key[:1].isdigit())


def indent(text: str, spaces: int) -> str:
    """Indent every line but the first."""
    return text.replace("\n", "\n" + " " * spaces)


def _parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, DType | None]:
    """The device and dtype that the arguments of ``to`` ask for."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for x in args[:2]:
        if isinstance(x, Tensor):
            device, dtype = x.device, x.dtype
        elif isinstance(x, (DType, Unsupported)):
            dtype = as_dtype(x)
        elif x is not None and not isinstance(x, bool):
            device = x
    return device, dtype
