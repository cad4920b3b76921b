"""Movement as strides: which nodes are only another way to look at memory, and what they look like.

    base, views = path(x, memory)        # the value below the views, and the views from it outwards
    resolve(x, memory)                   # View(base, offset, shape, strides), or None
    obstacle(x, memory)                  # what must be copied so that resolve succeeds, or None

``memory`` holds the nodes that are arrays in memory; they are contiguous. Strides count elements.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.ir import Node
from graphgrad.ops import Shape

VIEWS = frozenset({"reshape", "permute", "expand", "slice", "flip", "window"})


@dataclass(frozen=True, slots=True)
class View:
    """Element ``offset + Σ index·stride`` of the array ``base``."""

    base: Node
    offset: int
    shape: Shape
    strides: tuple[int, ...]

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps (from ``offset`` on)."""
        pairs = zip(self.shape, self.strides, row_major(self.shape), strict=True)
        return 0 in self.shape or all(n == 1 or s == t for n, s, t in pairs)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Element strides of a contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def path(x: Node, memory: Container[Node] = ()) -> tuple[Node, list[Node]]:
    """What ``x`` is a view of, and the views that lead from there to ``x``."""
    views = []
    while x.op.name in VIEWS and x not in memory:
        views.append(x)
        x = x.inputs[0]
    return x, views[::-1]


def resolve(x: Node, memory: Container[Node] = ()) -> View | None:
    """The view that ``x`` is, or None where a reshape in between cannot be strides."""
    base, views = path(x, memory)
    view = View(base, 0, base.shape, row_major(base.shape))
    for y in views:
        moved = apply_view(y.op.name, view, y)
        if moved is None:
            return None
        view = moved
    return view


def obstacle(x: Node, memory: Container[Node] = ()) -> Node | None:
    """The operand of the first reshape that is no matter of strides: copied, it would be."""
    base, views = path(x, memory)
    view = View(base, 0, base.shape, row_major(base.shape))
    for y in views:
        moved = apply_view(y.op.name, view, y)
        if moved is None:
            return y.inputs[0]
        view = moved
    return None


def apply_view(name: str, view: View, y: Any) -> View | None:
    """The view ``y``, a Node or what has its ``attrs`` and ``shape``, makes of a view.

    None for a reshape that strides cannot express.
    """
    return _APPLY[name](view, y)


def _reshape(view: View, y: Node) -> View | None:
    strides = reshape_strides(view.shape, view.strides, y.shape)
    return None if strides is None else View(view.base, view.offset, y.shape, strides)


def reshape_strides(shape: Shape, strides: Sequence[int], new: Shape) -> tuple[int, ...] | None:
    """Strides of a reshaped view without a copy, or None: dimensions are merged, then split."""
    if 0 in shape:
        return row_major(new)
    merged: list[list[int]] = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if merged and merged[-1][1] == n * s:
            merged[-1] = [merged[-1][0] * n, s]
        else:
            merged.append([n, s])
    result = [0] * len(new)
    for axis in reversed(range(len(new))):
        n = new[axis]
        if n == 1:
            continue
        if not merged or merged[-1][0] % n:
            return None
        size, stride = merged.pop()
        result[axis] = stride
        if size > n:
            merged.append([size // n, stride * n])
    return tuple(result)


def _permute(view: View, y: Node) -> View:
    strides = tuple(view.strides[a] for a in y.attrs["axes"])
    return View(view.base, view.offset, y.shape, strides)


def _expand(view: View, y: Node) -> View:
    lead = len(y.shape) - len(view.shape)
    pairs = zip(view.shape, y.shape[lead:], view.strides, strict=True)
    strides = (0,) * lead + tuple(s if n == m else 0 for n, m, s in pairs)
    return View(view.base, view.offset, y.shape, strides)


def _slice(view: View, y: Node) -> View:
    start, step = y.attrs["start"], y.attrs["step"]
    offset = sum(a * s for a, s in zip(start, view.strides, strict=True))
    strides = tuple(k * s for k, s in zip(step, view.strides, strict=True))
    return View(view.base, view.offset + offset, y.shape, strides)


def _flip(view: View, y: Node) -> View:
    axes, strides, offset = y.attrs["axes"], list(view.strides), view.offset
    for a in axes:
        offset += max(view.shape[a] - 1, 0) * strides[a]
        strides[a] = -strides[a]
    return View(view.base, offset, y.shape, tuple(strides))


def _window(view: View, y: Node) -> View:
    attrs, strides = y.attrs, list(view.strides)
    tail = [strides[a] * d for a, d in zip(attrs["axes"], attrs["dilation"], strict=True)]
    for a, s in zip(attrs["axes"], attrs["stride"], strict=True):
        strides[a] *= s
    return View(view.base, view.offset, y.shape, (*strides, *tail))


_APPLY = {
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
    "slice": _slice,
    "flip": _flip,
    "window": _window,
}
