"""Code of the user's that runs during backward: hooks on tensors and on records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphgrad import ir
from graphgrad.errors import Origin, here
from graphgrad.tensor.record import Record
from graphgrad.tensor.state import state


class users_code:
    """What is made inside points at the user's line that runs: a hook's, or of their own backward.

    ``rec``: the record whose backward it is.
    """

    def __init__(self, rec: Record | None = None) -> None:
        self.name, self.parent = ("", None) if rec is None else (rec.name(), rec.origin)

    def __enter__(self) -> None:
        self.before = ir.set_origin(self._here), state.deriving
        state.deriving = None

    def __exit__(self, *_: Any) -> None:
        origin, state.deriving = self.before
        ir.set_origin(origin)

    def _here(self) -> Origin:
        origin = here(state.module)
        return replace(origin, phase="backward", record=self.name, parent=self.parent)


def tensor_hooks(hooks: Any, number: int, g: Any) -> Any:
    for hook in list(hooks.outputs.get(number, {}).values()):
        with users_code():
            replaced = hook(g)
        g = g if replaced is None else replaced
    tensor = hooks.retained[number]() if number in hooks.retained else None
    if tensor is not None:
        before = tensor._grad
        tensor._grad = g.clone() if before is None else before + g
    return g


def before_hooks(hooks: Any, cotangents: list[Any]) -> list[Any]:
    for hook in list(hooks.before.values()):
        with users_code():
            replaced = hook(tuple(cotangents))
        cotangents = cotangents if replaced is None else list(_several(replaced))
    return cotangents


def after_hooks(rec: Record, pulled: list[Any], cotangents: list[Any]) -> list[Any]:
    """``hook(grad_inputs, grad_outputs)``: None stands for operands without gradient."""
    needs = rec.way.needs
    for hook in list(rec._hooks.after.values()):  # type: ignore[union-attr]
        inputs: list[Any] = [None] * len(rec.way.inputs)
        for i, g in zip(needs, pulled, strict=True):
            inputs[i] = g
        with users_code():
            replaced = hook(tuple(inputs), tuple(cotangents))
        if replaced is not None:
            pulled = [_several(replaced)[i] for i in needs]
    return pulled


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else (value,)
