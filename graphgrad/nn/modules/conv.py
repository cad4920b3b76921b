"""Convolution layers: ``Conv2d(3, 6, kernel_size=5)`` and its kin, and their transposes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.functional._arguments import spread
from graphgrad.nn import init
from graphgrad.nn.modules._channels import Widths
from graphgrad.nn.modules._checks import check_counts, check_sizes
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor

_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutions share: arguments and their checks, weight, bias, repr."""

    ndim: ClassVar[int]
    transposed: ClassVar[bool] = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_counts(self, in_channels=in_channels, out_channels=out_channels)
        check_sizes(self, self.ndim, 1, kernel_size=kernel_size, stride=stride, dilation=dilation)
        if not isinstance(padding, str):
            check_sizes(self, self.ndim, 0, padding=padding)
        self._check(in_channels, out_channels, groups, padding_mode)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = self._spread(kernel_size), self._spread(stride)
        self.dilation, self.padding_mode = self._spread(dilation), padding_mode
        self.padding = padding if isinstance(padding, str) else self._spread(padding)
        self.output_padding = (0,) * self.ndim
        self._check_string_padding()
        channels = (
            (in_channels, out_channels // groups)
            if self.transposed
            else (out_channels, in_channels // groups)
        )
        shape = (*channels, *self.kernel_size)
        self.weight = Parameter(gg.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(gg.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _spread(self, value: Any) -> tuple[int, ...]:
        return spread(value, self.ndim)

    def _check(self, in_channels: int, out_channels: int, groups: int, padding_mode: str) -> None:
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if padding_mode not in _MODES:
            modes = ", ".join(map(repr, _MODES))
            raise ValueError(
                f"padding_mode must be one of {{{modes}}}, but got padding_mode='{padding_mode}'"
            )

    def _check_string_padding(self) -> None:
        if not isinstance(self.padding, str):
            return
        if self.padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {self.padding!r}, should be one of {{'valid', 'same'}}"
            )
        if self.padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly in ±1/√(elements a weight row sees)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        init.fill_bias_(self.bias, self.weight)

    def _border(self) -> list[int]:
        """(before, after) widths from the last dimension on, as ``F.pad`` takes them."""
        if isinstance(self.padding, str):
            reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            totals = reach if self.padding == "same" else [0] * self.ndim
            pairs = [(t // 2, t - t // 2) for t in totals]
        else:
            pairs = [(p, p) for p in self.padding]
        return [width for pair in reversed(pairs) for width in pair]

    def _widths(self) -> Widths:
        dims = {self.ndim + 1: 0, self.ndim + 2: 1}
        takes, gives = self.in_channels, self.out_channels
        return Widths(takes, gives, "channels", dims, {"in_channels": takes, "out_channels": gives})

    def forward(self, input: Tensor) -> Tensor:
        run = (F.conv1d, F.conv2d, F.conv3d)[self.ndim - 1]
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._border(), self.padding_mode), 0
        return run(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}"
        )
        # Shown only where they differ from the defaults.
        plain = {"padding": 0, "dilation": 1, "output_padding": 0}
        for name, default in plain.items():
            if getattr(self, name) != (default,) * self.ndim:
                text += f", {name}={getattr(self, name)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_ConvNd):
    """Convolution over (N, C, L) or (C, L); weight (out, in/groups, K)."""

    ndim = 1


class Conv2d(_ConvNd):
    """Convolution over (N, C, H, W) or (C, H, W); weight (out, in/groups, KH, KW)."""

    ndim = 2


class Conv3d(_ConvNd):
    """Convolution over (N, C, D, H, W)."""

    ndim = 3


class _ConvTransposeNd(_ConvNd):
    """The adjoint of a convolution; ``output_padding`` settles the size when stride > 1."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.output_padding = self._spread(output_padding)

    def _extra(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output padding that reaches ``output_size``, or the layer's own."""
        if output_size is None:
            return self.output_padding
        wanted = tuple(output_size)[-self.ndim :]
        extra = []
        rows = zip(
            input.shape[-self.ndim :],
            self.stride,
            self.padding,
            self.kernel_size,
            self.dilation,
            strict=True,
        )
        for (n, s, p, k, d), size in zip(rows, wanted, strict=True):
            smallest = (n - 1) * s - 2 * int(p) + d * (k - 1) + 1
            if not smallest <= size < smallest + s:
                raise ValueError(
                    f"requested an output size of {list(wanted)}, but valid sizes of a dimension "
                    f"range from {smallest} to {smallest + s - 1}"
                )
            extra.append(size - smallest)
        return tuple(extra)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.ndim - 1]
        return run(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self._extra(input, output_size),
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Adjoint of Conv1d; weight (in, out/groups, K)."""

    ndim = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Adjoint of Conv2d; weight (in, out/groups, KH, KW)."""

    ndim = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Adjoint of Conv3d."""

    ndim = 3
