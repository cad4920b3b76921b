"""Sorting: a stable merge sort of keys and their positions, row by row.

NaN counts as larger than every number: last in ascending order, first in descending.
"""

from __future__ import annotations

import math

from graphgrad.ir import Node
from graphgrad.regions import Region

from ..emit import POINTERS
from .call import KernelCall
from .cost import grain

NS_PER_COMPARISON = 4.0
ALIGN = 64

# Whether `a` has to come before `b`, for numbers of which NaN is the largest.
_BEFORE = {
    ("f", False): "{a} < {b} or ({b} != {b} and {a} == {a})",
    ("f", True): "{a} > {b} or ({a} != {a} and {b} == {b})",
    ("i", False): "{a} < {b}",
    ("i", True): "{a} > {b}",
}

_SOURCE = '''"""{name}: a stable merge sort of rows."""

from graphgrad.kernels.abi import {imports}

RUN = 16  # rows this short are sorted by insertion, then merged


def {name}(args, start, stop, chunk):
    x = {key}(args, 0)
    values = {key}(args, 1)
    places = i64(args, 2)
    n, inner = args[3], args[4]
    half = chunk * 2 * n
    keys = {key}(args, 5) + half
    order = i64(args, 6) + half
    for row in range(start, stop):
        first = row // inner * n * inner + row % inner
        for i in range(n):
            keys[i] = x[first + i * inner]
            order[i] = i
        for low in range(0, n, RUN):
            for i in range(low + 1, min(low + RUN, n)):
                key, place = keys[i], order[i]
                j = i - 1
                while j >= low and ({insert}):
                    keys[j + 1] = keys[j]
                    order[j + 1] = order[j]
                    j -= 1
                keys[j + 1] = key
                order[j + 1] = place
        source, target = 0, n
        width = RUN
        while width < n:
            for low in range(0, n, 2 * width):
                middle, high = min(low + width, n), min(low + 2 * width, n)
                left, right = low, middle
                for i in range(low, high):
                    take = left >= middle
                    if right < high and not take:
                        a, b = keys[source + right], keys[source + left]
                        take = {merge}
                    if take:
                        keys[target + i] = keys[source + right]
                        order[target + i] = order[source + right]
                        right += 1
                    else:
                        keys[target + i] = keys[source + left]
                        order[target + i] = order[source + left]
                        left += 1
            source, target = target, source
            width *= 2
        for i in range(n):
            values[first + i * inner] = keys[source + i]
            places[first + i * inner] = order[source + i]
'''


def lower_sort(region: Region, x: Node) -> list[KernelCall]:
    """The kernel call of a sort region."""
    (operand,) = x.inputs
    if operand.size == 0:
        return []
    axis, descending = x.attrs["axis"], x.attrs["descending"]
    n = operand.shape[axis] if operand.shape else 1
    inner = math.prod(operand.shape[axis + 1 :])
    rows = operand.size // n
    ns = NS_PER_COMPARISON * operand.size * (1 + math.log2(n))
    step = grain(rows, ns)
    chunks = -(-rows // step) if step else 1
    item = operand.dtype.itemsize
    sizes = [2 * n * chunks * item, 2 * n * chunks * 8, operand.size * item, operand.size * 8]
    offsets, total = [], 0
    for nbytes in sizes:
        offsets.append(total)
        total += -(-nbytes // ALIGN) * ALIGN
    written = {y.attrs["index"]: ("ptr", y) for y in region.outputs}
    results = [written.get(i, ("scratch", offsets[2 + i])) for i in (0, 1)]
    if len(written) == 2:
        total = offsets[2]
    slots = [("ptr", operand), *results, ("int", n), ("int", inner)]
    slots += [("scratch", offsets[0]), ("scratch", offsets[1])]
    name, source = _source(operand, descending)
    return [KernelCall(name, source, tuple(slots), rows, step, total, ns)]


def _source(operand: Node, descending: bool) -> tuple[str, str]:
    key = POINTERS[operand.dtype.name]
    before = _BEFORE["f" if operand.dtype.is_floating_point else "i", descending]
    name = f"sort_{'descending_' if descending else ''}{key}"
    source = _SOURCE.format(
        name=name,
        key=key,
        imports=", ".join(sorted({key, "i64"})),
        insert=before.format(a="key", b="keys[j]"),
        merge=before.format(a="a", b="b"),
    )
    return name, source
