"""The order of regions: legal, low in live bytes, state writers last."""

import time

from graphgrad import dtypes, ir
from graphgrad.ir import Graph
from graphgrad.passes.schedule import peak_bytes, schedule
from graphgrad.regions import LOOP, Plan, Region


def one_each(graph):
    """A plan in which every node is a region of its own."""
    nodes = [x for x in graph.nodes if x.op.name != "input"]
    return Plan(
        graph, tuple(Region(LOOP, (x,), tuple(dict.fromkeys(x.inputs)), (x,)) for x in nodes)
    )


def is_legal(plan):
    seen = set(plan.graph.inputs)
    for region in plan:
        if not seen.issuperset(region.inputs):
            return False
        seen.update(region.outputs)
    return True


def vector(name="x", size=1000):
    return ir.input((size,), dtypes.float32, name)


def total(x):
    return ir.node("sum", x, axes=(0,))


def test_large_values_are_consumed_before_the_next_is_made():
    x = vector()
    wide = [ir.node("exp", ir.node("mul", x, x)) for _ in range(10)]
    sums = [total(w) for w in wide]
    y = sums[0]
    for s in sums[1:]:
        y = ir.node("add", y, s)
    graph = Graph([x], [y])
    width_first = sorted(one_each(graph).regions, key=lambda r: "mul exp sum add".find(r.name))
    bad = Plan(graph, tuple(width_first))
    assert is_legal(bad) and peak_bytes(bad) >= 40_000
    good = schedule(bad)
    assert is_legal(good) and set(good.regions) == set(bad.regions)
    assert peak_bytes(good) <= 8_200


def test_activations_are_freed_as_the_backward_pass_proceeds():
    weights = [vector(f"w{i}") for i in range(8)]
    x = [vector()]
    for w in weights:
        x.append(ir.node("sin", ir.node("mul", x[-1], w)))
    g, grads = x[-1], []
    for i in reversed(range(8)):
        g = ir.node("mul", g, ir.node("cos", x[i + 1]))
        grads.append(total(ir.node("mul", g, x[i])))
    plan = one_each(Graph([x[0], *weights], grads[::-1]))
    best = schedule(plan)
    assert is_legal(best)
    assert peak_bytes(best) <= peak_bytes(plan)
    assert peak_bytes(best) <= 11 * 4000


def test_state_is_overwritten_after_its_readers_and_equal_updates_stand_together():
    states = [vector(f"p{i}") for i in range(4)]
    new = [ir.node("neg", p) for p in states]
    reads = [total(ir.node("exp", p)) for p in states]
    graph = Graph(states, [*new, *reads])
    plan = schedule(one_each(graph), {i: i for i in range(4)})
    assert is_legal(plan)
    assert [r.name for r in plan.regions[-4:]] == ["neg"] * 4


def test_a_reader_of_the_new_value_does_not_wait_for_itself():
    p = vector("p")
    new = ir.node("neg", p)
    mixed = ir.node("add", p, new)
    assert is_legal(schedule(one_each(Graph([p], [new, mixed])), {0: 0}))


def test_twenty_thousand_regions_take_seconds():
    x = vector(size=4)
    graph = Graph([x], [_chain(x, 20_000)])
    plan = one_each(graph)
    began = time.perf_counter()
    assert is_legal(schedule(plan))
    assert time.perf_counter() - began < 10


def _chain(x, length):
    for i in range(length // 2):
        x = ir.node("add", ir.node("exp" if i % 2 else "sin", x), x)
    return x


def test_large_values_wait_for_their_reader():
    x = vector(size=1 << 15)
    copy = ir.node("exp", x)  # read last, but ready first
    y = x
    for _ in range(4):
        y = ir.node("sin", total_spread(y))
    graph = Graph([x], [ir.node("add", y, copy)])
    regions = one_each(graph).regions
    early = [r for r in regions if r.name == "exp"] + [r for r in regions if r.name != "exp"]
    plan = schedule(Plan(graph, tuple(early)))
    assert is_legal(plan)
    assert [r.name for r in plan][-2:] == ["exp", "add"]


def total_spread(x):
    """A value of the size of ``x`` that needs all of it."""
    return ir.node("mul", x, ir.node("expand", total(x), shape=x.shape))
