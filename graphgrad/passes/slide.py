"""Rewrites that keep sliding windows as views.

The transpose of a contraction over windows is again a contraction over windows, and crops move
through contractions into their operands.

Together they turn the data gradient of a convolution, which would write every overlapping window to
memory and add them up, into a convolution of the padded cotangent with the flipped weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphgrad import ir, lang
from graphgrad.ir import Node


def window_sum_of_dot(x: Node) -> Node | None:
    """window_sum(dot(g, w)) → dot(window(pad(g)), flip(w))   for unit strides, or one o

    before  y[n, c, p + k] += Σ_o g[n, o, p]·w[o, c, k]          (overlapping windows, added)
    after   y[n, c, q] = Σ_{o,k} pad(g)[n, o, q + k]·flip(w)[o, c, k]

    Strides put zeros between the elements of g. Products with these cost more than the sum of
    windows does, unless nothing is summed over o: there it is memory that takes time.
    """
    (source,) = x.inputs
    order = tuple(range(len(source.shape)))
    dot = source
    if source.op.name == "permute":
        order, dot = source.attrs["axes"], source.inputs[0]
    if dot.op.name != "dot_general":
        return None
    summed = math.prod(dot.inputs[0].shape[a] for a in dot.attrs["contract"][0])
    if summed > 1 and any(s != 1 for s in x.attrs["stride"]):
        return None
    places = _window_operands(dot, order, x)
    return None if places is None else _slide(x, dot, order, *places)


def _free(dot: Node, side: int) -> list[int]:
    used = (*dot.attrs["contract"][side], *dot.attrs["batch"][side])
    return [i for i in range(len(dot.inputs[side].shape)) if i not in used]


def _window_operands(
    dot: Node, order: tuple[int, ...], x: Node
) -> tuple[int, list[int], list[int]] | None:
    """Which side slides, its position axes, and the window axes of the other side."""
    n = len(dot.attrs["batch"][0])
    free = [_free(dot, 0), _free(dot, 1)]
    home = {n + i: (0, axis) for i, axis in enumerate(free[0])}
    home |= {n + len(free[0]) + i: (1, axis) for i, axis in enumerate(free[1])}
    tail = order[len(order) - len(x.attrs["axes"]) :]
    positions = [home.get(order[a]) for a in x.attrs["axes"]]
    windows = [home.get(a) for a in tail]
    if None in positions or None in windows:
        return None
    sides = {p[0] for p in positions if p}, {w[0] for w in windows if w}
    if len(sides[0]) != 1 or len(sides[1]) != 1 or sides[0] == sides[1]:
        return None
    return sides[0].pop(), [p[1] for p in positions if p], [w[1] for w in windows if w]


def _slide(
    x: Node, dot: Node, order: tuple[int, ...], side: int, positions: list[int], windows: list[int]
) -> Node:
    g, w = dot.inputs[side], dot.inputs[1 - side]
    size, dilation = x.attrs["size"], x.attrs["dilation"]
    low, high, between = ([0] * len(g.shape) for _ in range(3))
    for i, axis in enumerate(positions):
        between[axis] = x.attrs["stride"][i] - 1
        low[axis] = dilation[i] * (size[i] - 1)
        high[axis] = x.attrs["extent"][i] - (g.shape[axis] - 1) * x.attrs["stride"][i] - 1
    ones = (1,) * len(size)
    view = ir.node(
        "window",
        lang.pad(g, low, high, between),
        axes=tuple(positions),
        size=tuple(size),
        stride=ones,
        dilation=tuple(dilation),
    )
    flipped = lang.flip(w, windows)
    slid = tuple(range(len(g.shape), len(g.shape) + len(size)))
    contract, batch = dot.attrs["contract"], dot.attrs["batch"]
    mine = (*contract[side], *slid)
    theirs = (*contract[1 - side], *windows)
    left, right = (view, flipped) if side == 0 else (flipped, view)
    pairs = (mine, theirs) if side == 0 else (theirs, mine)
    out = lang.dot_general(left, right, pairs, batch)
    return lang.permute(out, _result_axes(dot, order, side, windows, len(size)))


def _result_axes(
    dot: Node, order: tuple[int, ...], side: int, windows: list[int], count: int
) -> list[int]:
    """Where the old result's dimensions stand once the window axes are contracted away."""
    n = len(dot.attrs["batch"][0])
    free = [_free(dot, 0), _free(dot, 1)]
    labels: list[object] = [("b", i) for i in range(n)]
    labels += [(0, a) for a in free[0]] + [(1, a) for a in free[1]]
    gone = {(1 - side, a) for a in windows}
    kept = [label for label in labels if label not in gone]
    wanted = [labels[a] for a in order[: len(order) - count]]
    return [kept.index(label) for label in wanted]


# ----------------------------------------------------------------------------------------- cropping


def _is_crop(x: Node) -> bool:
    a = x.attrs
    return not any(a["interior"]) and all(v <= 0 for v in (*a["low"], *a["high"]))


