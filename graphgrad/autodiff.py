"""The backward pass, derived from the graph as more graph.

    vjp_nodes(outputs, cotangents, wrt)   reverse mode over Nodes: cotangents of ``wrt``
    linearize(graph, needs, outs)         a forward graph that also returns what backward needs,
                                          and the backward graph over those saved values

Both are composition of the rules in ``vjp``, so gradients of gradients are nothing special.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad import ir, lang, vjp
from graphgrad.errors import BACKWARD, SUM, Origin
from graphgrad.ir import Graph, Node

# What a backward graph recomputes instead of saving: nothing is read from memory for it.
_FREE = frozenset({"scalar", "constant", "iota"})
_VIEWS = frozenset({"reshape", "permute", "expand", "slice", "flip", "window"})

# Backward functions are named as PyTorch names them: by its function, not by our primitive.
_NAMES = {
    "reshape": "View",
    "int_pow": "Pow",
    "cast": "ToCopy",
    "identity": "Clone",
    "max": "Amax",
    "min": "Amin",
    "concat": "Cat",
    "where": "Where",
    "pad": "ConstantPadNd",
    "window": "Unfold",
    "slice_update": "CopySlices",
    "abs": "Abs",
    "log1p": "Log1P",
    "index": "Index",
    "scatter_add": "ScatterAdd",
}
_PRODUCTS: dict[Any, str] = {(1, 1): "Dot", (2, 1): "Mv", (2, 2): "Mm"}
_PLAIN = frozenset({"CopySlices"})


def backward_name(primitive: str, attrs: dict[str, Any], inputs: Sequence[Any]) -> str:
    """What PyTorch calls the gradient: ``AddBackward0``, ``SumBackward1`` when axes were given."""
    name = _NAMES.get(primitive) or "".join(p.capitalize() for p in primitive.split("_"))
    if name in _PLAIN:
        return name
    if primitive == "dot_general":
        return f"{_PRODUCTS.get(tuple(len(x.shape) for x in inputs), 'Bmm')}Backward0"
    partial = "axes" in attrs and primitive in ("sum", "prod")
    number = 1 if partial and len(attrs["axes"]) < len(inputs[0].shape) else 0
    return f"{name}Backward{number}"


def vjp_nodes(
    outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]
) -> list[Node | None]:
    """Cotangents of ``wrt`` given those of ``outputs``; None where no gradient flows."""
    order = ir.topological(outputs)
    live = _depends(order, wrt)
    total: dict[Node, Node] = {}
    parts: dict[Node, dict[int, Node | None]] = {}
    for y, g in zip(outputs, cotangents, strict=True):
        if g is not None:
            _accumulate(total, y, g)
    wanted = set(wrt)
    for x in reversed(order):
        g = total.get(x)
        if x not in live or (g is None and x not in parts):
            continue
        if x.op.name == "result":
            assert g is not None
            parts.setdefault(x.inputs[0], {})[x.attrs["index"]] = g
        elif x.op.results:
            joint = [parts[x].get(i) for i in range(len(x.results))]
            _pull_joint(x, joint, live, total)
        elif x.inputs:
            _pull_each(x, g, live, total)
        if x not in wanted:
            total.pop(x, None)
    return [total.get(x) for x in wrt]


def _depends(order: Sequence[Node], wrt: Sequence[Node]) -> set[Node]:
    """The nodes through which a gradient reaches ``wrt``."""
    live = set(wrt)
    for x in order:
        carries = x.op.results or x.dtype.is_differentiable
        if x not in live and carries and any(i in live for i in x.inputs):
            live.add(x)
    return live


def _accumulate(total: dict[Node, Node], x: Node, g: Node) -> None:
    if x not in total:
        total[x] = g
        return
    with ir.of_output(SUM):
        total[x] = lang.add(total[x], g)


def _pull_each(x: Node, g: Any, live: set[Node], total: dict[Node, Node]) -> None:
    """One rule an operand, for operations with one result."""
    values = {"out": x, **dict(zip("xyz", x.inputs, strict=False))}
    with _provenance(x):
        for i, operand in enumerate(x.inputs):
            if operand in live and operand.dtype.is_differentiable and vjp.has_rule(x.op.name, i):
                _accumulate(total, operand, vjp.pull(x.op.name, i, g, x, values))


def _pull_joint(
    x: Node, cotangents: Sequence[Node | None], live: set[Node], total: dict[Node, Node]
) -> None:
    """One rule for all operands, for operations with several results."""
    rule = JOINT.get(x.op.name)
    if rule is None:
        raise NotImplementedError(f"{x.op.name} has no gradient ({x.origin})")
    with _provenance(x):
        for operand, g in zip(x.inputs, rule(x, cotangents), strict=True):
            if g is not None and operand in live:
                _accumulate(total, operand, g)


class _provenance:
    """Backward nodes point at the line of the operation they differentiate."""

    def __init__(self, x: Node) -> None:
        o = x.origin
        name = backward_name(x.op.name, x.attrs, x.inputs)
        if o.composite:
            name = f"{o.composite}Backward0"
        self.origin = Origin(o.code, o.offset, o.module, o.composite, BACKWARD, name)

    def __enter__(self) -> None:
        self.before = ir.set_origin(lambda: self.origin)

    def __exit__(self, *_: Any) -> None:
        ir.set_origin(self.before)


# ------------------------------------------------------------------------------------- control flow


def _scan(x: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    """Run the body's gradient backwards over the saved history of its carries.

    The reverse carry holds the cotangents of the carries and the sums of those of the constants.
    The body is computed again from each step's carry, so only carries are kept in memory.
    """
    body, n_carry = x.attrs["body"], x.attrs["carries"]
    n_seq, length = x.attrs["sequences"], x.attrs["length"]
    inputs = body.inputs
    is_float = [i.dtype.is_differentiable for i in inputs]
    read = [k < n_carry or g is not None for k, g in enumerate(cotangents)]
    steps = _reverse_body(body, n_carry, n_seq, is_float, read)
    history = _history(x, body, n_carry)
    sequences = x.inputs[n_carry : n_carry + n_seq]
    constants = x.inputs[n_carry + n_seq :]
    cots = [
        g if g is not None else lang.full(s, 0, d)
        for g, (s, d), wanted in zip(cotangents, x.results, read, strict=True)
        if d.is_differentiable and wanted
    ]
    n_float_carry = sum(is_float[:n_carry])
    init = cots[:n_float_carry]
    init += [lang.full(k.shape, 0, k.dtype) for k in constants if k.dtype.is_differentiable]
    back = ir.node(
        "scan",
        *init,
        *history,
        *sequences,
        *cots[n_float_carry:],
        *constants,
        body=steps,
        carries=len(init),
        sequences=len(history) + n_seq + len(cots) - n_float_carry,
        length=length,
        reverse=not x.attrs["reverse"],
    )
    results = iter(range(len(back.results)))
    carry = [lang.result(back, next(results)) if f else None for f in is_float[:n_carry]]
    fixed = [lang.result(back, next(results)) if f else None for f in is_float[n_carry + n_seq :]]
    rows = [lang.result(back, next(results)) if f else None for f in is_float[n_carry:][:n_seq]]
    return [*carry, *rows, *fixed]


def _history(x: Node, body: Graph, n_carry: int) -> list[Node]:
    """Each step's incoming carries; the scan's last stacks when ``lang.scan`` built it."""
    first = len(body.outputs) - n_carry
    if first >= n_carry and body.outputs[first:] == body.inputs[:n_carry]:
        return [lang.result(x, first + i) for i in range(n_carry)]
    longer = Graph(body.inputs, (*body.outputs, *body.inputs[:n_carry]), body.name)
    again = ir.node("scan", *x.inputs, **{**x.attrs, "body": longer})
    return [lang.result(again, len(body.outputs) + i) for i in range(n_carry)]


def _reverse_body(
    body: Graph, n_carry: int, n_seq: int, is_float: list[bool], read: list[bool]
) -> Graph:
    """(d carry, sums | carry, x, d y | constants) -> (d carry, sums | d x), y those ``read``."""
    fresh = [ir.like(i) for i in body.inputs]
    outs = ir.inline(body, fresh)
    d_out = [
        ir.like(y, role="cotangent") if y.dtype.is_differentiable and wanted else None
        for y, wanted in zip(outs, read, strict=True)
    ]
    grads = vjp_nodes(outs, d_out, fresh)
    full = [
        (g if g is not None else lang.full(i.shape, 0, i.dtype)) if f else None
        for g, i, f in zip(grads, fresh, is_float, strict=True)
    ]
    constants = fresh[n_carry + n_seq :]
    sums = [ir.like(k) for k in constants if k.dtype.is_differentiable]
    d_constants = [g for g in full[n_carry + n_seq :] if g is not None]
    present = [g for g in d_out[:n_carry] if g is not None]
    d_stacked = [g for g in d_out[n_carry:] if g is not None]
    inputs = [*present, *sums, *fresh[: n_carry + n_seq], *d_stacked, *constants]
    added = [lang.add(s, g) for s, g in zip(sums, d_constants, strict=True)]
    d_carry = [g for g in full[:n_carry] if g is not None]
    d_rows = [g for g in full[n_carry : n_carry + n_seq] if g is not None]
    return Graph(inputs, [*d_carry, *added, *d_rows], f"{body.name}_backward")


def _cond(x: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    """The same choice between the two branches' gradients."""
    types = [r for r in x.results if r[1].is_differentiable]
    cots = [
        g if g is not None else lang.full(s, 0, d)
        for g, (s, d) in zip(cotangents, x.results, strict=True)
        if d.is_differentiable
    ]
    assert len(types) == len(cots)
    branches = [_branch_gradient(b) for b in (x.attrs["then"], x.attrs["otherwise"])]
    back = ir.node("cond", *x.inputs, *cots, then=branches[0], otherwise=branches[1])
    index = iter(range(len(back.results)))
    operands = x.inputs[1:]
    grads = [
        lang.result(back, next(index)) if i.dtype.is_differentiable else None for i in operands
    ]
    return [None, *grads]


