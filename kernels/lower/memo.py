"""Lower equal regions once: the layers of a network, and every trace after the first.

Regions are equal when their nodes are, up to names and the values of literals, which are arguments.
What is kept are the kernel calls with the nodes in their slots replaced by numbers.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from graphgrad.ir import Node, attr_key
from graphgrad.regions import Region

from .call import KernelCall

SIZE = 2048
Lower = Callable[[Region, Mapping[Node, Node]], list[KernelCall]]


def memoised(lower: Lower) -> Lower:
    """``lower``, remembering its results by the structure and shapes of regions."""
    known: OrderedDict[Any, list[KernelCall]] = OrderedDict()

    @functools.wraps(lower)
    def lookup(region: Region, aliases: Mapping[Node, Node] | None = None) -> list[KernelCall]:
        nodes = (*region.inputs, *region.nodes)
        number = {x: i for i, x in enumerate(nodes)}
        key = _key(region, aliases or {}, number)
        if key in known:
            known.move_to_end(key)
        else:
            calls = lower(region, aliases or {})
            known[key] = [_with_slots(c, lambda x: number.get(x, x)) for c in calls]
            if len(known) > SIZE:
                known.popitem(last=False)
        back = dict(enumerate(nodes))
        return [_with_slots(c, lambda x: back.get(x, x)) for c in known[key]]

    return lookup


def _key(region: Region, aliases: Mapping[Node, Node], number: Mapping[Node, int]) -> Any:
    inputs = tuple((x.shape, x.dtype.name) for x in region.inputs)
    rows = tuple(_row(x, number) for x in region.nodes)
    pairs = tuple(sorted((number[a], number[b]) for a, b in aliases.items()))
    return region.name, inputs, rows, tuple(number[y] for y in region.outputs), pairs


def _row(x: Node, number: Mapping[Node, int]) -> Any:
    attrs = () if x.op.name == "scalar" else attr_key(x)
    return x.op.name, x.shape, x.dtype.name, attrs, tuple(number[i] for i in x.inputs)


def _with_slots(call: KernelCall, rename: Callable[[Any], Any]) -> KernelCall:
    """A call with the nodes (or numbers) in its slots renamed."""
    slots = tuple(
        (kind, rename(what[0])) if kind in ("ptr", "scalar") else (kind, *what)
        for kind, *what in call.slots
    )
    return replace(call, slots=slots)
