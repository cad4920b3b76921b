"""Recurrent layers and cells: RNN, LSTM, GRU.

lstm = nn.LSTM(input_size=28, hidden_size=64, num_layers=2, batch_first=True)
outputs, (h, c) = lstm(x)             # x (N, T, 28) → outputs (N, T, 64), h and c (2, N, 64)
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, ClassVar

import numpy as np

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.functional import recurrent
from graphgrad.nn import init
from graphgrad.nn.modules._cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from graphgrad.nn.modules._channels import LAST, Widths
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.nn.utils.rnn import PackedSequence, padded_places
from graphgrad.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class RNNBase(Module):
    """What recurrent layers share: arguments, weights, shapes, layers and directions."""

    gates: ClassVar[int] = 1
    has_cell: ClassVar[bool] = False
    mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._check_arguments()
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, shape in self._shapes(layer).items():
                    weight = Parameter(gg.empty(shape, device=device, dtype=dtype))
                    setattr(self, name + suffix, weight)
        self.reset_parameters()

    def _check_arguments(self) -> None:
        for name, kind in (("input_size", int), ("hidden_size", int), ("bias", bool)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
                )
        for name in ("hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if isinstance(self.dropout, bool) or not 0 <= self.dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                "dropout expects num_layers greater than 1, but got "
                f"dropout={self.dropout} and num_layers=1",
                stacklevel=4,
            )
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if self.proj_size and not self.has_cell:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    # ----------------------------------------------------------------------------------- weights

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _width(self) -> int:
        return self.proj_size or self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        inputs = self.input_size if layer == 0 else self._width * self._directions
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self._width),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of every layer and direction."""
        return [
            [getattr(self, name + suffix) for name in self._shapes(layer)]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def reset_parameters(self) -> None:
        """Draw every weight uniformly in ±1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: weights need not lie side by side."""

    # ----------------------------------------------------------------------------------- forward

    def _check_input(self, input: Tensor) -> None:
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            )
        own = self.weight_ih_l0.dtype
        if input.dtype is not own:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({own}). Convert "
                f"input: input.to({own}), or convert model: model.to({input.dtype})"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.shape[-1]}"
            )

    def _state(self, hx: Any, x: Tensor, batched: bool) -> list[Tensor]:
        """Initial states (layers·directions, N, width), zero unless given."""
        rows, n = self.num_layers * self._directions, x.shape[1]
        widths = (self._width, self.hidden_size) if self.has_cell else (self._width,)
        if hx is None:
            return [gg.zeros(rows, n, width, dtype=x.dtype, device=x.device) for width in widths]
        given = list(hx) if self.has_cell else [hx]
        dims = tuple(s.dim() for s in given)
        if any(d != (3 if batched else 2) for d in dims):
            raise RuntimeError(self._dims_text(dims, batched))
        given = given if batched else [s.unsqueeze(1) for s in given]
        for i, (s, width) in enumerate(zip(given, widths, strict=True)):
            if tuple(s.shape) != (rows, n, width):
                which = f"hidden[{i}]" if self.has_cell else "hidden"
                raise RuntimeError(f"Expected {which} size {(rows, n, width)}, got {list(s.shape)}")
        return given

    def _dims_text(self, dims: tuple[int, ...], batched: bool) -> str:
        kind, d = ("batched 3-D", 3) if batched else ("unbatched 2-D", 2)
        if not self.has_cell:
            return f"For {kind} input, hx should also be {d}-D but got {dims[0]}-D tensor"
        return (
            f"For {kind} input, hx and cx should also be {d}-D "
            f"but got ({dims[0]}-D, {dims[1]}-D) tensors"
        )

    def _widths(self) -> Widths:
        gives = self._width * self._directions
        arguments = {"input_size": self.input_size, "hidden_size": self.hidden_size}
        return Widths(self.input_size, gives, "features", LAST, arguments)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        self._check_input(input)
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        x = x.transpose(0, 1) if batched and self.batch_first else x
        states = self._state(hx, x, batched)
        if x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        x, last = self._run_layers(x, states)
        final = [gg.stack(rows) for rows in zip(*last, strict=True)]
        if not batched:
            x, final = x.squeeze(1), [s.squeeze(1) for s in final]
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, tuple(final) if self.has_cell else final[0]

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """Steps that a sequence does not have leave its state as it is."""
        data, _, order, back = packed
        if data.dim() != 2:
            raise ValueError(
                f"{self._get_name()}: Expected packed data to be 2D, got {data.dim()}D instead"
            )
        self._check_input(data)
        places, alive = padded_places(packed.sizes)
        beside = functools.partial(gg.tensor, device=data.device)
        x = data.index_select(0, beside(places.reshape(-1))).reshape(*places.shape, -1)
        states = self._state(hx, x, True)
        if order is not None:
            states = [s.index_select(1, order) for s in states]
        x, last = self._run_layers(x, states, beside(alive[:, :, None]))
        final = [gg.stack(rows) for rows in zip(*last, strict=True)]
        if back is not None:
            final = [s.index_select(1, back) for s in final]
        rows = beside(np.nonzero(alive.reshape(-1))[0])
        out = x.reshape(-1, x.shape[2]).index_select(0, rows)
        pair = tuple(final) if self.has_cell else final[0]
        return packed.with_data(out), pair

    def _run_layers(
        self, x: Tensor, states: list[Tensor], alive: Tensor | None = None
    ) -> tuple[Tensor, list[list[Tensor]]]:
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = len(last)
                weights = [getattr(self, name + suffix, None) for name in _WEIGHTS]
                state = [s[row] for s in states]
                out, *final = self._run(x, state, weights, alive, direction == 1)
                outputs.append(out)
                last.append(final)
            x = outputs[0] if len(outputs) == 1 else gg.cat(outputs, -1)
            if self.dropout and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x, last

    def _run(
        self,
        x: Tensor,
        state: list[Tensor],
        weights: list[Any],
        alive: Tensor | None,
        reverse: bool,
    ) -> Any:
        raise NotImplementedError(f"{self._get_name()} has no recurrence")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        plain = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        plain |= {"dropout": 0, "bidirectional": False}
        changed = (
            (k, getattr(self, k)) for k, default in plain.items() if getattr(self, k) != default
        )
        return text + "".join(f", {k}={v}" for k, v in changed)


class RNN(RNNBase):
    """h = tanh(W_ih·x + b_ih + W_hh·h + b_hh), or relu in place of tanh."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity, self.mode = nonlinearity, f"RNN_{nonlinearity.upper()}"

    def _run(
        self,
        x: Tensor,
        state: list[Tensor],
        weights: list[Any],
        alive: Tensor | None,
        reverse: bool,
    ) -> Any:
        relu = self.nonlinearity == "relu"
        return recurrent.rnn_layer(x, *state, *weights[:4], alive, reverse, relu)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber 1997); ``proj_size`` projects the output."""

    gates, has_cell, mode = 4, True, "LSTM"

    def _run(
        self,
        x: Tensor,
        state: list[Tensor],
        weights: list[Any],
        alive: Tensor | None,
        reverse: bool,
    ) -> Any:
        return recurrent.lstm_layer(x, *state, *weights, alive, reverse)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al. 2014)."""

    gates, mode = 3, "GRU"

    def _run(
        self,
        x: Tensor,
        state: list[Tensor],
        weights: list[Any],
        alive: Tensor | None,
        reverse: bool,
    ) -> Any:
        return recurrent.gru_layer(x, *state, *weights[:4], alive, reverse)
