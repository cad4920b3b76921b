"""Pooling layers, over one to three dimensions: ``MaxPool2d(2)``, ``AdaptiveAvgPool2d(1)``, …"""

from __future__ import annotations

from typing import Any, ClassVar

from graphgrad import functional as F
from graphgrad.functional._arguments import spread
from graphgrad.nn.modules._checks import check_sizes
from graphgrad.nn.modules._configured import REQUIRED, Configured
from graphgrad.tensor import Tensor

_LEAST = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}


class _Pool(Configured):
    """``stride`` is the kernel's size unless given."""

    ndim: ClassVar[int]

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["stride"] is None:
            values["stride"] = values["kernel_size"]
        for name, least in _LEAST.items():
            if name in values:
                check_sizes(self, self.ndim, least, **{name: values[name]})
        return values


class _MaxPool(_Pool):
    arguments = {
        "kernel_size": REQUIRED,
        "stride": None,
        "padding": 0,
        "dilation": 1,
        "return_indices": False,
        "ceil_mode": False,
    }
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_MaxPool):
    """Maximum over windows of (…, C, L)."""

    function, ndim = F.max_pool1d, 1


class MaxPool2d(_MaxPool):
    """Maximum over windows of (…, C, H, W)."""

    function, ndim = F.max_pool2d, 2


class MaxPool3d(_MaxPool):
    """Maximum over windows of (…, C, D, H, W)."""

    function, ndim = F.max_pool3d, 3


class AvgPool1d(_Pool):
    """Mean over windows of (…, C, L)."""

    function, ndim = F.avg_pool1d, 1
    arguments = {
        "kernel_size": REQUIRED,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
    }
    shown = ("kernel_size", "stride", "padding")

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        values = super().prepare(values)
        return values | {name: spread(values[name], 1) for name in self.shown}


class _AvgPool(_Pool):
    arguments = {
        "kernel_size": REQUIRED,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
        "divisor_override": None,
    }
    shown = ("kernel_size", "stride", "padding")


class AvgPool2d(_AvgPool):
    """Mean over windows of (…, C, H, W)."""

    function, ndim = F.avg_pool2d, 2


class AvgPool3d(_AvgPool):
    """Mean over windows of (…, C, D, H, W)."""

    function, ndim = F.avg_pool3d, 3


class _LPPool(Configured):
    arguments = {
        "norm_type": REQUIRED,
        "kernel_size": REQUIRED,
        "stride": None,
        "ceil_mode": False,
    }


class LPPool1d(_LPPool):
    """(Σ x^p)^(1/p) over windows of (…, C, L)."""

    function = F.lp_pool1d


class LPPool2d(_LPPool):
    """(Σ x^p)^(1/p) over windows of (…, C, H, W)."""

    function = F.lp_pool2d


class LPPool3d(_LPPool):
    """(Σ x^p)^(1/p) over windows of (…, C, D, H, W)."""

    function = F.lp_pool3d


class _AdaptiveAvgPool(Configured):
    arguments = {"output_size": REQUIRED}


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean over ``output_size`` windows of (…, C, L)."""

    function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean over windows of (…, C, H, W)."""

    function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean over windows of (…, C, D, H, W)."""

    function = F.adaptive_avg_pool3d


class _AdaptiveMaxPool(Configured):
    arguments = {"output_size": REQUIRED, "return_indices": False}
    shown = ("output_size",)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over ``output_size`` windows of (…, C, L)."""

    function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over windows of (…, C, H, W)."""

    function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maximum over windows of (…, C, D, H, W)."""

    function = F.adaptive_max_pool3d


class _FractionalMaxPool(Configured):
    arguments = {
        "kernel_size": REQUIRED,
        "output_size": None,
        "output_ratio": None,
        "return_indices": False,
        "_random_samples": None,
    }
    shown = ()
    ndim: ClassVar[int]

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        name, size, ratio = type(self).__name__, values["output_size"], values["output_ratio"]
        if size is None and ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if size is not None and ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        for setting in ("kernel_size", "output_size", "output_ratio"):
            if values[setting] is not None:
                values[setting] = spread(values[setting], self.ndim)
        if ratio is not None and not all(0 < r < 1 for r in values["output_ratio"]):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {ratio})")
        self.register_buffer("_random_samples", values.pop("_random_samples"))
        return values


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maximum over windows at random places of (…, C, H, W), for any output size."""

    function, ndim = F.fractional_max_pool2d, 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Maximum over windows at random places of (…, C, D, H, W), for any output size."""

    function, ndim = F.fractional_max_pool3d, 3


class _MaxUnpool(Configured):
    arguments = {"kernel_size": REQUIRED, "stride": None, "padding": 0}
    ndim: ClassVar[int]

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["stride"] is None:
            values["stride"] = values["kernel_size"]
        return {name: spread(value, self.ndim) for name, value in values.items()}

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        sizes = (self.kernel_size, self.stride, self.padding)
        return self.function(input, indices, *sizes, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Each maximum back where MaxPool1d found it."""

    function, ndim = F.max_unpool1d, 1


class MaxUnpool2d(_MaxUnpool):
    """Each maximum back where MaxPool2d found it."""

    function, ndim = F.max_unpool2d, 2


class MaxUnpool3d(_MaxUnpool):
    """Each maximum back where MaxPool3d found it."""

    function, ndim = F.max_unpool3d, 3
