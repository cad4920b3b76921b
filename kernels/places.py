"""Where values of a draft are, as slots of a program.

scope = Scope(draft, inputs, outputs, block)    # of one graph: the program's, or a loop body's
scope.value(node)                               # the slot of a node's value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphgrad.ir import Node
from graphgrad.regions import ARENA, CONSTANT, INPUT, OUTPUT, Place

from .draft import Draft
from .program import Moving, ProgramBuilder, Slot


@dataclass(eq=False)
class Scope:
    """Where one draft's values are: slots of its inputs and outputs, its block of the arena."""

    builder: ProgramBuilder
    draft: Draft
    inputs: Sequence[Slot]
    outputs: Sequence[Any]
    block: Slot

    def slot(self, place: Place) -> Slot:
        """The slot a place of this draft stands for."""
        if place.kind == ARENA:
            return shifted(self.block, self.draft.offsets[place.index] + place.offset)
        if place.kind == CONSTANT:
            return self.builder.constant(self.draft.literals[place.index])
        return {INPUT: self.inputs, OUTPUT: self.outputs}[place.kind][place.index]

    def value(self, x: Node) -> Slot:
        """The slot of a node's value."""
        return self.slot(self.draft.assignment.places[x])


def shifted(slot: Any, nbytes: int) -> Slot:
    """A slot some bytes further on."""
    if isinstance(slot, Moving):
        return replace(slot, value=shifted(slot.value, nbytes))
    return slot + nbytes
