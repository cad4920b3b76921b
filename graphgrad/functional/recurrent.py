"""Recurrent layers: one scan a layer and direction, whatever the sequence's length.

The input's share of every gate is one product over all time steps; the scan's body holds only what
depends on the state.
"""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gates (…, 4·H) in PyTorch's order (input, forget, cell, output) → (output, cell)."""
    i, f, g, o = gates.chunk(4, -1)
    cell = lang.sigmoid(f) * cell + lang.sigmoid(i) * lang.tanh(g)
    return lang.sigmoid(o) * lang.tanh(cell), cell


def gru_cell(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """Gates (…, 3·H) in PyTorch's order: reset, update, new; the reset acts on the hidden share."""
    (ri, zi, ni), (rh, zh, nh) = from_input.chunk(3, -1), from_hidden.chunk(3, -1)
    update = lang.sigmoid(zi + zh)
    new = lang.tanh(ni + lang.sigmoid(ri + rh) * nh)
    return new + update * (hidden - new)


@composite("LstmBackward0")
def lstm_layer(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """x (T, N, I) → outputs (T, N, H), last hidden, last cell; ``w_hr`` projects the output."""
    gates = x @ w_ih.t()
    if b_ih is not None and b_hh is not None:
        gates = gates + (b_ih + b_hh)
    transposed, projection = w_hh.t(), None if w_hr is None else w_hr.t()

    def step(carry: Any, gate: Tensor) -> Any:
        h, c = carry
        h, c = lstm_cell(gate + h @ transposed, c)
        h = h if projection is None else h @ projection
        return (h, c), h

    (hidden, cell), outputs = gg.scan(step, (hidden, cell), gates, reverse=reverse)
    return outputs, hidden, cell


@composite("GruBackward0")
def gru_layer(
    x: Tensor,
    hidden: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """x (T, N, I) → outputs (T, N, H), last hidden."""
    gates = x @ w_ih.t()
    if b_ih is not None:
        gates = gates + b_ih
    transposed = w_hh.t()

    def step(h: Tensor, gate: Tensor) -> Any:
        own = h @ transposed
        h = gru_cell(gate, own if b_hh is None else own + b_hh, h)
        return h, h

    hidden, outputs = gg.scan(step, hidden, gates, reverse=reverse)
    return outputs, hidden


@composite("RnnBackward0")
def rnn_layer(
    x: Tensor,
    hidden: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    reverse: bool,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """x (T, N, I) → outputs (T, N, H), last hidden; the nonlinearity is tanh or relu."""
    gates = x @ w_ih.t()
    if b_ih is not None and b_hh is not None:
        gates = gates + (b_ih + b_hh)
    transposed = w_hh.t()

    def step(h: Tensor, gate: Tensor) -> Any:
        total = gate + h @ transposed
        h = lang.where(total <= 0, 0.0, total) if relu else lang.tanh(total)
        return h, h

    hidden, outputs = gg.scan(step, hidden, gates, reverse=reverse)
    return outputs, hidden