def crop_to_slice(x: Node) -> Node | None:
    """pad by negative amounts → slice"""
    if not _is_crop(x):
        return None
    shape = x.inputs[0].shape
    stop = [n + hi for n, hi in zip(shape, x.attrs["high"], strict=True)]
    return lang.slice_(x.inputs[0], [-lo for lo in x.attrs["low"]], stop)


def pad_of_permute(x: Node) -> Node | None:
    """pad(permute(a)) → permute(pad(a)): the padded copy keeps the layout of its source"""
    (a,) = x.inputs
    if a.op.name != "permute":
        return None
    axes = a.attrs["axes"]
    back = [axes.index(i) for i in range(len(axes))]
    moved = {k: tuple(x.attrs[k][i] for i in back) for k in ("low", "high", "interior")}
    padded = ir.node("pad", a.inputs[0], **moved, value=x.attrs["value"])
    return ir.node("permute", padded, axes=axes)


def _unit_slice(x: Node) -> bool:
    return all(s == 1 for s in x.attrs["step"])


def _sliced(a: Node, cut: dict[int, tuple[int, int]]) -> Node:
    """A slice of ``a``, as far inside as it gets."""
    start = [cut[i][0] if i in cut else 0 for i in range(len(a.shape))]
    stop = [cut[i][1] if i in cut else n for i, n in enumerate(a.shape)]
    sliced = lang.slice_(a, start, stop)
    return slice_through(sliced) or sliced


def slice_through(x: Node) -> Node | None:
    """slice(permute(a)) → permute(slice(a)), and likewise through window, pad and dot_general

    Only where it pays: on the way to a contraction, which then computes no result that is cut off.
    """
    (a,) = x.inputs
    push = _PUSH.get(a.op.name)
    if push is None or not _unit_slice(x) or not _reaches_dot(a) or x.shape == a.shape:
        return None
    start, stop = x.attrs["start"], x.attrs["stop"]
    cut = {
        i: (b, e)
        for i, (b, e, n) in enumerate(zip(start, stop, a.shape, strict=True))
        if (b, e) != (0, n)
    }
    return push(a, cut)


def _reaches_dot(a: Node) -> bool:
    while a.op.name == "permute":
        a = a.inputs[0]
    return a.op.name in ("dot_general", "window", "pad")


def _through_permute(a: Node, cut: dict[int, tuple[int, int]]) -> Node | None:
    axes = a.attrs["axes"]
    inner = a.inputs[0]
    if inner.op.name not in ("dot_general", "pad"):
        return None
    return ir.node("permute", _sliced(inner, {axes[i]: c for i, c in cut.items()}), axes=axes)


def _through_dot(a: Node, cut: dict[int, tuple[int, int]]) -> Node | None:
    n = len(a.attrs["batch"][0])
    free = [_free(a, 0), _free(a, 1)]
    cuts: list[dict[int, tuple[int, int]]] = [{}, {}]
    for i, c in cut.items():
        if i < n:
            cuts[0][a.attrs["batch"][0][i]] = cuts[1][a.attrs["batch"][1][i]] = c
        elif i < n + len(free[0]):
            cuts[0][free[0][i - n]] = c
        else:
            cuts[1][free[1][i - n - len(free[0])]] = c
    operands = [_sliced(x, c) for x, c in zip(a.inputs, cuts, strict=True)]
    return ir.node("dot_general", *operands, **a.attrs)


def _through_window(a: Node, cut: dict[int, tuple[int, int]]) -> Node | None:
    """Fewer positions need a shorter axis; window axes and other strides stay as they are."""
    stride = dict(zip(a.attrs["axes"], a.attrs["stride"], strict=True))
    inner = a.inputs[0]
    if any(i >= len(inner.shape) or stride.get(i, 1) != 1 for i in cut):
        return None
    grown = dict(cut)
    for axis, k, d in zip(a.attrs["axes"], a.attrs["size"], a.attrs["dilation"], strict=True):
        if axis in cut:
            grown[axis] = (cut[axis][0], cut[axis][1] + d * (k - 1))
    return ir.node("window", _sliced(inner, grown), **a.attrs)


def _through_pad(a: Node, cut: dict[int, tuple[int, int]]) -> Node | None:
    low, high = list(a.attrs["low"]), list(a.attrs["high"])
    for i, (start, stop) in cut.items():
        low[i] -= start
        high[i] -= a.shape[i] - stop
        if a.attrs["interior"][i] and min(low[i], high[i]) < 0:
            return None
    return ir.node("pad", a.inputs[0], **{**a.attrs, "low": tuple(low), "high": tuple(high)})


_PUSH: dict[str, Callable[[Node, dict[int, tuple[int, int]]], Node | None]] = {
    "permute": _through_permute,
    "dot_general": _through_dot,
    "window": _through_window,
    "pad": _through_pad,
}

SLIDE_RULES: dict[str, tuple[Callable[[Node], Node | None], ...]] = {
    "window_sum": (window_sum_of_dot,),
    "pad": (crop_to_slice, pad_of_permute),
    "slice": (slice_through,),
}
