"""Lower equal regions once: the layers of a network, and every trace after the first.

Regions are equal when their nodes are, up to names and the values of literals, which are arguments,
and when they settle what they decide by size alike (`graphgrad.choices`). What is kept are the
calls and the nodes in their slots, which another region has its own in place of.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from graphgrad import choices
from graphgrad.ir import Node, attr_key
from graphgrad.regions import Region

SIZE = 4096
Lower = Callable[[Region, Mapping[Node, Node]], list[Any]]


def memoised(lower: Lower) -> Lower:
    """``lower``, remembering its results by the structure and shapes of regions."""
    known: OrderedDict[Any, tuple[tuple[Node, ...], list[Any], choices.Choices]] = OrderedDict()
    lock = threading.Lock()

    def keep(key: Any, value: tuple[tuple[Node, ...], list[Any], choices.Choices]) -> None:
        with lock:
            known[key] = value
            if len(known) > SIZE:
                known.popitem(last=False)

    @functools.wraps(lower)
    def lookup(region: Region, aliases: Mapping[Node, Node] | None = None) -> list[Any]:
        order, key = structure(region, aliases or {})
        with choices.section(_without_sizes(key)) as made:
            before = tuple(made.items())
            with lock:
                found = known.get((key, before))
                if found is not None:
                    known.move_to_end((key, before))
            if found is None:
                calls = lower(region, aliases or {})
                found = order, calls, dict(made)
                # For who has not answered yet, and for who answers the same: this size, again.
                for answers in {before, tuple(made.items())}:
                    keep((key, answers), found)
                return calls
            then, calls, decided = found
            made.update(decided)
        now = dict(zip(then, order, strict=True))
        return [replace(c, slots=tuple(_moved(s, now) for s in c.slots)) for c in calls]

    return lookup


def structure(region: Region, inplace: Mapping[Node, Node]) -> tuple[tuple[Node, ...], Any]:
    """The nodes of a region, and a key: regions of one key are lowered alike, node by node."""
    order = _ordered(region)
    return order, _key(region, {x: i for i, x in enumerate(order)}, inplace)


def _moved(slot: tuple[Any, ...], now: dict[Node, Node]) -> tuple[Any, ...]:
    """The same slot of another region; literals that lowering made itself stay."""
    named = slot[0] in ("ptr", "scalar")
    return (slot[0], now.get(slot[1], slot[1]), *slot[2:]) if named else slot


def _ordered(region: Region) -> tuple[Node, ...]:
    """The region's inputs, then everything its nodes need, operands first."""
    seen = dict.fromkeys(region.inputs)
    for x in region.nodes:
        stack = [x]
        while stack:
            y = stack[-1]
            missing = [i for i in y.inputs if i not in seen] if y not in seen else []
            if missing:
                stack.extend(missing)
            else:
                seen.setdefault(stack.pop())
    return tuple(seen)


def _key(region: Region, number: dict[Node, int], inplace: Mapping[Node, Node]) -> Any:
    read = len(region.inputs)
    rows = []
    for i, x in enumerate(number):
        # Where an input comes from is nobody's business; a literal's value is an argument.
        plain = i < read or x.op.name == "scalar"
        attrs = () if plain else attr_key(x)
        inputs = () if i < read else tuple(number[y] for y in x.inputs)
        source = x.op.name if i >= read or x.op.kind == "source" else ""
        rows.append((source, x.shape, x.dtype.name, attrs, inputs))
    pairs = tuple((number[y], number[x]) for y, x in inplace.items())
    ends = tuple(number[x] for x in region.nodes), tuple(number[y] for y in region.outputs)
    return tuple(rows), read, ends, pairs


def _without_sizes(key: Any) -> bytes:
    """A short name for the key of a region as other sizes have it."""
    rows, *rest = key
    plain = [(source, len(shape), dtype, inputs) for source, shape, dtype, _, inputs in rows]
    # Version 2: equal values give equal bytes, whether or not they are the same objects.
    text = marshal.dumps((plain, rest), 2)
    return hashlib.blake2b(text, digest_size=8).digest()
