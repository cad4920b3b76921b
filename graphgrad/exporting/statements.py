"""Nodes as NumPy statements, one line a node: for what is no loop, and where no kernel is readable.

lines = statements(region, value, targets, names, functions, constant)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad import ir
from graphgrad.ir import Node
from graphgrad.regions import Region

from .helpers import EXPRESSIONS
from .kernels import literal
from .names import Names
from .source import FunctionSource

Say = Callable[[Node], str]


def statements(
    region: Region, value: Say, target: Say, names: Names, functions: FunctionSource, constant: Say
) -> list[str]:
    """Lines that compute a region: ``value`` and ``target`` say what is read and written."""
    text: dict[Node, str] = {x: value(x) for x in region.inputs}
    order = [x for x in ir.topological(region.outputs, stop=text) if x not in text]
    lines: list[str] = []
    for x in order:
        if x.op.kind == "host" and x.op.name not in EXPRESSIONS:
            raise NotImplementedError(
                f"{x.op.name} at {x.origin} calls a Python function of graphgrad (linear algebra, "
                "FFT or a function of yours), which an exported file cannot hold"
            )
        if x.op.kind == "source" and x.op.name != "iota":
            text[x] = constant(x)
            continue
        written = expression(x.op.name, [text[i] for i in x.inputs], x.attrs, x, functions)
        if (x,) == region.outputs and x is order[-1]:
            return [*lines, _stored(target(x), written)]
        text[x] = names.fresh(x.op.name)
        lines.append(f"{text[x]} = {written}")
    return lines + [_stored(target(y), text[y]) for y in region.outputs]


def _stored(target: str, written: str) -> str:
    if written.startswith("np.matmul("):
        return f"{written[:-1]}, out={target})"
    return f"{target}[...] = {written}"


def expression(
    op: str, operands: Sequence[str], attrs: Mapping[str, Any], x: Any, functions: FunctionSource
) -> str:
    """One primitive as an expression over the texts of its operands."""
    special = _SPECIAL.get(op)
    found = special(operands, attrs, x) if special is not None else None
    if found is not None:
        return found
    if op in EXPRESSIONS:
        words = {k: getattr(v, "name", None) or repr(v) for k, v in attrs.items()}
        if x is not None:
            words = {"dtype": x.dtype.name, **words, "shape": repr(x.shape)}
        return EXPRESSIONS[op].format(*operands, **words)
    name = functions.rule(op)
    named = [f"{k}={literal(v)}" for k, v in attrs.items()]
    return f"{name}({', '.join([*operands, *named])})"


def scalar(x: Node) -> str:
    """A literal node as a NumPy number."""
    value = np.asarray(x.attrs["value"]).astype(x.dtype.numpy)
    return f"np.{value.dtype.name}({literal(value.item())})"


def _slice(operands: Sequence[str], attrs: Mapping[str, Any], x: Any) -> str:
    rows = zip(attrs["start"], attrs["stop"], attrs["step"], strict=True)
    cuts = [f"{a or ''}:{b}{'' if s == 1 else f':{s}'}" for a, b, s in rows]
    return f"{operands[0]}[{', '.join(cuts) or '()'}]"


def _concat(operands: Sequence[str], attrs: Mapping[str, Any], x: Any) -> str:
    return f"np.concatenate(({', '.join(operands)},), {attrs['axis']})"


def _iota(operands: Sequence[str], attrs: Mapping[str, Any], x: Any) -> str:
    shape, axis = attrs["shape"], attrs["axis"]
    steps = tuple(shape[axis] if a == axis else 1 for a in range(len(shape)))
    numbers = f"np.arange({shape[axis]}, dtype=np.{attrs['dtype'].name})"
    return f"np.broadcast_to({numbers}.reshape({steps}), {shape})"


def _product(operands: Sequence[str], attrs: Mapping[str, Any], x: Any) -> str | None:
    """A plain matrix product by its name; None for any other contraction."""
    (a_axes, b_axes), (batch, _) = attrs["contract"], attrs["batch"]
    ranks = [len(i.shape) for i in x.inputs]
    if batch or ranks != [2, 2] or len(a_axes) != 1:
        return None
    left = operands[0] if a_axes[0] == 1 else f"{operands[0]}.T"
    right = operands[1] if b_axes[0] == 0 else f"{operands[1]}.T"
    return f"np.matmul({left}, {right})"


_SPECIAL: dict[str, Callable[..., str | None]] = {
    "slice": _slice,
    "concat": _concat,
    "iota": _iota,
    "dot_general": _product,
}
