"""Dropout layers: active in training, the identity in evaluation."""

from __future__ import annotations

from typing import Any

from graphgrad import functional as F
from graphgrad.nn.modules._configured import Configured
from graphgrad.tensor import Tensor


class _Dropout(Configured):
    arguments = {"p": 0.5, "inplace": False}

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        p = values["p"]
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        return values

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element is 0 with probability ``p``, else scaled by 1/(1 - p)."""

    function = F.dropout


class Dropout1d(_Dropout):
    """Drops whole channels of (N, C, L)."""

    function = F.dropout1d


class Dropout2d(_Dropout):
    """Drops whole channels of (N, C, H, W)."""

    function = F.dropout2d


class Dropout3d(_Dropout):
    """Drops whole channels of (N, C, D, H, W)."""

    function = F.dropout3d


class AlphaDropout(_Dropout):
    """Dropout for selu networks."""

    function = F.alpha_dropout


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels."""

    function = F.feature_alpha_dropout
