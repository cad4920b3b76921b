"""Rewrites that put pieces side by side instead of adding padded ones."""

from __future__ import annotations

from collections.abc import Callable

from graphgrad import ir
from graphgrad.ir import Node


def concat_of_pads(x: Node) -> Node | None:
    """pad(a) + pad(b) + pad(c) → concat(a, b, c)   where the pieces tile the result

    What the gradient of slices (the gates of an LSTM, a split) looks like. Up to the sign of zero.
    """
    pads = _added_pads(x)
    if pads is None or len(pads) < 2:
        return None
    axis = next((a for a, n in enumerate(pads[0].shape) if n != pads[0].inputs[0].shape[a]), None)
    if axis is None:
        return None
    pads.sort(key=lambda p: p.attrs["low"][axis])
    end = 0
    for p in pads:
        (piece,) = p.inputs
        low = tuple(end if a == axis else 0 for a in range(len(x.shape)))
        if p.attrs["low"] != low or piece.shape[:axis] != x.shape[:axis]:
            return None
        if piece.shape[axis + 1 :] != x.shape[axis + 1 :]:
            return None
        end += piece.shape[axis]
    if end != x.shape[axis]:
        return None
    return ir.node("concat", *(p.inputs[0] for p in pads), axis=axis, origins=x.origins)


def _added_pads(x: Node) -> list[Node] | None:
    """The leaves of a tree of additions, if all of them are paddings with zero."""
    found: list[Node] = []
    stack = [x]
    while stack:
        y = stack.pop()
        if y.op.name == "add" and y.shape == x.shape:
            stack.extend(y.inputs)
        elif y.op.name == "pad" and y.attrs["value"] == 0 and not any(y.attrs["interior"]):
            found.append(y)
        else:
            return None
    return found


TILE_RULES: dict[str, tuple[Callable[[Node], Node | None], ...]] = {"add": (concat_of_pads,)}
