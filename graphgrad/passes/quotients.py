"""Quotients that exist already are used: a softmax's gradient reads its result, nothing else.

    before   q = e / s;   y = (g / s + r) * e     where s, r are one number a row
    after    q = e / s;   y = (g + r * s) * q

The numerator is then dead when its quotient is known, where the backward pass would have kept both,
and the divisions are gone. Rounds differently.
"""

from __future__ import annotations

from graphgrad import ir, lang
from graphgrad.choices import settle
from graphgrad.dtypes import FLOAT
from graphgrad.ir import Graph, Node

ROW = 16  # a divisor has this many times fewer elements at least
MAX_DEPTH = 6


def share_quotients(graph: Graph) -> Graph:
    """Multiply by a known quotient instead of by its numerator, where a division falls away."""
    quotients = {x.inputs[0]: x for x in graph.nodes if _is_by_rows(x)}
    if not quotients:
        return graph

    def rule(x: Node) -> Node | None:
        if x.op.name != "mul":
            return None
        for factor, numerator in (x.inputs, x.inputs[::-1]):
            quotient = quotients.get(numerator)
            # A quotient as the factor would trade places with the numerator, and gain nothing.
            if quotient is None or factor.op.name == "div":
                continue
            if factor.shape == x.shape == numerator.shape:
                product = _times(factor, quotient.inputs[1])
                if product is not None:
                    return ir.node("mul", product, quotient, origins=x.origins)
        return None

    return ir.replace(graph, rule, "share_quotients")


def _is_by_rows(x: Node) -> bool:
    if x.op.name != "div" or x.dtype.category < FLOAT:
        return False
    numerator, divisor = x.inputs
    by_rows = divisor.size and settle("by rows", ROW * divisor.size <= x.size)
    return bool(by_rows) and numerator.shape == x.shape


def _times(x: Node, s: Node, depth: int = 0) -> Node | None:
    """``x * s``, if a division by ``s`` falls away; None if none does."""
    if depth == MAX_DEPTH:
        return None
    name, inputs = x.op.name, x.inputs
    if name == "div" and inputs[1] is s:
        return inputs[0] if inputs[0].shape == x.shape else None
    if name == "neg":
        inner = _times(inputs[0], s, depth + 1)
        return None if inner is None else x.with_inputs([inner])
    if name in ("add", "sub"):
        return _terms_times(x, inputs, s, depth)
    if name == "where":
        return _terms_times(x, inputs[1:], s, depth)
    return _total_times(x, s, depth) if name == "reshape" else None


def _terms_times(x: Node, terms: tuple[Node, ...], s: Node, depth: int) -> Node | None:
    """Each term times ``s``: those without a division must be small, or they cost more than it."""
    products = [_times(term, s, depth + 1) for term in terms]
    if all(product is None for product in products):
        return None
    scaled: list[Node] = []
    for term, product in zip(terms, products, strict=True):
        if product is None:
            if term.size > s.size:
                return None
            product = term if _is_zero(term) else lang.mul(term, s)
        scaled.append(product)
    return x.with_inputs([*x.inputs[: -len(terms)], *scaled])


def _total_times(x: Node, s: Node, depth: int) -> Node | None:
    """sum(a / s) · s = sum(a)   for a sum that keeps its dimensions, along which ``s`` is one"""
    (total,) = x.inputs
    if total.op.name != "sum":
        return None
    (a,), axes = total.inputs, total.attrs["axes"]
    kept = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    if x.shape != kept or s.shape != kept:
        return None
    inner = _times(a, s, depth + 1)
    return None if inner is None else x.with_inputs([total.with_inputs([inner])])


def _is_zero(x: Node) -> bool:
    return x.op.name == "scalar" and x.attrs["value"] == 0
