"""One step of a recurrence: ``RNNCell``, ``LSTMCell``, ``GRUCell``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.functional import recurrent
from graphgrad.nn import init
from graphgrad.nn.modules._channels import LAST, Widths
from graphgrad.nn.modules._checks import check_counts
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor


class RNNCellBase(Module):
    """One step of a recurrence: input (N, I) or (I,)."""

    gates: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_counts(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(gg.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(gg.empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            value = Parameter(gg.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight uniformly in ±1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _widths(self) -> Widths:
        arguments = {"input_size": self.input_size, "hidden_size": self.hidden_size}
        return Widths(self.input_size, self.hidden_size, "features", LAST, arguments)

    def _check(self, **tensors: Tensor | None) -> None:
        for name, x in tensors.items():
            if x is not None and x.dim() not in (1, 2):
                raise ValueError(
                    f"{self._get_name()}: Expected {name} to be 1D or 2D, got {x.dim()}D instead"
                )

    def _zero(self, input: Tensor) -> Tensor:
        return gg.zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype, device=input.device)

    def _shares(self, input: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What input and hidden state each contribute to the gates."""
        own = F.linear(hidden, self.weight_hh, self.bias_hh)
        return F.linear(input, self.weight_ih, self.bias_ih), own

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias else f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"


class RNNCell(RNNCellBase):
    """One step of an RNN."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        self._check(input=input, hidden=hx)
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        total = sum(self._shares(input, self._zero(input) if hx is None else hx))
        return total.tanh() if self.nonlinearity == "tanh" else F.relu(total)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h, c) → (h, c)."""

    gates = 4

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        h, c = (self._zero(input), self._zero(input)) if hx is None else hx
        self._check(input=input, hx=h, cx=c)
        return recurrent.lstm_cell(sum(self._shares(input, h)), c)


class GRUCell(RNNCellBase):
    """One step of a GRU."""

    gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        h = self._zero(input) if hx is None else hx
        self._check(input=input, hidden=h)
        return recurrent.gru_cell(*self._shares(input, h), h)