def _branch_gradient(branch: Graph) -> Graph:
    fresh = [ir.like(i) for i in branch.inputs]
    outs = ir.inline(branch, fresh)
    cots = [ir.like(y, role="cotangent") if y.dtype.is_differentiable else None for y in outs]
    grads = [
        g if g is not None else lang.full(i.shape, 0, i.dtype)
        for g, i in zip(vjp_nodes(outs, cots, fresh), fresh, strict=True)
        if i.dtype.is_differentiable
    ]
    return Graph([*fresh, *(g for g in cots if g is not None)], grads, f"{branch.name}_backward")


def _while_loop(x: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    raise NotImplementedError(
        f"while_loop has no reverse-mode gradient: its number of steps is unknown ({x.origin}). "
        "Use scan with a fixed number of steps, or detach its operands"
    )


JOINT: dict[str, Callable[[Any, Sequence[Any]], list[Any]]] = vjp.JOINT | {
    "scan": _scan,
    "cond": _cond,
    "while_loop": _while_loop,
}


# ---------------------------------------------------------------------------------------- linearize


@dataclass(frozen=True)
class Linearized:
    """A function cut in two. ``saved[i]`` says where the backward's i-th input comes from:
    ``("input", k)``, ``("output", k)`` or ``("residual", k)`` of the forward graph; cotangents of
    the differentiable outputs follow, in order. Its outputs are the needed inputs' gradients (those
    no gradient reaches come as zeros)."""

    forward: Graph
    backward: Graph
    saved: tuple[tuple[str, int], ...]
    outputs: int


def linearize(graph: Graph, needs: Sequence[bool], outs: Sequence[bool]) -> Linearized:
    """Cut ``graph`` and its gradient into two graphs.

    needs: which inputs want a gradient; outs: which outputs have a cotangent.
    """
    wrt = [x for x, wanted in zip(graph.inputs, needs, strict=True) if wanted]
    cots = [
        ir.like(y, "d", "cotangent") for y, used in zip(graph.outputs, outs, strict=True) if used
    ]
    padded = iter(cots)
    grads = vjp_nodes(graph.outputs, [next(padded) if u else None for u in outs], wrt)
    filled = [
        g if g is not None else lang.full(x.shape, 0, x.dtype)
        for g, x in zip(grads, wrt, strict=True)
    ]
    return split(graph, cots, filled)


def split(
    graph: Graph,
    cotangents: Sequence[Node],
    grads: Sequence[Node],
    overwritten: Container[Node] = (),
) -> Linearized:
    """Cut a joint graph: ``grads`` are nodes over ``graph``'s nodes and the ``cotangents``.

    Inputs in ``overwritten`` do not keep their values: where backward needs one, a copy is saved.
    """
    saved, body = _cut(grads, set(cotangents))
    where, residuals = _places(graph, saved, overwritten)
    inputs = [*(new for _, new in body), *cotangents]
    backward = Graph(inputs, _replaced(grads, dict(body)), f"{graph.name}_backward")
    forward = Graph(graph.inputs, (*graph.outputs, *residuals), graph.name)
    return Linearized(forward, backward, tuple(where), len(graph.outputs))


def _cut(grads: Sequence[Node], cots: set[Node]) -> tuple[list[Node], list[tuple[Node, Node]]]:
    """The forward values the backward reads, looking through views and free nodes."""
    order = ir.topological(grads)
    after: set[Node] = set(cots)
    for x in order:
        if any(i in after for i in x.inputs):
            after.add(x)
    saved: dict[Node, None] = {}
    for x in order:
        if x in after:
            for i in x.inputs:
                _save(i, after, saved)
    for g in grads:
        _save(g, after, saved)
    return list(saved), [(x, ir.like(x, "", "saved")) for x in saved]


def _save(x: Node, after: set[Node], saved: dict[Node, None]) -> None:
    """Mark ``x`` as saved, unless it is cheaper to make again than to keep."""
    if x in after or x.op.name in _FREE:
        return
    if x.op.name in _VIEWS:
        _save(x.inputs[0], after, saved)
    else:
        saved[x] = None


def _replaced(grads: Sequence[Node], new: dict[Node, Node]) -> list[Node]:
    """The gradients over fresh inputs in place of what was saved."""
    for x in ir.topological(grads, stop=new):
        if x not in new:
            new[x] = x.with_inputs([new[i] for i in x.inputs])
    return [new[g] for g in grads]


def _places(
    graph: Graph, saved: Sequence[Node], overwritten: Container[Node]
) -> tuple[list[tuple[str, int]], list[Node]]:
    inputs = {x: i for i, x in reversed(list(enumerate(graph.inputs)))}
    outputs = {y: i for i, y in reversed(list(enumerate(graph.outputs)))}
    residuals: list[Node] = []
    where: list[tuple[str, int]] = []
    for x in saved:
        if x in overwritten:
            where.append(("residual", len(residuals)))
            residuals.append(lang.identity(x))
        elif x in inputs:
            where.append(("input", inputs[x]))
        elif x in outputs:
            where.append(("output", outputs[x]))
        else:
            where.append(("residual", len(residuals)))
            residuals.append(x)
    return where, residuals
