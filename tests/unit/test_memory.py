"""Arena offsets and places of values: nothing live overlaps, peaks are low, state is safe."""

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from graphgrad import dtypes, ir
from graphgrad.ir import Graph
from graphgrad.passes import memory
from graphgrad.passes.memory import assign, best_fit
from graphgrad.regions import ARENA, INPUT, LOOP, OUTPUT, Lifetime, Place, Plan, Region

lifetime = st.builds(
    lambda start, length, nbytes: Lifetime(start, start + length, nbytes),
    st.integers(0, 30),
    st.integers(0, 10),
    st.integers(0, 1000),
)


def region(*nodes, outputs=None):
    """A loop region over ``nodes``."""
    inside = set(nodes)
    inputs = dict.fromkeys(i for x in nodes for i in x.inputs if i not in inside)
    return Region(LOOP, nodes, tuple(inputs), outputs or nodes[-1:])


def vector(name, size=8, role="input"):
    return ir.input((size,), dtypes.float32, name, role)


@given(st.lists(lifetime, max_size=60))
def test_values_alive_together_never_overlap(lifetimes):
    offsets, total = best_fit(lifetimes)
    spans = [(o, o + memory.round_up(v.nbytes)) for o, v in zip(offsets, lifetimes, strict=True)]
    assert all(start % memory.ALIGN == 0 and stop <= total for start, stop in spans)
    for i, a in enumerate(lifetimes):
        for j, b in enumerate(lifetimes[:i]):
            if a.start <= b.stop and b.start <= a.stop:
                assert spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]


def test_a_chain_needs_two_buffers():
    assert best_fit([Lifetime(i, i + 1, 640) for i in range(100)])[1] == 1280


def test_twenty_thousand_values_take_a_moment_and_little_more_than_the_peak():
    rng = random.Random(0)
    values = []
    for i in range(20_000):
        values.append(Lifetime(i, i + rng.randrange(1, 60), rng.choice((64, 640, 4096, 70_000))))
    began = time.perf_counter()
    _, total = best_fit(values)
    assert time.perf_counter() - began < 2
    events = sorted(
        [(v.start, memory.round_up(v.nbytes)) for v in values]
        + [(v.stop + 1, -memory.round_up(v.nbytes)) for v in values]
    )
    live = peak = 0
    for _, change in events:
        live += change
        peak = max(peak, live)
    assert total < 1.3 * peak


def test_an_elementwise_result_takes_the_place_of_its_dying_operand():
    x = vector("x")
    a = ir.node("exp", x)
    b = ir.node("sin", a)
    c = ir.node("cos", b)
    plan = Plan(Graph([x], [c]), (region(a), region(b), region(c)))
    result = assign(plan, {})
    assert result.places[b] == result.places[a] == Place(ARENA, 0)
    assert result.inplace == {plan.regions[1]: {b: a}}
    assert result.places[c] == Place(OUTPUT, 0)


def test_a_donated_input_is_overwritten_and_others_are_not():
    x = vector("x")
    a = ir.node("exp", x)
    total = ir.node("sum", a, axes=(0,))
    plan = Plan(Graph([x], [total]), (region(a), region(total)))
    assert assign(plan, {}).places[a].kind == ARENA
    assert assign(plan, {}, donated=[0]).places[a] == Place(INPUT, 0)


def test_state_is_written_in_place_once_nobody_reads_the_old_value():
    p, g = vector("p", role="state"), vector("g")
    total = ir.node("sum", ir.node("mul", p, g), axes=(0,))
    new = ir.node("sub", p, g)
    reader, writer = region(total.inputs[0], total), region(new)
    graph = Graph([p, g], [total, new])
    result = assign(Plan(graph, (reader, writer)), {1: 0})
    assert result.places[new] == Place(INPUT, 0) and not result.copies
    assert result.inplace[writer] == {new: p}
    late = assign(Plan(graph, (writer, reader)), {1: 0})
    assert late.places[new].kind == ARENA and late.copies == [
        (new, late.places[new], Place(INPUT, 0))
    ]


def test_state_is_copied_at_the_end_when_a_later_region_may_fail():
    p, index = vector("p", role="state"), ir.input((3,), dtypes.int64, "index")
    new = ir.node("neg", p)
    picked = ir.node("gather", vector("table"), index, axis=0)
    graph = Graph([p, picked.inputs[0], index], [new, picked])
    safe = assign(Plan(graph, (region(picked), region(new))), {0: 0})
    assert safe.places[new] == Place(INPUT, 0)
    unsafe = assign(Plan(graph, (region(new), region(picked))), {0: 0})
    assert unsafe.copies == [(new, unsafe.places[new], Place(INPUT, 0))]


def test_a_value_read_by_a_reduction_of_the_same_region_is_not_overwritten():
    x = vector("x")
    a = ir.node("exp", x)
    s = ir.node("sum", a, axes=(0,))
    b = ir.node("sub", a, ir.node("expand", s, shape=(8,)))
    assert not memory.overwrites(region(s, b.inputs[1], b), a, b)
    assert not memory.overwrites(region(a, s, outputs=(a, s)), x, a)
    assert memory.overwrites(region(a), x, a)


def test_an_output_named_twice_is_copied():
    x = vector("x")
    a = ir.node("exp", x)
    result = assign(Plan(Graph([x], [a, a, x]), (region(a),)), {})
    first, source = Place(OUTPUT, 0), Place(INPUT, 0)
    assert result.copies == [(a, first, Place(OUTPUT, 1)), (x, source, Place(OUTPUT, 2))]


def test_two_inputs_trade_places_through_temporaries():
    p, q = vector("p"), vector("q")
    copies = assign(Plan(Graph([p, q], [q, p, p]), ()), {0: 0, 1: 1}).copies
    assert copies[0] == (p, Place(INPUT, 0), Place(OUTPUT, 2))
    assert [(x, a.kind, b.kind) for x, a, b in copies[1:]] == [
        (q, INPUT, ARENA),
        (p, INPUT, ARENA),
        (q, ARENA, INPUT),
        (p, ARENA, INPUT),
    ]
