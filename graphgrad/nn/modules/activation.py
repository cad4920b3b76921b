"""Activations as layers: the curves of ``graphgrad.nn.functional`` with their settings."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.nn.modules._configured import REQUIRED, Configured
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor

_INPLACE = {"inplace": False}


class ReLU(Configured):
    """max(x, 0)."""

    function, arguments = F.relu, _INPLACE


class ReLU6(Configured):
    """min(max(x, 0), 6)."""

    function, arguments = F.relu6, _INPLACE


class LeakyReLU(Configured):
    """x where x > 0, else negative_slope·x."""

    function, arguments = F.leaky_relu, {"negative_slope": 0.01, **_INPLACE}


class RReLU(Configured):
    """Leaky relu whose slope is drawn from [lower, upper) in training."""

    function, arguments = F.rrelu, {"lower": 1.0 / 8, "upper": 1.0 / 3, **_INPLACE}

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class ELU(Configured):
    """x where x > 0, else alpha·(exp(x) - 1)."""

    function, arguments = F.elu, {"alpha": 1.0, **_INPLACE}


class SELU(Configured):
    """Self-normalising elu."""

    function, arguments = F.selu, _INPLACE


class CELU(Configured):
    """x where x > 0, else alpha·(exp(x/alpha) - 1)."""

    function, arguments = F.celu, {"alpha": 1.0, **_INPLACE}


class GELU(Configured):
    """x·Φ(x)."""

    function, arguments = F.gelu, {"approximate": "none"}


class SiLU(Configured):
    """x·sigmoid(x)."""

    function, arguments = F.silu, _INPLACE


class Mish(Configured):
    """x·tanh(softplus(x))."""

    function, arguments = F.mish, _INPLACE


class Sigmoid(Configured):
    """1/(1 + exp(-x))."""

    function, arguments = F.sigmoid, {}


class Tanh(Configured):
    """Hyperbolic tangent."""

    function, arguments = F.tanh, {}


class LogSigmoid(Configured):
    """log sigmoid(x)."""

    function, arguments = F.logsigmoid, {}


class Softplus(Configured):
    """log(1 + exp(beta·x))/beta."""

    function, arguments = F.softplus, {"beta": 1.0, "threshold": 20.0}


class Softsign(Configured):
    """x/(1 + |x|)."""

    function, arguments = F.softsign, {}


class Tanhshrink(Configured):
    """x - tanh(x)."""

    function, arguments = F.tanhshrink, {}


class Hardtanh(Configured):
    """x clipped to [min_val, max_val]."""

    function, arguments = F.hardtanh, {"min_val": -1.0, "max_val": 1.0, **_INPLACE}

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["max_val"] <= values["min_val"]:
            raise AssertionError("max_val must be larger than min_val")
        return values


class Hardsigmoid(Configured):
    """(x + 3)/6 clipped to [0, 1]."""

    function, arguments, shown = F.hardsigmoid, _INPLACE, ()


class Hardswish(Configured):
    """x·hardsigmoid(x)."""

    function, arguments, shown = F.hardswish, _INPLACE, ()


class _Shrink(Configured):
    arguments = {"lambd": 0.5}

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """x outside [-lambd, lambd], else 0."""

    function = F.hardshrink


class Softshrink(_Shrink):
    """x moved towards 0 by lambd."""

    function = F.softshrink


class Threshold(Configured):
    """x where x > threshold, else value."""

    function, arguments = F.threshold, {"threshold": REQUIRED, "value": REQUIRED, **_INPLACE}


class GLU(Configured):
    """a·sigmoid(b) of the two halves of ``dim``."""

    function, arguments = F.glu, {"dim": -1}


class Softmax(Configured):
    """exp(x)/Σ exp(x) along ``dim``."""

    function, arguments = F.softmax, {"dim": None}


class LogSoftmax(Configured):
    """log softmax(x) along ``dim``."""

    function, arguments, shown = F.log_softmax, {"dim": None}, ("dim",)


class Softmin(Configured):
    """softmax(-x) along ``dim``."""

    function, arguments = F.softmin, {"dim": None}


class Softmax2d(Configured):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    function, arguments = F.softmax, {}

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return F.softmax(input, -3)


class PReLU(Module):
    """x where x > 0, else weight·x; ``num_parameters`` is 1 or the number of channels."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(gg.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every slope back to ``init``."""
        gg.nn.init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
