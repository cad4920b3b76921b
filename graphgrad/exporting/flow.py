"""Control flow of an exported function: Python's own, around the lines of the inner graphs.

A carry that is stacked anyway is kept row after row: each step reads one and writes the next.
Another carry is written over the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphgrad.kernels.draft import TEST_CELL, Step

from .body import Body, Flow, Scope


def _row(name: str, step: str, shape: Sequence[int]) -> str:
    """One row of an array, as an array."""
    return f"{name}[{step}]" if len(shape) > 1 else f"{name}[{step}, ...]"


def _scan(body: Body, step: Step, scope: Scope) -> None:
    node = step.node
    count, length, reverse = (node.attrs[k] for k in ("carries", "length", "reverse"))
    results = body.results(step, scope)
    carries = list(results[:count])
    for k, roll in step.rolls.items():
        shape, dtype = node.results[k]
        kept = (length + 1, *shape)
        carries[k] = body.place(scope.offset(roll.place), kept, dtype.name, "steps")
        first = length if reverse else 0
        body.add(f"{carries[k]}[{first}] = {scope.value(node.inputs[k])}")
    for k, carry in enumerate(carries):
        if k not in step.rolls:
            body.add(f"{carry}[...] = {scope.value(node.inputs[k])}")
    t = body.names.fresh("t")
    numbers = f"reversed(range({length}))" if reverse else f"range({length})"
    body.add(f"for {t} in {numbers}:")
    with body.indented():
        _scan_step(body, step, scope, carries, results, t)


def _scan_step(
    body: Body, step: Step, scope: Scope, carries: list[str], results: list[Any], t: str
) -> None:
    """One step: rows of what is read, kept and stacked, then the body over them."""
    node = step.node
    count, sequences, length = (node.attrs[k] for k in ("carries", "sequences", "length"))

    def row(base: str, whole: str, number: str, shape: Sequence[int]) -> str:
        name = body.names.fresh(base)
        body.add(f"{name} = {_row(whole, number, shape)}")
        return name

    now, after = (f"{t} + 1", t) if node.attrs["reverse"] else (t, f"{t} + 1")
    inputs: list[str] = list(carries)
    outputs: list[Any] = [None] * count
    for k in step.rolls:
        shape = (length, *node.results[k][0])
        inputs[k] = row("before", carries[k], now, shape)
        outputs[k] = row("after", carries[k], after, shape)
    operands = node.inputs[count:]
    inputs += [row("row", scope.value(x), t, x.shape) for x in operands[:sequences]]
    inputs += [scope.value(x) for x in operands[sequences:]]
    free = {i for roll in step.rolls.values() for i in roll.stacks}
    for i, (shape, _) in enumerate(node.results):
        if i >= count and i not in free:
            outputs.append(row("stacked", results[i], t, shape))
    body.inner(step.inner[0], inputs, outputs, scope.offset(step.block_place))


def _cond(body: Body, step: Step, scope: Scope) -> None:
    test, *operands = (scope.value(x) for x in step.node.inputs)
    results, block = body.results(step, scope), scope.offset(step.block_place)
    for head, draft in zip((f"if {test}:", "else:"), step.inner, strict=True):
        body.block(head, draft, operands, results, block)


def _while(body: Body, step: Step, scope: Scope) -> None:
    node = step.node
    test, turn = step.inner
    carries, block = body.results(step, scope), scope.offset(step.block_place)
    cell = scope.at(step.temporaries[TEST_CELL], (), "bool", "goes_on")
    fixed = [scope.value(x) for x in node.inputs[node.attrs["carries"] :]]
    for x, carry in zip(node.inputs, carries, strict=False):
        body.add(f"{carry}[...] = {scope.value(x)}")
    body.block("while True:", test, [*carries, *fixed], [cell], block)
    with body.indented():
        body.add(f"if not {cell}:")
        body.add("    break")
        body.inner(turn, [*carries, *fixed], [None] * len(carries), block)


FLOW: Flow = {
    "scan": _scan,
    "cond": _cond,
    "while_loop": _while,
}
