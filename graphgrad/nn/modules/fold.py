"""Windows as columns, and back: ``Unfold``, ``Fold``."""

from __future__ import annotations

from graphgrad import functional as F
from graphgrad.nn.modules._configured import REQUIRED, Configured


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
