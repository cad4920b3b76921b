"""Channels of groups, interleaved: ``ChannelShuffle``."""

from __future__ import annotations

from graphgrad import functional as F
from graphgrad.nn.modules._configured import REQUIRED, Configured


class ChannelShuffle(Configured):
    """Interleaves the channels of ``groups`` groups."""

    function, arguments = F.channel_shuffle, {"groups": REQUIRED}
