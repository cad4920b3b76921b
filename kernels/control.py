"""Rows of control flow: scan is a LOOP, cond a jump forward, while_loop a jump back.

Inner graphs become rows of the same program: nothing recurses when it runs. A body writes each new
carry over the old one; sequences and stacks are slots that move with the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphgrad.ir import Node
from graphgrad.ops import size_of

from .draft import TEST_CELL, Draft, Step
from .places import Scope, shifted
from .program import Slot

if TYPE_CHECKING:
    from .build import Emitter


def _results(step: Step, scope: Scope) -> list[Any]:
    """Where each result of a control-flow node is written; None for the rows of a Roll."""
    node = step.node
    slots: dict[int, Any] = {i: scope.slot(place) for i, place in step.temporaries.items()}
    slots |= {y.attrs["index"]: scope.value(y) for y in step.region.outputs}
    slots |= dict.fromkeys(step.rolled)
    return [slots[i] for i in range(len(node.results))]


def _inner(
    emitter: Emitter, draft: Draft, inputs: Sequence[Slot], outputs: Sequence[Any], block: Slot
) -> None:
    emitter.emit(Scope(emitter.builder, draft, inputs, outputs, block))


def _start_carries(emitter: Emitter, step: Step, scope: Scope, carries: Sequence[Slot]) -> None:
    """Copy the first values of the carries to where the body keeps them."""
    for x, carry, start in zip(step.node.inputs, carries, step.starts, strict=False):
        emitter.copy(start, scope.value(x), carry)
    emitter.launches.flush()


def _keep(emitter: Emitter, draft: Draft, scope: Scope, constants: Sequence[Node]) -> None:
    """Rows before a loop: what its body needs of operands that stay the same."""
    inner = draft.plan.graph.inputs
    slots = {
        x: scope.value(operand)
        for x, operand in zip(inner[len(inner) - len(constants) :], constants, strict=True)
    }
    emitter.keep(draft, scope, slots.__getitem__)


def _emit_scan(emitter: Emitter, step: Step, scope: Scope) -> None:
    node: Node = step.node
    count, sequences, length, reverse = (
        node.attrs[k] for k in ("carries", "sequences", "length", "reverse")
    )
    results = _results(step, scope)
    rows = [size_of(shape) * dtype.itemsize for shape, dtype in node.results[:count]]
    starts = list(results[:count])
    for k, roll in step.rolls.items():
        starts[k] = shifted(scope.slot(roll.place), length * rows[k] if reverse else 0)
    _start_carries(emitter, step, scope, starts)
    constants = node.inputs[count + sequences :]
    _keep(emitter, step.inner[0], scope, constants)
    with emitter.builder.loop(length, "scan") as loop:

        def element(whole: Any, shape: tuple[int, ...], itemsize: int) -> Slot:
            nbytes = size_of(shape[1:]) * itemsize
            if not reverse:
                return loop.move(whole, nbytes)
            return loop.move(shifted(whole, (length - 1) * nbytes), -nbytes)

        inputs: list[Any] = list(starts)
        outputs: list[Any] = [None] * count
        for k in step.rolls:
            delta = -rows[k] if reverse else rows[k]
            inputs[k] = loop.move(starts[k], delta)
            outputs[k] = loop.move(shifted(starts[k], delta), delta)
        operands = [(scope.value(x), x) for x in node.inputs[count:]]
        inputs += [element(s, x.shape, x.dtype.itemsize) for s, x in operands[:sequences]]
        inputs += [s for s, _ in operands[sequences:]]
        stacks = zip(results, node.results, strict=True)
        outputs += [
            element(slot, shape, dtype.itemsize)
            for i, (slot, (shape, dtype)) in enumerate(stacks)
            if i >= count and i not in step.rolled
        ]
        _inner(emitter, step.inner[0], inputs, outputs, scope.slot(step.block_place))


def _emit_cond(emitter: Emitter, step: Step, scope: Scope) -> None:
    test, *operands = (scope.value(x) for x in step.node.inputs)
    results, block = _results(step, scope), scope.slot(step.block_place)

    def branch(draft: Draft) -> Callable[[], None]:
        return lambda: _inner(emitter, draft, operands, results, block)

    then, otherwise = step.inner
    emitter.builder.branch(test, branch(then), branch(otherwise))


def _emit_while(emitter: Emitter, step: Step, scope: Scope) -> None:
    node = step.node
    test, body = step.inner
    carries = _results(step, scope)
    block, cell = scope.slot(step.block_place), scope.slot(step.temporaries[TEST_CELL])
    constants = node.inputs[node.attrs["carries"] :]
    fixed = [scope.value(x) for x in constants]
    _start_carries(emitter, step, scope, carries)
    for draft in step.inner:
        _keep(emitter, draft, scope, constants)

    def condition() -> Slot:
        _inner(emitter, test, [*carries, *fixed], [cell], block)
        return cell

    def turn() -> None:
        _inner(emitter, body, [*carries, *fixed], [None] * len(carries), block)

    emitter.builder.while_loop(condition, turn)


EMITTERS: dict[str, Callable[[Emitter, Step, Scope], None]] = {
    "scan": _emit_scan,
    "cond": _emit_cond,
    "while_loop": _emit_while,
}
