"""Channels as pixels, and back: ``PixelShuffle``, ``PixelUnshuffle``."""

from __future__ import annotations

from graphgrad import functional as F
from graphgrad.nn.modules._configured import REQUIRED, Configured


class PixelShuffle(Configured):
    """(…, C·r², H, W) → (…, C, H·r, W·r)."""

    function, arguments = F.pixel_shuffle, {"upscale_factor": REQUIRED}


class PixelUnshuffle(Configured):
    """(…, C, H·r, W·r) → (…, C·r², H, W)."""

    function, arguments = F.pixel_unshuffle, {"downscale_factor": REQUIRED}
