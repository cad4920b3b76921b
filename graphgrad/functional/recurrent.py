"""Recurrent layers: one scan a layer and direction, whatever the sequence's length.

The input's share of every gate is one product over all time steps; the scan's body holds only what
depends on the state.
"""

from __future__ import annotations

from collections.abc import Callable
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


def _over_time(
    step: Callable[[Any, Tensor], Any],
    states: tuple[Tensor, ...],
    gates: Tensor,
    alive: Tensor | None,
    reverse: bool,
) -> tuple[Any, Tensor]:
    """The last states, and the first state of every step; a sequence that is not ``alive`` waits.

    alive (T, N, 1): whether a sequence has this step. Run backwards, short ones begin later.
    """

    def running(carry: Any, gate: Tensor) -> Any:
        new = step(carry, gate)
        return new, new[0]

    def waiting(carry: Any, row: Any) -> Any:
        gate, there = row
        new = tuple(lang.where(there, x, y) for x, y in zip(step(carry, gate), carry, strict=True))
        return new, new[0]

    if alive is None:
        return gg.scan(running, states, gates, reverse=reverse)
    return gg.scan(waiting, states, (gates, alive), reverse=reverse)


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
    alive: Tensor | None,
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
        return h if projection is None else h @ projection, c

    (hidden, cell), outputs = _over_time(step, (hidden, cell), gates, alive, reverse)
    return outputs, hidden, cell


@composite("GruBackward0")
def gru_layer(
    x: Tensor,
    hidden: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    alive: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """x (T, N, I) → outputs (T, N, H), last hidden."""
    gates = x @ w_ih.t()
    if b_ih is not None:
        gates = gates + b_ih
    transposed = w_hh.t()

    def step(carry: Any, gate: Tensor) -> Any:
        (h,) = carry
        own = h @ transposed
        return (gru_cell(gate, own if b_hh is None else own + b_hh, h),)

    (hidden,), outputs = _over_time(step, (hidden,), gates, alive, reverse)
    return outputs, hidden


@composite("RnnBackward0")
def rnn_layer(
    x: Tensor,
    hidden: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    alive: Tensor | None,
    reverse: bool,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """x (T, N, I) → outputs (T, N, H), last hidden; the nonlinearity is tanh or relu."""
    gates = x @ w_ih.t()
    if b_ih is not None and b_hh is not None:
        gates = gates + (b_ih + b_hh)
    transposed = w_hh.t()

    def step(carry: Any, gate: Tensor) -> Any:
        total = gate + carry[0] @ transposed
        return (lang.where(total <= 0, 0.0, total) if relu else lang.tanh(total),)

    (hidden,), outputs = _over_time(step, (hidden,), gates, alive, reverse)
    return outputs, hidden
