"""Loops that do less: what differentiation leaves in scans and need not be done at every step.

Four rewrites, in this order:

    merge_scans      two scans over the same operands, with the same carries, are one scan
    save_values      what a backward scan would compute again at a price is handed over by the
                     forward one: products, sums, sigmoids
    sum_afterwards   a carry that only adds up products becomes one product after the loop
    take_in          what is the same at every step, or cheap, is not written before the loop

An LSTM's train step goes from five products a time step to two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphgrad import ir, lang
from graphgrad.ir import Graph, Node, attr_key
from graphgrad.passes.cse import cse
from graphgrad.passes.cut import DEAR
from graphgrad.passes.inward import take_in
from graphgrad.passes.loop import Loop, Replacement, replace_scans, scans_of


def shorten_scans(graph: Graph) -> Graph:
    """Apply the four rewrites; see the module."""
    if not any(x.op.name == "scan" for x in graph.nodes):
        return graph
    return take_in(sum_afterwards(save_values(merge_scans(graph))))


# ------------------------------------------------------------------------------------------ merging


def merge_scans(graph: Graph) -> Graph:
    """Scans over the same operands that compute the same carries become one.

    before  s = scan(f, h, xs) -> (h', ys);  t = scan(f, h, xs) -> (h', history)
    after   s = scan(f, h, xs) -> (h', ys, history)
    """
    alike: dict[Any, list[Node]] = {}
    for x in scans_of(graph):
        attrs = tuple(x.attrs[k] for k in ("carries", "sequences", "length", "reverse"))
        body = x.attrs["body"]
        carries = Graph(body.inputs, body.outputs[: attrs[0]]).key()
        alike.setdefault((x.inputs, attrs, carries), []).append(x)
    replacements: dict[Node, Replacement] = {}
    for same in alike.values():
        joint = _joint_body(same) if len(same) > 1 else None
        if joint is not None:
            body, indices = joint
            built: list[Node] = []
            for x, index in zip(same, indices, strict=True):
                replacements[x] = _joint_replacement(body, index, built)
    return replace_scans(graph, replacements, "merge_scans") if replacements else graph


def _joint_body(same: list[Node]) -> tuple[Graph, list[list[int]]] | None:
    """One body for all, and where each scan finds its results; None if the carries differ."""
    inputs = same[0].attrs["body"].inputs
    outputs = [ir.inline(x.attrs["body"], inputs) for x in same]
    merged = iter(cse(Graph(inputs, [y for own in outputs for y in own])).outputs)
    rows = [[next(merged) for _ in own] for own in outputs]
    n = same[0].attrs["carries"]
    if any(row[:n] != rows[0][:n] for row in rows):
        return None
    stacks = list(dict.fromkeys(y for row in rows for y in row[n:]))
    indices = [[*range(n), *(n + stacks.index(y) for y in row[n:])] for row in rows]
    return Graph(inputs, [*rows[0][:n], *stacks]), indices


def _joint_replacement(body: Graph, index: list[int], built: list[Node]) -> Replacement:
    def build(loop: Loop, origins: Any) -> Callable[[int], Node]:
        if not built:
            parts = loop.carries, loop.sequences, loop.constants
            built.append(Loop(*parts, body, loop.length, loop.reverse).node(origins))
        return lambda i: lang.result(built[0], index[i])

    return build


# ----------------------------------------------------------------------------- saving what is known


def save_values(graph: Graph) -> Graph:
    """Hand dear values of a forward scan over to the backward scan that would repeat them.

    before  hs = scan(f, h, xs) -> hs;        scan(b, g, hs, xs)      b has tanh(hs[t] @ w) again
    after   hs, z = scan(f, h, xs) -> hs, z;  scan(b, g, hs, xs, z)   z[t] = tanh(hs[t] @ w)
    """
    for backward in reversed(scans_of(graph)):
        sources = [i.inputs[0] for i in backward.inputs if i.op.name == "result"]
        for forward in dict.fromkeys(s for s in sources if s.op.name == "scan"):
            known = _known_values(Loop.of(forward), Loop.of(backward), forward)
            if known:
                return save_values(_handed_over(graph, forward, backward, known))
    return graph


def _known_values(forward: Loop, backward: Loop, node: Node) -> dict[Node, Node]:
    """Dear values the backward body needs, and the equal nodes of the forward body."""
    if forward.length != backward.length:
        return {}
    outer = (*backward.sequences, *backward.constants)
    same: dict[Node, Node] = {}
    for operand, x in zip(outer, backward.body.inputs[len(backward.carries) :], strict=True):
        is_stack = operand.op.name == "result" and operand.inputs[0] is node
        if is_stack and operand.attrs["index"] >= len(forward.carries):
            same[x] = forward.body.outputs[operand.attrs["index"]]
        elif (inner := forward.inner(operand)) is not None:
            same[x] = inner
    table = {(y.op.name, y.inputs, attr_key(y)): y for y in forward.body.nodes if _is_inner(y)}
    for x in backward.body.nodes:
        if _is_inner(x) and all(i in same for i in x.inputs):
            found = table.get((x.op.name, tuple(same[i] for i in x.inputs), attr_key(x)))
            if found is not None:
                same[x] = found
    dear: dict[Node, Node] = {}
    seen, stack = set(same) - set(backward.body.nodes), list(backward.body.outputs)
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x in same and _is_inner(x) and _is_dear(x):
            dear[x] = same[x]
        else:
            stack.extend(x.inputs)
    return dear


def _is_dear(x: Node) -> bool:
    """Whether reading a value costs less than computing it again."""
    return x.op.kind in ("contract", "reduce") or x.op.name in DEAR


def _is_inner(x: Node) -> bool:
    return x.op.name != "input" and not x.op.results


def _handed_over(graph: Graph, forward: Node, backward: Node, known: dict[Node, Node]) -> Graph:
    saved = list(dict.fromkeys(known.values()))
    first = len(forward.attrs["body"].outputs)
    new_forward: list[Node] = []

    def build_forward(loop: Loop, origins: Any) -> Callable[[int], Node]:
        body = Graph(loop.body.inputs, [*loop.body.outputs, *saved], loop.body.name)
        parts = loop.carries, loop.sequences, loop.constants
        new_forward.append(Loop(*parts, body, loop.length, loop.reverse).node(origins))
        return lambda i: lang.result(new_forward[0], i)

    def build_backward(loop: Loop, origins: Any) -> Callable[[int], Node]:
        body, split = loop.body, len(loop.carries) + len(loop.sequences)
        given = {y: ir.like(y) for y in saved}
        inputs = [*body.inputs[:split], *given.values(), *body.inputs[split:]]
        outputs = _substituted(body, {x: given[y] for x, y in known.items()})
        more = tuple(lang.result(new_forward[0], first + i) for i in range(len(saved)))
        parts = loop.carries, loop.sequences + more, loop.constants
        inner = Graph(inputs, outputs, body.name)
        y = Loop(*parts, inner, loop.length, loop.reverse).node(origins)
        return lambda i: lang.result(y, i)

    ir.all_became(known, "save_values")
    both: dict[Node, Replacement] = {forward: build_forward, backward: build_backward}
    return replace_scans(graph, both, "save_values")


def _substituted(body: Graph, given: dict[Node, Node]) -> list[Node]:
    """The body's outputs with some nodes replaced."""
    new = {**{x: x for x in body.inputs}, **given}
    for x in body.nodes:
        if x not in new:
            new[x] = x.with_inputs([new[i] for i in x.inputs])
            ir.became(x, new[x])
    return [new[y] for y in body.outputs]


# ----------------------------------------------------------------------------------- adding up late


def sum_afterwards(graph: Graph) -> Graph:
    """A carry that only adds up products or sums is one product or sum after the loop.

    before  dw = scan(dw + gᵀ[t] @ h[t])
    after   gs = scan(… -> g);  dw = dw + gsᵀ @ hs        contracted over time as well
    """
    replacements: dict[Node, Replacement] = {}
    for x in scans_of(graph):
        terms = _added_terms(Loop.of(x))
        if terms:
            replacements[x] = _late_sums(terms)
    return replace_scans(graph, replacements, "sum_afterwards") if replacements else graph


def _added_terms(loop: Loop) -> dict[int, Node]:
    """For each carry that is only added to: the product or sum it grows by."""
    users = loop.body.users()
    terms: dict[int, Node] = {}
    for k, y in enumerate(loop.body.outputs[: len(loop.carries)]):
        carry = loop.body.inputs[k]
        if y.op.name != "add" or users[carry] != [y] or carry in loop.body.outputs:
            continue
        rest = [i for i in y.inputs if i is not carry]
        if len(rest) == 1 and rest[0].shape == y.shape and not users[y]:
            once = list(loop.body.outputs).count(y) == 1
            if once and _is_sum(rest[0], loop.body):
                terms[k] = rest[0]
    return terms


# What may lie between a sum and the carry it is added to: it does the same to the whole sum.
_LINEAR = frozenset({"reshape", "permute", "add", "neg"})


def _is_sum(term: Node, body: Graph) -> bool:
    if term.op.name in _LINEAR and term not in body.inputs:
        return all(i.shape == term.shape for i in term.inputs if len(term.inputs) > 1) and all(
            _is_sum(i, body) for i in term.inputs
        )
    return term.op.name in ("dot_general", "sum")


def _late_sums(terms: dict[int, Node]) -> Replacement:
    def build(loop: Loop, origins: Any) -> Callable[[int], Node]:
        count = len(loop.carries)
        kept = [k for k in range(count) if k not in terms]
        stacks = list(loop.body.outputs[count:])
        steps = {x: loop.inner(x) for x in loop.sequences}
        inner_sequences = {x: outer for outer, x in steps.items()}
        wanted = [y for term in terms.values() for y in _summands(term)]
        stacks += [y for y in dict.fromkeys(wanted) if y not in inner_sequences and y not in stacks]
        outputs = [*(loop.body.outputs[k] for k in kept), *stacks]
        inputs = [*(loop.body.inputs[k] for k in kept), *loop.body.inputs[count:]]
        body = Graph(inputs, outputs, loop.body.name)
        parts = tuple(loop.carries[k] for k in kept), loop.sequences, loop.constants
        scan = Loop(*parts, body, loop.length, loop.reverse).node(origins)

        def whole(y: Node) -> Node:
            if y in inner_sequences:
                return inner_sequences[y]
            return lang.result(scan, len(kept) + stacks.index(y))

        def result(i: int) -> Node:
            if i in terms:
                late = _over_time(terms[i], whole)
                ir.became(terms[i], late, "sum_afterwards")
                start = loop.carries[i]
                if _is_zero(start):
                    return late
                return ir.node("add", start, late, origins=terms[i].origins)
            if i < count:
                return lang.result(scan, kept.index(i))
            return lang.result(scan, len(kept) + i - count)

        return result

    return build


def _is_zero(x: Node) -> bool:
    while x.op.name in ("expand", "reshape"):
        (x,) = x.inputs
    return x.op.name == "scalar" and x.attrs["value"] == 0


def _summands(term: Node) -> Iterable[Node]:
    """What has to be stacked for a term to be computed over all steps at once."""
    if term.op.name in _LINEAR:
        return [y for i in term.inputs for y in _summands(i)]
    return term.inputs


def _over_time(term: Node, whole: Callable[[Node], Node]) -> Node:
    """The sum of a term over all steps."""
    make: Any = {"origins": term.origins}
    if term.op.name in _LINEAR:
        sums = [_over_time(i, whole) for i in term.inputs]
        return ir.node(term.op.name, *sums, **make, **term.attrs)
    operands = [whole(i) for i in term.inputs]
    if term.op.name == "sum":
        return ir.node("sum", *operands, axes=(0, *_later(term.attrs["axes"])), **make)
    (left, right), batch = term.attrs["contract"], term.attrs["batch"]
    contract = (0, *_later(left)), (0, *_later(right))
    late = _later(batch[0]), _later(batch[1])
    return ir.node("dot_general", *operands, contract=contract, batch=late, **make)


def _later(axes: Iterable[int]) -> tuple[int, ...]:
    return tuple(a + 1 for a in axes)
