"""The order regions run in: dependences first, then as few live bytes as possible.

    plan = schedule(plan, aliases)      # the same regions, reordered
    peak_bytes(plan)                    # the most intermediate bytes alive at once

Writers of mutated inputs run after everything that reads the old value, and those nothing waits for
run last, side by side, so that equal ones (an optimizer's updates) become one launch.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import networkx

from graphgrad.choices import settle
from graphgrad.ir import Node
from graphgrad.regions import Plan, Region

MUCH = 1.02  # of memory at the peak
LARGE_BYTES = 64 << 10  # a value worth an order of its own: smaller ones stay beside their equals


def schedule(plan: Plan, aliases: Mapping[int, int] | None = None) -> Plan:
    """The better of two orders: as the graph was written, and greedily by bytes freed."""
    dag = dependences(plan, aliases or {})
    tail = _tail(plan, dag, aliases or {})
    key = {i: (tail.get(i, ()), i) for i in dag}
    written = list(networkx.lexicographical_topological_sort(dag, key.__getitem__))
    orders = [_sunk(plan, dag, order) for order in (written, _greedy(plan, dag, tail))]
    best = min(orders, key=lambda order: peak_bytes(plan, order))
    # What is written over its operand depends on the order; where another one costs no memory to
    # speak of, kernels stay what they are.
    order = settle("order of regions", tuple(best))
    if not _is_order(dag, order) or peak_bytes(plan, order) > MUCH * peak_bytes(plan, best):
        order = tuple(best)
    return Plan(plan.graph, tuple(plan.regions[i] for i in order))


def _is_order(dag: Any, order: Sequence[int]) -> bool:
    """Whether all regions can run in this order."""
    place = {i: step for step, i in enumerate(order)}
    return place.keys() == set(dag) and all(place[i] < place[j] for i, j in dag.edges)


def dependences(plan: Plan, aliases: Mapping[int, int]) -> Any:
    """A DiGraph of region numbers: producer to reader, reader to overwriter where possible."""
    dag = networkx.DiGraph()
    dag.add_nodes_from(range(len(plan.regions)))
    producer = {y: i for i, region in enumerate(plan) for y in region.outputs}
    readers = _readers(plan)
    for x, users in readers.items():
        if x in producer:
            dag.add_edges_from((producer[x], i) for i in users if i != producer[x])
    for position, source in aliases.items():
        writer = producer.get(plan.graph.outputs[position])
        if writer is None:
            continue
        # What needs the new value cannot run before it is written; there the value is copied.
        later = networkx.descendants(dag, writer) if dag.out_degree(writer) else ()
        users = readers.get(plan.graph.inputs[source], [])
        dag.add_edges_from((i, writer) for i in users if i != writer and i not in later)
    return dag


def _readers(plan: Plan) -> dict[Node, list[int]]:
    readers: dict[Node, list[int]] = {}
    for i, region in enumerate(plan):
        for x in region.inputs:
            readers.setdefault(x, []).append(i)
    return readers


def _tail(plan: Plan, dag: Any, aliases: Mapping[int, int]) -> dict[int, tuple[Any, ...]]:
    """Regions that only write state, by what they compute: equal ones sort together."""
    written = {plan.graph.outputs[position] for position in aliases}
    return {
        i: (_signature(region), sum(y.nbytes for y in region.outputs))
        for i, region in enumerate(plan)
        if not dag.out_degree(i) and written.issuperset(region.outputs)
    }


def _signature(region: Region) -> str:
    return " ".join(f"{x.op.name}:{x.dtype.name}:{len(x.shape)}" for x in region.nodes)


def _greedy(plan: Plan, dag: Any, tail: Mapping[int, tuple[Any, ...]]) -> list[int]:
    """List scheduling: of the regions that are ready, the one that allocates least."""
    kept = {*plan.graph.inputs, *plan.graph.outputs}
    readers = _readers(plan)
    waiting = {x: len(users) for x, users in readers.items() if x not in kept}
    blocked = {i: dag.in_degree(i) for i in dag}
    new = [sum(y.nbytes for y in region.outputs if y not in kept) for region in plan]

    def score(i: int) -> tuple[Any, ...]:
        freed = sum(x.nbytes for x in plan.regions[i].inputs if waiting.get(x) == 1)
        return tail.get(i, ()), new[i] - freed, i

    ready = [score(i) for i in dag if not blocked[i]]
    heapq.heapify(ready)
    order: list[int] = []
    done: set[int] = set()
    while ready:
        *_, i = heapq.heappop(ready)
        if i in done:
            continue
        done.add(i)
        order.append(i)
        improved = _consume(plan.regions[i], waiting, readers, done)
        for j in dag.successors(i):
            blocked[j] -= 1
        # A score only ever improves, so a second entry overtakes the stale one.
        for j in {*dag.successors(i), *improved}:
            if not blocked[j]:
                heapq.heappush(ready, score(j))
    return order


def _sunk(plan: Plan, dag: Any, order: Sequence[int]) -> list[int]:
    """Large values are made as late as they can be: when they are read, or their operands die.

    Operands that would die for them wait as well, where they are smaller than what is made of them.
    """
    place = {i: step for step, i in enumerate(order)}
    last: dict[Node, int] = {}
    for i in reversed(order):
        for x in plan.regions[i].inputs:
            last.setdefault(x, place[i])
    key = {i: (place[i], 1, place[i]) for i in order}
    for i in reversed(order):
        region = plan.regions[i]
        made = sum(y.nbytes for y in region.outputs)
        if not dag.out_degree(i) or made < LARGE_BYTES:
            continue
        operands = [x for x in region.inputs if x.op.kind != "source"]
        dying = [x for x in operands if last[x] == place[i]]
        if sum(x.nbytes for x in dying) >= made:
            continue
        latest = [key[j][0] for j in dag.successors(i)]
        latest += [last[x] for x in operands if x not in dying]
        if min(latest) > place[i]:
            key[i] = (min(latest), 0, place[i])
            last |= dict.fromkeys(dying, min(latest))
    return sorted(order, key=key.__getitem__)


def _consume(
    region: Region, waiting: dict[Node, int], readers: dict[Node, list[int]], done: set[int]
) -> list[int]:
    """Count a region's reads; the regions that became the last reader of something."""
    improved: list[int] = []
    for x in region.inputs:
        if x in waiting:
            waiting[x] -= 1
            if waiting[x] == 1:
                improved.extend(i for i in readers[x] if i not in done)
    return improved


def peak_bytes(plan: Plan, order: Sequence[int] | None = None) -> int:
    """The most bytes of intermediate values alive at once, when nothing shares a buffer."""
    kept = {*plan.graph.inputs, *plan.graph.outputs}
    regions = plan.regions if order is None else [plan.regions[i] for i in order]
    last = {x: step for step, region in enumerate(regions) for x in region.inputs}
    live = peak = 0
    for step, region in enumerate(regions):
        live += sum(y.nbytes for y in region.outputs if y not in kept)
        peak = max(peak, live)
        dying = {x for x in region.inputs if last[x] == step and x.op.kind != "source"}
        dying |= {y for y in region.outputs if y not in last}
        live -= sum(x.nbytes for x in dying if x not in kept)
    return peak
