"""Local rewrites: a table of rules by operation, each with its before → after.

A rule sees one node over already simplified operands and returns its replacement, or None. All
rules are exact in floating point (signed zeros and NaN included), except those that say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from graphgrad import ir, lang
from graphgrad.dtypes import FLOAT
from graphgrad.ir import Graph, Node
from graphgrad.passes.slide import SLIDE_RULES
from graphgrad.passes.tiles import TILE_RULES

Rule = Callable[[Node], Node | None]


def simplify(graph: Graph) -> Graph:
    """Apply the rules bottom-up until nothing changes (at most a few rounds).

    before  reshape(reshape(x, (6,)), (2, 3)) * 1.0
    after   reshape(x, (2, 3))
    """
    for _ in range(4):
        simpler = ir.rewrite(graph, _simplify_node)
        if simpler.outputs == graph.outputs:
            return simpler
        graph = simpler
    return graph


def _simplify_node(x: Node) -> Node | None:
    changed: Node | None = None
    node = x
    for _ in range(8):
        for rule in RULES.get(node.op.name, ()):
            before = ir.set_origin(partial(getattr, node, "origin"))
            try:
                replaced = rule(node)
            finally:
                ir.set_origin(before)
            if replaced is not None and replaced is not node:
                ir.became(node, replaced, rule.__name__)
                changed = node = replaced
                break
        else:
            break
    return changed


def _is_scalar(x: Node, value: float) -> bool:
    """Whether ``x`` is the literal ``value`` (also broadcast); -0.0 is not 0.0."""
    while x.op.name in ("expand", "reshape"):
        x = x.inputs[0]
    if x.op.name != "scalar" or isinstance(x.attrs["value"], complex):
        return False
    literal = x.attrs["value"]
    return literal == value and math.copysign(1, literal) == math.copysign(1, value)


def _as(x: Node, like: Node) -> Node | None:
    """``x`` in place of ``like``, if broadcasting did not enlarge it."""
    return x if x.shape == like.shape else None


# ------------------------------------------------------------------------------------------ algebra


def drop_neutral(x: Node) -> Node | None:
    """x * 1, x / 1, x - 0, x + (-0) → x"""
    a, b = x.inputs
    neutral = {"mul": 1, "div": 1, "sub": 0, "add": -0.0}[x.op.name]
    if x.op.name == "add" and x.dtype.category < FLOAT:
        neutral = 0
    if _is_scalar(b, neutral):
        return _as(a, x)
    if x.op.name in ("mul", "add") and _is_scalar(a, neutral):
        return _as(b, x)
    return None


def absorb_negation(x: Node) -> Node | None:
    """a + (-b) → a - b;   (-a) + b → b - a;   a - (-b) → a + b"""
    a, b = x.inputs
    if b.op.name == "neg":
        return ir.node("sub" if x.op.name == "add" else "add", a, b.inputs[0])
    if x.op.name == "add" and a.op.name == "neg":
        return ir.node("sub", b, a.inputs[0])
    return None


def cancel_negation(x: Node) -> Node | None:
    """-(-a) → a"""
    return x.inputs[0].inputs[0] if x.inputs[0].op.name == "neg" else None


def known_power(x: Node) -> Node | None:
    """pow(a, 3.0) → int_pow(a, 3);   pow(a, 0.5) → sqrt(a)"""
    a, b = x.inputs
    if b.op.name != "scalar" or x.dtype.category < FLOAT or x.shape != a.shape:
        return None
    value = b.attrs["value"]
    if isinstance(value, complex):
        return None
    if value == int(value) and 1 <= value <= 8 if math.isfinite(value) else False:
        return ir.node("int_pow", a, exponent=int(value))
    return None


def first_power(x: Node) -> Node | None:
    """int_pow(a, 1) → a"""
    return x.inputs[0] if x.attrs["exponent"] == 1 else None


def same_cast(x: Node) -> Node | None:
    """cast(a, dtype of a) → a;   cast(cast(a, wider), dtype of a) → a"""
    (a,) = x.inputs
    if a.dtype is x.dtype:
        return a
    if a.op.name == "cast" and a.inputs[0].dtype is x.dtype:
        inner = a.inputs[0].dtype
        wider = a.dtype.category >= inner.category and a.dtype.itemsize >= 2 * inner.itemsize
        return a.inputs[0] if wider else None
    return None


def unexpand_operand(x: Node) -> Node | None:
    """expand(a) + b → a + b   where b alone already has the shape"""
    if len(x.inputs) < 2 or x.op.name == "random_bits":
        return None
    inputs = list(x.inputs)
    for i, a in enumerate(inputs):
        if a.op.name != "expand":
            continue
        rest = [b for j, b in enumerate(inputs) if j != i]
        if any(b.shape == x.shape for b in rest):
            inputs[i] = a.inputs[0]
    return x.with_inputs(inputs)


def hoist_expand(x: Node) -> Node | None:
    """f(expand(a)) → expand(f(a));   expand(a) + scalar → expand(a + scalar)"""
    if x.op.name in ("random_bits", "identity") or x.shape == ():
        return None
    wide = [i for i in x.inputs if i.op.name == "expand"]
    if len(wide) != 1 or any(i.shape != () for i in x.inputs if i is not wide[0]):
        return None
    if x.shape != wide[0].shape:
        return None
    small = x.with_inputs([i.inputs[0] if i is wide[0] else i for i in x.inputs])
    return lang.expand(small, x.shape)


# ----------------------------------------------------------------------------------------- movement


def same_shape(x: Node) -> Node | None:
    """reshape or expand to the same shape, slice of all, permute in order, pad by nothing → x"""
    (a,) = x.inputs
    if x.op.name in ("reshape", "expand", "slice"):
        return _as(a, x)
    if x.op.name == "permute":
        return a if x.attrs["axes"] == tuple(range(len(a.shape))) else None
    if x.op.name == "flip":
        return a if not x.attrs["axes"] else None
    return None if any(map(any, (x.attrs["low"], x.attrs["high"], x.attrs["interior"]))) else a


def join_movement(x: Node) -> Node | None:
    """reshape∘reshape, expand∘expand, permute∘permute, slice∘slice → one"""
    (a,) = x.inputs
    if a.op.name != x.op.name:
        return None
    if x.op.name in ("reshape", "expand"):
        return ir.node(x.op.name, a.inputs[0], shape=x.shape)
    if x.op.name == "permute":
        axes = tuple(a.attrs["axes"][i] for i in x.attrs["axes"])
        return ir.node("permute", a.inputs[0], axes=axes)
    return _join_slices(x, a)


def _join_slices(x: Node, a: Node) -> Node:
    start, stop, step = [], [], []
    rows = zip(*(x.attrs[k] for k in ("start", "step")), strict=True)
    inner = zip(*(a.attrs[k] for k in ("start", "step")), strict=True)
    for (s, k), (s0, k0), n, size in zip(rows, inner, x.shape, a.inputs[0].shape, strict=True):
        first = min(s0 + s * k0, size)
        start.append(first)
        step.append(k * k0)
        stop.append(min(first + (n - 1) * k * k0 + 1, size) if n else first)
    return lang.slice_(a.inputs[0], start, stop, step)


def permute_of_units(x: Node) -> Node | None:
    """permute that only moves axes of size 1 → reshape"""
    (a,) = x.inputs
    moved = [i for i in x.attrs["axes"] if a.shape[i] != 1]
    return ir.node("reshape", a, shape=x.shape) if moved == sorted(moved) else None


def expand_of_units(x: Node) -> Node | None:
    """expand that only adds axes of size 1 → reshape"""
    return ir.node("reshape", x.inputs[0], shape=x.shape) if x.size == x.inputs[0].size else None


def reshape_of_expand(x: Node) -> Node | None:
    """reshape(expand(scalar)) → expand(scalar)"""
    (a,) = x.inputs
    if a.op.name == "expand" and a.inputs[0].size == 1:
        return lang.expand(lang.reshape(a.inputs[0], ()), x.shape)
    return None


# --------------------------------------------------------------------------------------- reductions


def reduce_units(x: Node) -> Node | None:
    """a reduction over axes of size 1 → reshape (drops them from the reduction)"""
    (a,) = x.inputs
    axes = x.attrs["axes"]
    real = tuple(i for i in axes if a.shape[i] != 1)
    if len(real) == len(axes):
        return None
    if not real:
        return lang.reshape(a, x.shape)
    kept = lang.reshape(a, [n for i, n in enumerate(a.shape) if i in real or i not in axes])
    renumbered = [i - sum(j < i for j in axes if j not in real) for i in real]
    return ir.node(x.op.name, kept, axes=tuple(renumbered))


def join_reductions(x: Node) -> Node | None:
    """sum(sum(a, 1), 0) → sum(a, (0, 1))   (the order of additions changes)"""
    (a,) = x.inputs
    if a.op.name != x.op.name:
        return None
    left = [i for i in range(len(a.inputs[0].shape)) if i not in a.attrs["axes"]]
    axes = {*a.attrs["axes"], *(left[i] for i in x.attrs["axes"])}
    return ir.node(x.op.name, a.inputs[0], axes=tuple(sorted(axes)))


def sum_of_expand(x: Node) -> Node | None:
    """sum(expand(a)) over a broadcast axis → a * count   (rounds once instead of often)"""
    (a,) = x.inputs
    if a.op.name != "expand" or x.dtype.category < FLOAT:
        return None
    source = a.inputs[0]
    lead = len(a.shape) - len(source.shape)
    aligned = (1,) * lead + source.shape
    wide = tuple(i for i in x.attrs["axes"] if aligned[i] == 1 and a.shape[i] != 1)
    if not wide:
        return None
    count = math.prod(a.shape[i] for i in wide)
    shape = tuple(1 if i in wide else n for i, n in enumerate(a.shape))
    narrow = lang.expand(lang.reshape(source, aligned), shape)
    return lang.mul(ir.node("sum", narrow, axes=x.attrs["axes"]), float(count))


_BINARY = (drop_neutral, absorb_negation, unexpand_operand, hoist_expand)
_ELEMENTWISE = (unexpand_operand, hoist_expand)
RULES: dict[str, tuple[Rule, ...]] = {
    name: _ELEMENTWISE for name, op in ir.PRIMITIVES.items() if op.kind == "elementwise"
}
RULES |= {
    "add": _BINARY,
    "sub": _BINARY,
    "mul": (drop_neutral, *_ELEMENTWISE),
    "div": (drop_neutral, *_ELEMENTWISE),
    "neg": (cancel_negation, *_ELEMENTWISE),
    "pow": (known_power, *_ELEMENTWISE),
    "int_pow": (first_power, *_ELEMENTWISE),
    "cast": (same_cast, *_ELEMENTWISE),
    "reshape": (same_shape, join_movement, reshape_of_expand),
    "expand": (same_shape, join_movement, expand_of_units),
    "permute": (same_shape, join_movement, permute_of_units),
    "slice": (same_shape, join_movement),
    "flip": (same_shape,),
    "pad": (same_shape,),
    "sum": (reduce_units, sum_of_expand, join_reductions),
    "prod": (reduce_units, join_reductions),
    "max": (reduce_units, join_reductions),
    "min": (reduce_units, join_reductions),
}
for _name, _rules in (*SLIDE_RULES.items(), *TILE_RULES.items()):
    RULES[_name] = (*RULES.get(_name, ()), *_rules)
