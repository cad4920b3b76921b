"""Layers that learn how wide their input is at the first call.

net = nn.Sequential(nn.LazyConv2d(16, 3), nn.Flatten(), nn.LazyLinear(10))
net(images[:1])                 # now they are Conv2d and Linear; before that, no optimizer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import graphgrad as gg
from graphgrad.errors import TraceError, message
from graphgrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from graphgrad.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from graphgrad.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from graphgrad.nn.modules.linear import Linear
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Buffer, Parameter
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad, state


class _Uninitialized:
    """A tensor whose shape is not known yet."""

    plain: ClassVar[type]

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """``__new__`` has made it."""

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized module. Call `forward` to initialize the parameters before accessing "
            "their attributes."
        )

    def materialize(self: Any, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Become a tensor of this shape, with any values."""
        place = self.device if device is None else device
        self.data = gg.empty(tuple(shape), dtype=dtype or self.dtype, device=place)
        self.__class__ = self.plain

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter whose shape is not known yet."""

    plain = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        made = Parameter(gg.empty(0, device=device, dtype=dtype), requires_grad)
        made.__class__ = cls
        return made


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer whose shape is not known yet."""

    plain = Buffer

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> Any:
        made = Buffer(gg.empty(0, device=device, dtype=dtype))
        made.__class__ = cls
        return made


def is_lazy(x: Any) -> bool:
    """Whether a tensor waits for its shape."""
    return isinstance(x, _Uninitialized)


class LazyModule(Module):
    """Stands before a layer among the bases: waits for the first input, then is ``cls_to_become``.

    ``width`` is the attribute that counts the input's channels or features.
    """

    cls_to_become: ClassVar[type]
    width: ClassVar[str]

    def _wait(self, dtype: Any) -> None:
        """Forget every tensor but counters: what they hold depends on the input."""
        for name, x in self._parameters.items():
            if x is not None:
                self._parameters[name] = UninitializedParameter(device=x.device, dtype=dtype)
        for name, x in self._buffers.items():
            if x is not None and x.dim():
                self._buffers[name] = UninitializedBuffer(device=x.device, dtype=dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Buffers that wait go on waiting, where they are moved to."""
        waiting = {name: x for name, x in self._buffers.items() if is_lazy(x)}
        super()._apply(fn, recurse)
        for name, x in waiting.items():
            x.data = self._buffers[name]
            self._buffers[name] = x
        return self

    def has_uninitialized_params(self) -> bool:
        """Whether some tensor waits for its shape."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor that waits, now that the width is known."""
        raise NotImplementedError

    def _seen_width(self, input: Tensor) -> int:
        """The width of an input."""
        raise NotImplementedError

    def initialize_parameters(self, input: Tensor, *_: Any) -> None:
        """Give the tensors their shapes and initial values, if they have none."""
        if not self.has_uninitialized_params():
            return
        with no_grad():
            setattr(self, self.width, self._seen_width(input))
            self._materialize()
            self.reset_parameters()

    def _materialize(self) -> None:
        for name, shape in self._shapes().items():
            x = getattr(self, name)
            if is_lazy(x):
                x.materialize(shape)

    def reset_parameters(self) -> None:
        """Draw anew what has a shape."""
        if not self.has_uninitialized_params() and getattr(self, self.width):
            super().reset_parameters()  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.trace is not None and self.has_uninitialized_params():
            raise TraceError(
                message(
                    f"{type(self).__name__} does not know its width yet",
                    hint="call the module once with an input before you compile it",
                )
            )
        self.initialize_parameters(*args)
        if type(self).cls_to_become in type(self).__mro__:
            self.__class__ = type(self).cls_to_become
        return self(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight", state_dict.get(f"{prefix}running_mean"))
        if weight is not None and not is_lazy(weight) and self.has_uninitialized_params():
            setattr(self, self.width, self._loaded_width(weight))
            self._materialize()
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _loaded_width(self, weight: Tensor) -> int:
        """The width of the layer that ``weight`` belongs to."""
        return weight.shape[0]


# ------------------------------------------------------------------------------------ layers


class LazyLinear(LazyModule, Linear):
    """Linear whose in_features is the input's last dimension."""

    cls_to_become, width = Linear, "in_features"

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        self._wait(dtype)

    def _seen_width(self, input: Tensor) -> int:
        return input.shape[-1]

    def _loaded_width(self, weight: Tensor) -> int:
        return weight.shape[1]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}
        return shapes if self.bias is not None else {"weight": shapes["weight"]}


class _LazyConv(LazyModule):
    width = "in_channels"

    def __init__(self, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, kernel_size, *args, **kwargs)
        self._wait(kwargs.get("dtype"))

    def _seen_width(self, input: Tensor) -> int:
        n = self.ndim
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        channels = input.shape[-n - 1]
        if channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        return channels

    def _loaded_width(self, weight: Tensor) -> int:
        return weight.shape[0] if self.transposed else weight.shape[1] * self.groups

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        channels = (self.out_channels, self.in_channels // self.groups)
        if self.transposed:
            channels = (self.in_channels, self.out_channels // self.groups)
        shapes = {"weight": (*channels, *self.kernel_size)}
        return shapes if self.bias is None else shapes | {"bias": (self.out_channels,)}


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d whose in_channels are the input's."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d whose in_channels are the input's."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d whose in_channels are the input's."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """ConvTranspose1d whose in_channels are the input's."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """ConvTranspose2d whose in_channels are the input's."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """ConvTranspose3d whose in_channels are the input's."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModule):
    width = "num_features"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, *args, **kwargs)
        self._wait(kwargs.get("dtype"))

    def _seen_width(self, input: Tensor) -> int:
        self._check_input_dim(input)
        return input.shape[self._widths().dims[input.dim()]]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        own = {**self._parameters, **self._buffers}
        return {name: (self.num_features,) for name, x in own.items() if is_lazy(x)}

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batch seen: once the statistics have a shape."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_running_stats()  # type: ignore[misc]


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d whose num_features are the input's channels."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d whose num_features are the input's channels."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d whose num_features are the input's channels."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """InstanceNorm1d whose num_features are the input's channels."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """InstanceNorm2d whose num_features are the input's channels."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """InstanceNorm3d whose num_features are the input's channels."""

    cls_to_become = InstanceNorm3d
