"""Lowering each structure once: the layers of a model are mostly the same loops over other values.

calls = lowered(region, inplace)     # as lower_region, from the memo where the structure is known
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphgrad.ir import Node, attr_key
from graphgrad.regions import Region

from .lower import lower_region

_SIZE = 4096
_memo: OrderedDict[Any, tuple[tuple[Node, ...], list[Any]]] = OrderedDict()
_lock = threading.Lock()


def lowered(region: Region, inplace: Mapping[Node, Node]) -> list[Any]:
    """Kernel calls of a loop region; NotImplementedError where it must be interpreted."""
    order, key = structure(region, inplace)
    with _lock:
        known = _memo.get(key)
        if known is not None:
            _memo.move_to_end(key)
    if known is None:
        calls = lower_region(region, dict(inplace))
        with _lock:
            _memo[key] = order, calls
            if len(_memo) > _SIZE:
                _memo.popitem(last=False)
        return calls
    then, calls = known
    now = dict(zip(then, order, strict=True))
    return [replace(call, slots=tuple(_moved(s, now) for s in call.slots)) for call in calls]


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
