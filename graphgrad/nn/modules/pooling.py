"""Pooling layers, over one to three dimensions: ``MaxPool2d(2)``, ``AdaptiveAvgPool2d(1)``, …"""

from __future__ import annotations

from typing import Any

from graphgrad import functional as F
from graphgrad.functional._arguments import spread
from graphgrad.nn.modules._configured import REQUIRED, Configured


class _Pool(Configured):
    """``stride`` is the kernel's size unless given."""

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["stride"] is None:
            values["stride"] = values["kernel_size"]
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

    function = F.max_pool1d


class MaxPool2d(_MaxPool):
    """Maximum over windows of (…, C, H, W)."""

    function = F.max_pool2d


class MaxPool3d(_MaxPool):
    """Maximum over windows of (…, C, D, H, W)."""

    function = F.max_pool3d


class AvgPool1d(_Pool):
    """Mean over windows of (…, C, L)."""

    function = F.avg_pool1d
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

    function = F.avg_pool2d


class AvgPool3d(_AvgPool):
    """Mean over windows of (…, C, D, H, W)."""

    function = F.avg_pool3d


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
