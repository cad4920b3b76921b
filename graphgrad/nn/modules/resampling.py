"""Layers that change resolution, or where elements lie: ``Upsample``, ``PixelShuffle``, …"""

from __future__ import annotations

from typing import Any, ClassVar

from graphgrad import functional as F
from graphgrad.functional._arguments import spread
from graphgrad.nn.modules._configured import REQUIRED, Configured
from graphgrad.nn.modules.module import Module
from graphgrad.tensor import Tensor


class PixelShuffle(Configured):
    """(…, C·r², H, W) → (…, C, H·r, W·r)."""

    function, arguments = F.pixel_shuffle, {"upscale_factor": REQUIRED}


class PixelUnshuffle(Configured):
    """(…, C, H·r, W·r) → (…, C·r², H, W)."""

    function, arguments = F.pixel_unshuffle, {"downscale_factor": REQUIRED}


class ChannelShuffle(Configured):
    """Interleaves the channels of ``groups`` groups."""

    function, arguments = F.channel_shuffle, {"groups": REQUIRED}


class Unfold(Configured):
    """Each window of (N, C, H, W) as a column."""

    function = F.unfold
    arguments = {"kernel_size": REQUIRED, "dilation": 1, "padding": 0, "stride": 1}


class Fold(Configured):
    """Columns back into windows; overlapping ones are added."""

    function = F.fold
    arguments = {
        "output_size": REQUIRED,
        "kernel_size": REQUIRED,
        "dilation": 1,
        "padding": 0,
        "stride": 1,
    }


class Upsample(Module):
    """``interpolate`` to a size or by a factor."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        several = isinstance(scale_factor, tuple)
        self.scale_factor = tuple(map(float, scale_factor)) if several else scale_factor
        if self.scale_factor is not None and not several:
            self.scale_factor = float(scale_factor)
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """``Upsample`` by the nearest pixel."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """``Upsample`` bilinearly, corners aligned."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


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
